//! Extracts expiry, issuer and subject from a certificate's DER. The input is untrusted: extracted names are bounded in
//! length and hold no control characters.

use tidings_domain::check::Certificate;
use tidings_domain::text::truncate_chars;
use tidings_domain::time::Timestamp;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::objects::{oid_registry, oid2abbrev};
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;
use x509_parser::x509::X509Name;

/// The longest subject or issuer, in characters; longer ones are truncated.
const NAME_CHARS_MAX: usize = 300;
/// Alternative names that stand in for a missing subject, at most.
const NAMES_MAX: usize = 3;

/// The parsed parts of a certificate.
#[derive(Debug, Clone)]
pub struct CertificateInfo {
    pub certificate: Certificate,
    pub not_before: Timestamp,
    pub is_self_signed: bool,
}

/// Parses a certificate; `None` if it is malformed.
pub fn parse(der: &[u8]) -> Option<CertificateInfo> {
    let (_, parsed) = X509Certificate::from_der(der).ok()?;
    let instant = |at: ASN1Time| Timestamp::from_unix_ms(at.timestamp().saturating_mul(1_000));
    let (not_before, not_after) = (instant(parsed.validity().not_before), instant(parsed.validity().not_after));
    let mut subject = format_name(parsed.subject());
    if subject.is_empty() {
        subject = alternative_names(&parsed);
    }
    let certificate = Certificate { not_after, issuer: format_name(parsed.issuer()), subject };
    let is_self_signed = parsed.issuer().as_raw() == parsed.subject().as_raw();
    Some(CertificateInfo { certificate, not_before, is_self_signed })
}

/// Most specific part first, as in RFC 4514: `CN=R11, O=Let's Encrypt, C=US`.
fn format_name(name: &X509Name<'_>) -> String {
    let parts: Vec<_> = name.iter_rdn().flat_map(|part| part.iter()).collect();
    let formatted = parts.iter().rev().map(|part| {
        let oid = part.attr_type();
        let kind = oid2abbrev(oid, oid_registry()).map_or_else(|_| oid.to_id_string(), str::to_owned);
        let value = part.as_str().map_or_else(|_| String::from_utf8_lossy(part.as_slice()).into_owned(), str::to_owned);
        format!("{kind}={value}")
    });
    sanitize(&formatted.collect::<Vec<_>>().join(", "))
}

/// Newer certificates have an empty subject and only alternative names.
fn alternative_names(parsed: &X509Certificate<'_>) -> String {
    let Ok(Some(extension)) = parsed.subject_alternative_name() else { return String::new() };
    let names = extension.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress([a, b, c, d]) => Some(std::net::Ipv4Addr::new(*a, *b, *c, *d).to_string()),
        GeneralName::IPAddress(bytes) => {
            <[u8; 16]>::try_from(*bytes).ok().map(|bytes| std::net::Ipv6Addr::from(bytes).to_string())
        }
        _ => None,
    });
    sanitize(&names.take(NAMES_MAX).collect::<Vec<_>>().join(", "))
}

fn sanitize(text: &str) -> String {
    truncate_chars(&text.replace(char::is_control, "\u{fffd}"), NAME_CHARS_MAX)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, date_time_ymd};

    use super::*;

    #[test]
    fn parse_valid_certificate_returns_names_and_expiry() {
        let mut params = CertificateParams::new(vec!["shop.example".into()]).unwrap();
        params.not_after = date_time_ymd(2031, 2, 3);
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CountryName, "CH");
        params.distinguished_name.push(DnType::OrganizationName, "Shop\nAG");
        params.distinguished_name.push(DnType::CommonName, "shop.example");
        let der = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let info = parse(der.der()).unwrap();
        assert_eq!(info.certificate.subject, "CN=shop.example, O=Shop\u{fffd}AG, C=CH");
        assert_eq!(info.certificate.issuer, info.certificate.subject);
        assert_eq!(info.certificate.not_after.to_string(), "2031-02-03T00:00:00.000Z");
        assert!(info.is_self_signed);
    }

    #[test]
    fn parse_empty_subject_uses_alternative_names() {
        let mut params =
            CertificateParams::new(vec!["a.example".into(), "b.example".into(), "127.0.0.1".into()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        let der = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        assert_eq!(parse(der.der()).unwrap().certificate.subject, "a.example, b.example, 127.0.0.1");
    }

    #[test]
    fn parse_malformed_der_returns_none() {
        for der in [&b""[..], b"x", &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]] {
            assert!(parse(der).is_none());
        }
    }
}

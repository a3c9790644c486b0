//! TLS settings, validated.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rustls::pki_types::pem::{PemObject, SectionKind};
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::{Map, Value};
use tidings_domain::tls::{TlsSettings, Verify};
use tidings_domain::violation::{Violation, Violations};

use super::certificate;

/// The longest `caCertificate`.
pub const PEM_BYTES_MAX: usize = 64 * 1_024;
/// Certificates in one `caCertificate`.
pub const CERTIFICATES_MAX: usize = 20;

/// Validated [`TlsSettings`]. Equal profiles behave equally, so that they may share connections and sessions.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct TlsProfile {
    verify: Verify,
    certificates: Arc<[CertificateDer<'static>]>,
    server_name: Option<ServerName<'static>>,
}

impl TlsProfile {
    /// Validates the settings. Pointers are relative to the `tls` object, such as `/caCertificate`.
    pub fn new(settings: &TlsSettings) -> Result<Self, Violations> {
        let mut violations = Violations::new();
        let mut fail = |field: &str, message: String| violations.push(Violation::new(field, message));
        let certificates = settings.ca_certificate.as_deref().map_or(Ok(Vec::new()), parse_pem);
        let certificates = certificates.map_err(|why| fail("/caCertificate", why)).unwrap_or_default();
        let name = settings.server_name.as_deref().map(parse_name).transpose();
        let server_name = name.map_err(|why| fail("/serverName", why)).unwrap_or_default();
        if violations.is_empty() {
            Ok(Self { verify: settings.verify, certificates: certificates.into(), server_name })
        } else {
            Err(violations)
        }
    }

    /// What is verified.
    pub fn verify(&self) -> Verify {
        self.verify
    }

    /// The certificates that are trusted instead of the system's authorities; empty: the system's.
    pub(super) fn certificates(&self) -> &Arc<[CertificateDer<'static>]> {
        &self.certificates
    }

    /// The settings in their normal form: the PEM text holds nothing but the certificates.
    pub fn settings(&self) -> TlsSettings {
        TlsSettings {
            verify: self.verify,
            ca_certificate: (!self.certificates.is_empty()).then(|| format_pem(&self.certificates)),
            server_name: self.server_name.as_ref().map(|name| name.to_str().into_owned()),
        }
    }

    /// The name that the certificate must be for when `host` is connected to, which is also sent as SNI unless it is an
    /// address. `host` may be an address in brackets and may end with a dot. The error completes a sentence.
    pub fn server_name_for(&self, host: &str) -> Result<ServerName<'static>, String> {
        if let Some(name) = &self.server_name {
            return Ok(name.clone());
        }
        if let Some(ip) = crate::egress::resolve::literal(host) {
            return Ok(ServerName::from(ip));
        }
        // Certificates name hosts without the final dot of a fully qualified name.
        let name = host.strip_suffix('.').unwrap_or(host).to_owned();
        ServerName::try_from(name).map_err(|_| "must have a host name that is valid in a certificate".into())
    }
}

/// Reads a `tls` object, or `null`, as the API takes it, and validates it. `verify` is a known key only where
/// `allows_verify`. Pointers are relative to the object.
pub fn read_settings(input: &Value, allows_verify: bool) -> Result<TlsProfile, Violations> {
    let object = match input {
        Value::Null => return Ok(TlsProfile::default()),
        Value::Object(object) => object,
        _ => return Err(vec![Violation::new("", "must be an object such as {\"serverName\": \"example.com\"}")]),
    };
    let mut violations = Violations::new();
    let known: &[&str] =
        if allows_verify { &["verify", "caCertificate", "serverName"] } else { &["caCertificate", "serverName"] };
    for key in object.keys().filter(|key| !known.contains(&key.as_str())) {
        let message = format!("is not a known field; the fields are {}", known.join(", "));
        violations.push(Violation::new(tidings_domain::violation::pointer(key), message));
    }
    let mut settings = TlsSettings {
        verify: Verify::default(),
        ca_certificate: read_text(object, "caCertificate", &mut violations),
        server_name: read_text(object, "serverName", &mut violations),
    };
    if allows_verify && let Some(name) = read_text(object, "verify", &mut violations) {
        match Verify::parse(&name) {
            Some(verify) => settings.verify = verify,
            None => violations.push(Violation::new("/verify", "must be full, expiry_only or none")),
        }
    }
    match TlsProfile::new(&settings) {
        Ok(profile) if violations.is_empty() => Ok(profile),
        Ok(_) => Err(violations),
        Err(more) => Err([violations, more].concat()),
    }
}

/// A text; `null` and empty count as absent.
fn read_text(object: &Map<String, Value>, key: &str, violations: &mut Violations) -> Option<String> {
    match object.get(key) {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(text.clone()).filter(|text| !text.trim().is_empty()),
        Some(_) => {
            violations.push(Violation::new(format!("/{key}"), "must be a string"));
            None
        }
    }
}

fn parse_name(text: &str) -> Result<ServerName<'static>, String> {
    let text = text.trim().trim_end_matches('.').to_ascii_lowercase();
    if let Some(ip) = crate::egress::resolve::literal(&text) {
        return Ok(ServerName::from(ip));
    }
    ServerName::try_from(text).map_err(|_| "must be a host name or an address, without port".into())
}

fn parse_pem(text: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    if text.len() > PEM_BYTES_MAX {
        return Err(format!("must be at most {PEM_BYTES_MAX} bytes"));
    }
    let mut certificates = Vec::new();
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(text.as_bytes()) {
        let (kind, der) = section.map_err(|_| "is not valid PEM")?;
        match kind {
            SectionKind::Certificate => certificates.push(CertificateDer::from(der)),
            SectionKind::PrivateKey | SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey => {
                return Err("contains a private key; give the certificate alone".into());
            }
            // Requests, revocation lists and public keys are of no use here, and do no harm.
            _ => {}
        }
    }
    if certificates.is_empty() {
        return Err("must be a certificate in PEM: -----BEGIN CERTIFICATE----- …".into());
    }
    if certificates.len() > CERTIFICATES_MAX {
        return Err(format!("must contain at most {CERTIFICATES_MAX} certificates"));
    }
    for (index, der) in certificates.iter().enumerate() {
        if certificate::parse(der).is_none() {
            return Err(format!("holds something else than a certificate at place {}", index + 1));
        }
    }
    Ok(certificates)
}

fn format_pem(certificates: &[CertificateDer<'_>]) -> String {
    let mut text = String::new();
    for certificate in certificates {
        let base64 = BASE64_STANDARD.encode(certificate);
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        for line in base64.as_bytes().chunks(64) {
            text.push_str(std::str::from_utf8(line).unwrap_or_default());
            text.push('\n');
        }
        text.push_str("-----END CERTIFICATE-----\n");
    }
    text
}

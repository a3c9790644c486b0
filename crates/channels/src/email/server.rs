//! An SMTP server's settings, whether of the instance or of a channel.

use lettre::message::Mailbox;
use tidings_domain::secret::Secret;
use tidings_domain::tls::{TlsSettings, Verify};

use crate::egress::TlsProfile;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Security {
    /// TLS from the first byte.
    Tls,
    /// STARTTLS; nothing is sent if the server does not offer it.
    StartTls,
    /// STARTTLS if the server offers it and it succeeds, else unencrypted. Without a login no certificate is verified, as
    /// between mail servers (RFC 7435): an attacker who can forge one could also suppress the offer. With a login it is verified,
    /// and nothing is sent unencrypted.
    Opportunistic,
    /// Unencrypted.
    None,
}

impl Security {
    /// The standard port for this mode.
    pub(super) const fn default_port(self) -> u16 {
        match self {
            Self::Tls => 465,
            Self::StartTls => 587,
            Self::Opportunistic | Self::None => 25,
        }
    }
}

/// The login at a server.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Credentials {
    pub username: String,
    pub proof: Proof,
}

/// What proves that the user may log in.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Proof {
    Password(Secret),
    /// An OAuth 2.0 access token, sent with SASL XOAUTH2.
    Token(Secret),
}

/// The server that mail is submitted to, and the sender.
#[derive(Debug, Clone)]
pub(super) struct Server {
    /// Name or address; an IPv6 address without brackets.
    pub host: String,
    pub port: u16,
    pub security: Security,
    /// `None`: the server accepts mail without authentication.
    pub credentials: Option<Credentials>,
    /// How its certificate is verified.
    pub tls: TlsProfile,
    /// The sender of every mail.
    pub from: Mailbox,
    /// Configured by the operator: the address guard does not apply.
    pub trusted: bool,
}

impl Server {
    /// Whether connections to this server may be used for mail to the other: all but the sender is the same.
    pub(super) fn shares_connections_with(&self, other: &Self) -> bool {
        (&self.host, self.port, self.security, self.trusted) == (&other.host, other.port, other.security, other.trusted)
            && self.tls == other.tls
            && self.credentials == other.credentials
    }

    /// How certificates are verified in handshakes.
    pub(super) fn effective_tls(&self) -> TlsProfile {
        if self.security == Security::Opportunistic && self.credentials.is_none() {
            let settings = TlsSettings { verify: Verify::None, ..TlsSettings::default() };
            return TlsProfile::new(&settings).unwrap_or_else(|_| unreachable!("it holds nothing to be wrong"));
        }
        self.tls.clone()
    }

    /// Where a certificate of no known authority can be made trusted.
    pub(super) const fn certificate_field(&self) -> &'static str {
        if self.trusted { "the file that SSL_CERT_FILE names" } else { "smtp.tls.caCertificate" }
    }
}

/// Parses and normalises a host name or an IP address. Odd spellings of IPv4 addresses become dotted decimals, so that
/// what is checked is what is connected to.
pub(super) fn parse_host(text: &str) -> Result<String, String> {
    let error = || "expected a host name such as smtp.example.com, without scheme, port or path".to_owned();
    if text.is_empty() || text.len() > 255 || text.contains(['%', '/', '@']) {
        return Err(error());
    }
    if let Ok(v6) = text.parse::<std::net::Ipv6Addr>() {
        return Ok(v6.to_string());
    }
    Ok(match url::Host::parse(text).map_err(|_| error())? {
        url::Host::Domain(name) => name,
        url::Host::Ipv4(v4) => v4.to_string(),
        url::Host::Ipv6(v6) => v6.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_host_normalises_spelling() {
        for (given, kept) in [
            ("SMTP.Example.com", "smtp.example.com"),
            ("127.0.0.1", "127.0.0.1"),
            ("0x7f.1", "127.0.0.1"),
            ("[::1]", "::1"),
            ("::1", "::1"),
        ] {
            assert_eq!(parse_host(given).as_deref(), Ok(kept));
        }
        for wrong in ["", "smtp.example.com:25", "smtp://x", "a b", "a/b", "a@b", "x\r\ny", "%31", "fe80::1%eth0"] {
            assert!(parse_host(wrong).is_err(), "{wrong:?}");
        }
    }
}

//! An SMTP server as the sender sees it, whether the operator named it or a channel brought its own.

use lettre::message::Mailbox;
use tidings_domain::secret::Secret;

/// How the connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Security {
    /// TLS from the first byte.
    Tls,
    /// STARTTLS, and nothing is said without it.
    StartTls,
    /// STARTTLS where the server offers it, else in the clear; a password is not sent in the clear.
    Opportunistic,
    /// In the clear.
    None,
}

impl Security {
    /// The port where servers of this kind listen.
    pub(super) const fn default_port(self) -> u16 {
        match self {
            Self::Tls => 465,
            Self::StartTls => 587,
            Self::Opportunistic | Self::None => 25,
        }
    }
}

/// Who the server is told we are.
#[derive(Debug, Clone)]
pub(super) struct Credentials {
    /// The user name.
    pub username: String,
    /// The password.
    pub password: Secret,
}

/// Where mail is handed in, and as whom.
#[derive(Debug, Clone)]
pub(super) struct Server {
    /// Name or address; an IPv6 address without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// How the connection is protected.
    pub security: Security,
    /// None: the server takes mail from us as we are.
    pub credentials: Option<Credentials>,
    /// The sender of every mail.
    pub from: Mailbox,
    /// Whether the operator set it, so that the address guard is not asked.
    pub trusted: bool,
}

/// Reads a host: a name or an IP address, in one spelling. Odd spellings of IPv4 addresses become plain ones, so that
/// what is checked is what is connected to.
pub(super) fn parse_host(text: &str) -> Result<String, String> {
    let wrong = || "expected a host name such as smtp.example.com, without scheme, port or path".to_owned();
    if text.is_empty() || text.len() > 255 || text.contains(['%', '/', '@']) {
        return Err(wrong());
    }
    if let Ok(v6) = text.parse::<std::net::Ipv6Addr>() {
        return Ok(v6.to_string());
    }
    Ok(match url::Host::parse(text).map_err(|_| wrong())? {
        url::Host::Domain(name) => name,
        url::Host::Ipv4(v4) => v4.to_string(),
        url::Host::Ipv6(v6) => v6.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_kept_in_one_spelling() {
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

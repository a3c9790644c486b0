//! An SMTP server's settings, whether of the instance or of a channel.

use lettre::message::Mailbox;
use tidings_domain::secret::Secret;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Security {
    /// TLS from the first byte.
    Tls,
    /// STARTTLS; nothing is sent if the server does not offer it.
    StartTls,
    /// STARTTLS if the server offers it, else unencrypted; a password is never sent unencrypted.
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

#[derive(Debug, Clone)]
pub(super) struct Credentials {
    pub username: String,
    pub password: Secret,
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
    /// The sender of every mail.
    pub from: Mailbox,
    /// Configured by the operator: the address guard does not apply.
    pub trusted: bool,
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

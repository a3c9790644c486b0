//! What is connected to, read once: what is checked is what is connected to.
//!
//! The `url` crate brings odd spellings of IPv4 literals (decimal, octal, hexadecimal, short) and of names (Unicode,
//! capitals) to one form, for bare hosts as it does for URLs.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use tidings_channels::egress::guard::Guard;
use tidings_channels::egress::target::is_localhost;
use url::Host;

use crate::failure::refused_words;

/// A host and a port.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub host: Host,
    pub port: u16,
    /// `host:port` for messages, or the host alone where there is no port.
    pub name: Arc<str>,
}

impl Target {
    /// This port of this host.
    pub fn new(host: Host, port: u16) -> Result<Self, String> {
        if port == 0 {
            return Err("must not have port 0".into());
        }
        let name = format!("{host}:{port}").into();
        Ok(Self { host, port, name })
    }

    /// The host alone, for what knows no ports.
    pub fn portless(host: Host) -> Self {
        let name = host.to_string().into();
        Self { host, port: 0, name }
    }

    /// Whom the certificate must name.
    pub fn server_name(&self) -> Result<ServerName<'static>, String> {
        match &self.host {
            Host::Ipv4(v4) => Ok(ServerName::from(IpAddr::V4(*v4))),
            Host::Ipv6(v6) => Ok(ServerName::from(IpAddr::V6(*v6))),
            Host::Domain(name) => ServerName::try_from(name.strip_suffix('.').unwrap_or(name).to_owned())
                .map_err(|_| "must name a host that a certificate can be for".into()),
        }
    }

    /// Whether the guard refuses it for sure: it is a literal or a name of this machine. Names are judged by their
    /// addresses when they are connected to.
    pub fn check(&self, guard: &Guard) -> Result<(), String> {
        let ip = match &self.host {
            Host::Ipv4(v4) => IpAddr::V4(*v4),
            Host::Ipv6(v6) => IpAddr::V6(*v6),
            Host::Domain(name) if is_localhost(name) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            Host::Domain(_) => return Ok(()),
        };
        guard.check(ip).map_err(|why| refused_words(&why))
    }
}

/// A host as users write it: a name or an address, an IPv6 address with or without brackets.
pub(crate) fn host(text: &str) -> Result<Host, String> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    match bare.parse() {
        Ok(IpAddr::V4(v4)) => Ok(Host::Ipv4(v4)),
        Ok(IpAddr::V6(v6)) => Ok(Host::Ipv6(v6)),
        Err(_) => Host::parse(text).map_err(|_| "must be a host name or an address".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_spellings_of_refused_addresses_are_refused() {
        for text in [
            "127.0.0.1",
            "2130706433",
            "0177.0.0.1",
            "0x7f.1",
            "127.1",
            "::1",
            "[::1]",
            "::ffff:127.0.0.1",
            "64:ff9b::7f00:1",
            "localhost",
            "LOCALHOST.",
            "a.localhost",
            "１２７.0.0.1",
            "0",
            "169.254.169.254",
            "10.0.0.1",
            "0xa.1",
            "fe80::1",
        ] {
            let target = Target::new(host(text).unwrap(), 80).unwrap();
            let why = target.check(&Guard::default()).expect_err(text);
            assert!(why.contains("TIDINGS_ALLOW_WATCH_TARGETS") && !why.contains("TIDINGS_ALLOW_TARGETS"), "{why}");
        }
    }

    #[test]
    fn what_is_no_host_is_no_target() {
        for text in ["", " ", "a b", "a/b", "a:80", "[::1", "::1]", "fe80::1%eth0", "user@host", "1.2.3.4.5", "a\nb"] {
            assert!(host(text).is_err(), "{text:?}");
        }
        assert!(Target::new(host("example.com").unwrap(), 0).is_err());
        for (text, name) in [
            ("Example.COM", "example.com:80"),
            ("bücher.example", "xn--bcher-kva.example:80"),
            ("2606:4700::1111", "[2606:4700::1111]:80"),
            ("0x8.8.8.8", "8.8.8.8:80"),
            ("_dmarc.example.com", "_dmarc.example.com:80"),
        ] {
            let target = Target::new(host(text).unwrap(), 80).unwrap();
            assert_eq!((&*target.name, target.check(&Guard::default())), (name, Ok(())));
        }
    }
}

//! The host and port that a probe connects to. They are parsed once, so that the guard checks exactly what is connected
//! to.
//!
//! The `url` crate normalises unusual spellings of IPv4 literals (decimal, octal, hexadecimal, short) and of names
//! (Unicode, capitals), for bare hosts in the same way as for URLs.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use tidings_channels::egress::Refused;
use tidings_channels::egress::guard::Guard;
use tidings_channels::egress::target::is_localhost;
use url::Host;

use crate::ALLOW_SETTING;

/// A host with its port.
#[derive(Debug, Clone)]
pub(crate) struct ProbeTarget {
    pub host: Host,
    pub port: u16,
    /// `host:port`, or the host alone where there is no port. Used in messages and as the key of limits.
    pub name: Arc<str>,
}

impl ProbeTarget {
    /// Fails for port 0.
    pub fn new(host: Host, port: u16) -> Result<Self, String> {
        if port == 0 {
            return Err("must not have port 0".into());
        }
        let name = format!("{host}:{port}").into();
        Ok(Self { host, port, name })
    }

    /// A target of a protocol that has no ports.
    pub fn without_port(host: Host) -> Self {
        let name = host.to_string().into();
        Self { host, port: 0, name }
    }

    /// The name that the certificate must be valid for.
    pub fn server_name(&self) -> Result<ServerName<'static>, String> {
        match &self.host {
            Host::Ipv4(v4) => Ok(ServerName::from(IpAddr::V4(*v4))),
            Host::Ipv6(v6) => Ok(ServerName::from(IpAddr::V6(*v6))),
            Host::Domain(name) => ServerName::try_from(name.strip_suffix('.').unwrap_or(name).to_owned())
                .map_err(|_| "must name a host that a certificate can be for".into()),
        }
    }

    /// Fails if the guard blocks the target regardless of DNS: an address literal or a name of this machine. Other
    /// names are checked by their addresses on each connection.
    pub fn check_guard(&self, guard: &Guard) -> Result<(), String> {
        let ip = match &self.host {
            Host::Ipv4(v4) => IpAddr::V4(*v4),
            Host::Ipv6(v6) => IpAddr::V6(*v6),
            Host::Domain(name) if is_localhost(name) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            Host::Domain(_) => return Ok(()),
        };
        guard.check(ip).map_err(|refused| describe_refused(&refused))
    }
}

/// The guard's reason, with the setting that allows the address.
pub(crate) fn describe_refused(refused: &Refused) -> String {
    format!("{} is {}, which is refused; {ALLOW_SETTING} can let it in", refused.ip, refused.what)
}

/// Parses a host as users enter it: a name, an IPv4 address, or an IPv6 address with or without brackets.
pub(crate) fn parse_host(text: &str) -> Result<Host, String> {
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
    fn check_guard_unusual_spellings_of_blocked_addresses_fail() {
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
            let target = ProbeTarget::new(parse_host(text).unwrap(), 80).unwrap();
            let why = target.check_guard(&Guard::default()).expect_err(text);
            assert!(why.contains("TIDINGS_ALLOW_WATCH_TARGETS") && !why.contains("TIDINGS_ALLOW_TARGETS"), "{why}");
        }
    }

    #[test]
    fn parse_host_invalid_input_fails_and_valid_input_is_normalised() {
        for text in ["", " ", "a b", "a/b", "a:80", "[::1", "::1]", "fe80::1%eth0", "user@host", "1.2.3.4.5", "a\nb"] {
            assert!(parse_host(text).is_err(), "{text:?}");
        }
        assert!(ProbeTarget::new(parse_host("example.com").unwrap(), 0).is_err());
        for (text, name) in [
            ("Example.COM", "example.com:80"),
            ("bücher.example", "xn--bcher-kva.example:80"),
            ("2606:4700::1111", "[2606:4700::1111]:80"),
            ("0x8.8.8.8", "8.8.8.8:80"),
            ("_dmarc.example.com", "_dmarc.example.com:80"),
        ] {
            let target = ProbeTarget::new(parse_host(text).unwrap(), 80).unwrap();
            assert_eq!((&*target.name, target.check_guard(&Guard::default())), (name, Ok(())));
        }
    }
}

//! Where an HTTP request goes, read once from its URL: what is checked is what is connected to.
//!
//! The `url` crate brings odd spellings of IPv4 literals (decimal, octal, hexadecimal, short) to one form, so that
//! `http://2130706433/` and `http://0x7f.1/` are the loopback address here as they would be for a browser.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use http::HeaderValue;
use http::uri::{PathAndQuery, Uri};
use rustls::pki_types::ServerName;
use url::{Host, Url};

use super::guard::ALLOW_SETTING;
use super::pool::Origin;
use super::{Egress, Guard};

/// The longest URL, in bytes.
pub const URL_BYTES_MAX: usize = 2_048;

/// A place to send requests to, ready for use: nothing is parsed a second time.
#[derive(Clone)]
pub struct EgressTarget {
    pub(super) origin: Arc<Origin>,
    pub(super) uri: Uri,
    pub(super) host: HeaderValue,
}

impl EgressTarget {
    /// `host:port`, for messages.
    pub fn place(&self) -> String {
        format!("{}:{}", self.origin.host, self.origin.port)
    }
}

/// Whether this URL may be a target, as far as it can be told without resolving its name. The error says what is
/// wrong and what would be right, and quotes nothing of the URL but its host.
pub fn check_url(url: &Url, guard: &Guard) -> Result<(), String> {
    if url.as_str().len() > URL_BYTES_MAX {
        return Err(format!("must be at most {URL_BYTES_MAX} bytes"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not hold a user name or password; send an Authorization header instead".into());
    }
    if !matches!(url.scheme(), "https" | "http") {
        return Err("must begin with https://".into());
    }
    if url.port() == Some(0) {
        return Err("must not have port 0".into());
    }
    let ip = match url.host() {
        None => return Err("must name a host".into()),
        Some(Host::Ipv4(v4)) => Some(IpAddr::V4(v4)),
        Some(Host::Ipv6(v6)) => Some(IpAddr::V6(v6)),
        Some(Host::Domain(name)) => is_localhost(name).then_some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
    };
    if let Some(ip) = ip {
        guard.check(ip).map_err(|refused| refused.to_string())?;
    }
    // A name may lie inside the allowed networks; that is asked when it is resolved.
    let may_be_plain = guard.allow_http || ip.map_or(!guard.allow.is_empty(), |ip| guard.allows(ip));
    if url.scheme() == "http" && !may_be_plain {
        return Err(format!("must begin with https://; http is only for targets inside {ALLOW_SETTING}"));
    }
    Ok(())
}

/// Names that mean this machine wherever they are asked (RFC 6761), with or without the final dot.
pub fn is_localhost(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    name == "localhost" || name.ends_with(".localhost")
}

impl Egress {
    /// Makes a URL a target. The error says in words why it cannot be one.
    pub fn target(&self, url: &Url) -> Result<EgressTarget, String> {
        check_url(url, self.guard())?;
        self.trusted_target(url)
    }

    /// The same without [`check_url`]: for URLs that the operator set. The guard is still asked when connecting.
    pub fn trusted_target(&self, url: &Url) -> Result<EgressTarget, String> {
        let host = url.host_str().ok_or("must name a host")?;
        let tls = url.scheme() == "https";
        let port = url.port_or_known_default().ok_or("must begin with https://")?;
        let server_name = match url.host() {
            _ if !tls => None,
            Some(Host::Ipv4(v4)) => Some(ServerName::from(IpAddr::V4(v4))),
            Some(Host::Ipv6(v6)) => Some(ServerName::from(IpAddr::V6(v6))),
            _ => {
                let name = host.strip_suffix('.').unwrap_or(host).to_owned();
                Some(ServerName::try_from(name).map_err(|_| "must name a host that a certificate can be for")?)
            }
        };
        let authority = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        let path = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        let path: PathAndQuery = path.parse().map_err(|_| "must have a path that HTTP can attempt_state")?;
        Ok(EgressTarget {
            origin: self.pools.origin(host, port, server_name),
            uri: Uri::from(path),
            host: HeaderValue::from_str(&authority).map_err(|_| "must name a host that HTTP can attempt_state")?,
        })
    }
}

#[cfg(test)]
#[path = "target_tests.rs"]
mod tests;

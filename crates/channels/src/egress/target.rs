//! Where an HTTP request goes, parsed once from its URL: what was validated is what is connected to.
//!
//! The `url` crate normalises every spelling of an IPv4 literal (decimal, octal, hexadecimal, short), so that
//! `http://2130706433/` and `http://0x7f.1/` are the loopback address here, as they are for a browser.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use http::HeaderValue;
use http::uri::{PathAndQuery, Uri};
use url::{Host, Url};

use super::guard::ALLOW_SETTING;
use super::pool::Origin;
use super::tls::TlsProfile;
use super::{Egress, Guard};

/// The longest URL.
pub const URL_BYTES_MAX: usize = 2_048;

/// A parsed URL: nothing is parsed again per request.
#[derive(Clone)]
pub struct EgressTarget {
    pub(super) origin: Arc<Origin>,
    pub(super) uri: Uri,
    pub(super) host: HeaderValue,
}

impl EgressTarget {
    /// `host:port`, for messages.
    pub fn host_port(&self) -> String {
        format!("{}:{}", self.origin.host, self.origin.port)
    }
}

/// Whether this URL may be a target, as far as that is known without resolving its name. The error says what is wrong
/// and what is expected; of the URL it quotes only the host's address.
pub fn check_url(url: &Url, guard: &Guard) -> Result<(), String> {
    if url.as_str().len() > URL_BYTES_MAX {
        return Err(format!("must be at most {URL_BYTES_MAX} bytes"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not contain a user name or password; send an Authorization header instead".into());
    }
    if !matches!(url.scheme(), "https" | "http") {
        return Err("must start with https://".into());
    }
    if url.port() == Some(0) {
        return Err("must not have port 0".into());
    }
    let ip = match url.host() {
        None => return Err("must have a host".into()),
        Some(Host::Ipv4(v4)) => Some(IpAddr::V4(v4)),
        Some(Host::Ipv6(v6)) => Some(IpAddr::V6(v6)),
        Some(Host::Domain(name)) => is_localhost(name).then_some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
    };
    if let Some(ip) = ip {
        guard.check(ip).map_err(|refused| refused.to_string())?;
    }
    // Where a name leads is unknown until it is resolved, so `http` passes here if any network is allowed at all; the
    // connection checks the address.
    let may_be_plain = guard.allow_http || ip.map_or(!guard.allow.is_empty(), |ip| guard.allows(ip));
    if url.scheme() == "http" && !may_be_plain {
        return Err(format!("must start with https://; http is only allowed for targets in {ALLOW_SETTING}"));
    }
    Ok(())
}

/// Names that always mean this machine (RFC 6761), with or without the final dot.
pub fn is_localhost(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    name == "localhost" || name.ends_with(".localhost")
}

impl Egress {
    /// Validates the URL and makes it a target. The error says why it cannot be one.
    pub fn target(&self, url: &Url) -> Result<EgressTarget, String> {
        self.target_with_tls(url, &TlsProfile::default())
    }

    /// The same with TLS settings of the target's own; plain `http` ignores them.
    pub fn target_with_tls(&self, url: &Url, tls: &TlsProfile) -> Result<EgressTarget, String> {
        check_url(url, self.guard())?;
        self.make_target(url, tls)
    }

    /// The same without [`check_url`], for URLs that the operator configured. The guard still checks the address when
    /// connecting.
    pub fn trusted_target(&self, url: &Url) -> Result<EgressTarget, String> {
        self.make_target(url, &TlsProfile::default())
    }

    fn make_target(&self, url: &Url, profile: &TlsProfile) -> Result<EgressTarget, String> {
        let host = url.host_str().ok_or("must have a host")?;
        let port = url.port_or_known_default().ok_or("must start with https://")?;
        let mut tls = None;
        if url.scheme() == "https" {
            profile.server_name_for(host)?;
            tls = Some(self.tls().client(profile));
        }
        let authority = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        let path = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        let path: PathAndQuery = path.parse().map_err(|_| "must have a path that is valid in an HTTP request")?;
        Ok(EgressTarget {
            origin: self.pools.origin(host, port, tls),
            uri: Uri::from(path),
            host: HeaderValue::from_str(&authority).map_err(|_| "must have a host that is valid in an HTTP header")?,
        })
    }
}

#[cfg(test)]
mod tests;

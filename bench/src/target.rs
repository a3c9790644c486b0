//! The destination of a benchmark program's requests: a loopback address and a path.

use std::net::SocketAddr;

use anyhow::Context as _;

/// An address and a path.
#[derive(Debug, PartialEq, Eq)]
pub struct Target {
    pub address: SocketAddr,
    /// Path and query.
    pub path: String,
}

impl Target {
    /// Parses `http://127.0.0.1:8080/path`. Fails for anything but loopback.
    pub fn parse(url: &str) -> anyhow::Result<Self> {
        let rest = url.strip_prefix("http://").context("the URL must start with http://")?;
        let (address, path) = rest.split_once('/').unwrap_or((rest, ""));
        let address: SocketAddr = address.parse().context("the URL must name an IP address and a port")?;
        anyhow::ensure!(address.ip().is_loopback(), "only loopback addresses are allowed");
        anyhow::ensure!(path.bytes().all(|byte| byte.is_ascii_graphic()), "the URL's path is not plain ASCII");
        Ok(Self { address, path: format!("/{path}") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_non_loopback_url_fails() {
        for url in ["https://127.0.0.1:1/", "http://192.0.2.1:80/", "http://localhost:80/", "http://127.0.0.1/"] {
            assert!(Target::parse(url).is_err(), "{url}");
        }
        assert_eq!(Target::parse("http://[::1]:80").unwrap().path, "/");
    }
}

//! Where the programs of the benchmark send to: an address of this machine, and a path.

use std::net::SocketAddr;

use anyhow::Context as _;

/// Where requests go.
#[derive(Debug, PartialEq, Eq)]
pub struct Target {
    /// Whom to connect to.
    pub address: SocketAddr,
    /// Path and query.
    pub path: String,
}

impl Target {
    /// From `http://127.0.0.1:8080/path`. Anything but loopback is refused.
    pub fn parse(url: &str) -> anyhow::Result<Self> {
        let rest = url.strip_prefix("http://").context("the URL must begin with http://")?;
        let (address, path) = rest.split_once('/').unwrap_or((rest, ""));
        let address: SocketAddr = address.parse().context("the URL must name an IP address and a port")?;
        anyhow::ensure!(address.ip().is_loopback(), "the load goes to loopback only");
        anyhow::ensure!(path.bytes().all(|byte| byte.is_ascii_graphic()), "the URL's path is not plain ASCII");
        Ok(Self { address, path: format!("/{path}") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_load_stays_on_this_machine() {
        for url in ["https://127.0.0.1:1/", "http://192.0.2.1:80/", "http://localhost:80/", "http://127.0.0.1/"] {
            assert!(Target::parse(url).is_err(), "{url}");
        }
        assert_eq!(Target::parse("http://[::1]:80").unwrap().path, "/");
    }
}

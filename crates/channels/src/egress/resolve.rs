//! Names to addresses, behind a small trait so that tests can give the answers.

use std::io;
use std::net::{IpAddr, SocketAddr};

use async_trait::async_trait;

/// How many of a name's addresses are tried.
pub const ADDRESSES_MAX: usize = 6;

/// Finds the addresses of a host.
#[async_trait]
pub trait Resolve: Send + Sync {
    /// The addresses of `host`, best first.
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>>;
}

/// The system's resolver (`getaddrinfo`), with its hosts file and search rules.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

#[async_trait]
impl Resolve for SystemResolver {
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(tokio::net::lookup_host((host, port)).await?.take(ADDRESSES_MAX).collect())
    }
}

/// The address that a host is, if it is a literal (with or without brackets) rather than a name.
pub(super) fn literal(host: &str) -> Option<IpAddr> {
    host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host).parse().ok()
}

//! From a host's name to an open connection: resolve it, put each address to the guard, connect to one that passed.
//!
//! The two steps are apart so that a prober can tell how long each took; [`VettedAddrs`] keeps them together: only the
//! guard makes one, and only what is in one is connected to.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::guard::{Guard, Refused};
use super::own::{is_out_of_files, is_own};
use super::resolve::{self, Lookups, Resolve};

/// Resolves names, asks the guard, and connects to nothing that it did not let pass.
pub struct Dialer {
    guard: Guard,
    lookups: Lookups,
}

/// Addresses that the guard let pass, best first, at most [`resolve::ADDRESSES_MAX`] and never none.
#[derive(Debug, Clone)]
pub struct VettedAddrs(Vec<SocketAddr>);

impl VettedAddrs {
    /// The addresses.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.0
    }
}

/// Why a host was not reached. It does not name the host: the caller knows what to call it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DialError {
    /// Its name could not be resolved.
    #[error("the name could not be resolved: {}", resolve::reason(.0))]
    Unresolved(Arc<io::Error>),
    /// Its name was not resolved in time.
    #[error("the name was not resolved in time")]
    UnresolvedInTime,
    /// Its name has no address.
    #[error("the name has no address")]
    NoAddress,
    /// The guard let none of its addresses pass; this is what the first one is.
    #[error("{0}")]
    Refused(Refused),
    /// No address took the connection; this is what the last one said.
    #[error("no connection: {0}")]
    Unconnected(Arc<io::Error>),
    /// The last address did not say anything in time.
    #[error("no connection in time")]
    UnconnectedInTime,
}

impl DialError {
    /// Whether this machine is at fault: nothing was learnt about the host.
    pub fn is_own(&self) -> bool {
        matches!(self, Self::Unresolved(error) | Self::Unconnected(error) if is_own(error))
    }

    /// Whether no more files could be opened.
    pub fn is_out_of_files(&self) -> bool {
        matches!(self, Self::Unresolved(error) | Self::Unconnected(error) if is_out_of_files(error))
    }
}

impl Dialer {
    /// A dialer with this guard and this resolver.
    pub fn new(guard: Guard, resolver: Arc<dyn Resolve>) -> Self {
        Self { guard, lookups: Lookups::new(resolver) }
    }

    /// What may be reached.
    pub fn guard(&self) -> &Guard {
        &self.guard
    }

    /// The addresses of `host` that the guard lets pass.
    pub async fn admitted(&self, host: &str, port: u16, deadline: Instant) -> Result<VettedAddrs, DialError> {
        self.admitted_by(host, port, deadline, |address| self.guard.check(address.ip())).await
    }

    /// The same by other rules than the guard's alone.
    pub(super) async fn admitted_by(
        &self,
        host: &str,
        port: u16,
        deadline: Instant,
        admit: impl Fn(&SocketAddr) -> Result<(), Refused> + Send + Sync,
    ) -> Result<VettedAddrs, DialError> {
        let mut refused = None;
        let mut addresses = self.addresses(host, port, deadline).await?;
        addresses.retain(|address| admit(address).map_err(|why| refused.get_or_insert(why).ip).is_ok());
        addresses.truncate(resolve::ADDRESSES_MAX);
        match refused {
            _ if !addresses.is_empty() => Ok(VettedAddrs(addresses)),
            Some(why) => Err(DialError::Refused(why)),
            None => Err(DialError::NoAddress),
        }
    }

    /// Connects to the first address that takes it. If none does, what the last of them said counts; but not that this
    /// machine cannot reach it, as without IPv6, where another said something of the host.
    pub async fn connect(&self, admitted: &VettedAddrs, deadline: Instant) -> Result<TcpStream, DialError> {
        let addresses = admitted.addresses();
        let mut failure: Option<DialError> = None;
        for (tried, address) in addresses.iter().enumerate() {
            // One address that swallows packets leaves the others their share of the time.
            let left = deadline.saturating_duration_since(Instant::now());
            let share = left / (addresses.len() - tried) as u32;
            let why = match timeout_at(Instant::now() + share, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    // Requests are small and written whole; waiting for more only delays them.
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Ok(Err(error)) => DialError::Unconnected(Arc::new(error)),
                Err(_) => DialError::UnconnectedInTime,
            };
            if !why.is_own() || failure.as_ref().is_none_or(DialError::is_own) {
                failure = Some(why);
            }
        }
        Err(failure.unwrap_or(DialError::NoAddress))
    }

    async fn addresses(&self, host: &str, port: u16, deadline: Instant) -> Result<Vec<SocketAddr>, DialError> {
        if let Some(ip) = resolve::literal(host) {
            return Ok(vec![SocketAddr::new(ip, port)]);
        }
        match timeout_at(deadline, self.lookups.addresses(host, port)).await {
            Ok(Ok(addresses)) => Ok(addresses.to_vec()),
            Ok(Err(error)) => Err(DialError::Unresolved(error)),
            Err(_) => Err(DialError::UnresolvedInTime),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use async_trait::async_trait;

    use super::*;

    /// A name with two addresses: one that refuses, and one that this machine cannot connect to (a broadcast address is
    /// unreachable for TCP wherever one is).
    struct Two(u16);

    #[async_trait]
    impl Resolve for Two {
        async fn resolve(&self, _: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
            Ok(vec![([127, 0, 0, 1], self.0).into(), ([255, 255, 255, 255], self.0).into()])
        }
    }

    #[tokio::test]
    async fn that_one_address_is_out_of_reach_hides_nothing_that_another_said() {
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let allow = vec!["127.0.0.1/32".parse().unwrap(), "255.255.255.255/32".parse().unwrap()];
        let dialer = Dialer::new(Guard { allow, allow_http: true }, Arc::new(Two(closed)));
        let deadline = Instant::now() + Duration::from_secs(20);
        let admitted = dialer.admitted("two.example", closed, deadline).await.unwrap();
        assert_eq!(admitted.addresses().len(), 2);
        let alone = VettedAddrs(admitted.addresses()[1..].to_vec());
        assert!(dialer.connect(&alone, deadline).await.unwrap_err().is_own());
        let why = dialer.connect(&admitted, deadline).await.unwrap_err();
        assert!(
            matches!(&why, DialError::Unconnected(error) if error.kind() == io::ErrorKind::ConnectionRefused),
            "{why}"
        );
    }
}

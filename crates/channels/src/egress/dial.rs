//! From a host name to an open connection: resolve it, check each address with the guard, connect to one that passed.
//!
//! The two steps are separate so that a prober can time them. [`VettedAddrs`] ties them together: only the guard's check
//! creates one, and [`Dialer::connect`] accepts nothing else.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;

use rustix::io::Errno;
use tidings_domain::id::WorkspaceId;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::guard::{Guard, Refused};
use super::resolve::{self, Lookups, Resolve};

/// Resolves host names and connects only to addresses that pass its guard.
pub struct Dialer {
    guard: Guard,
    lookups: Lookups,
}

/// For whom a connection is opened, and whether nothing that was kept may be used for it.
#[derive(Debug, Clone, Copy, Default)]
pub struct DialOptions {
    /// Whose share of the concurrent lookups is used; `None`: the instance's own.
    pub workspace: Option<WorkspaceId>,
    /// No pooled connection, no cached address, no resumed TLS session.
    pub fresh: bool,
}

/// Addresses that passed the guard, in the resolver's order: 1 to [`resolve::ADDRESSES_MAX`].
#[derive(Debug, Clone)]
pub struct VettedAddrs(Vec<SocketAddr>);

impl VettedAddrs {
    /// In the order in which they are tried.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.0
    }
}

/// Why no connection to a host was made. The text does not name the host; the caller adds it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DialError {
    /// The lookup failed.
    #[error("the name could not be resolved: {}", resolve::reason(.0))]
    LookupFailed(Arc<io::Error>),
    /// The lookup exceeded the deadline.
    #[error("the name was not resolved in time")]
    LookupTimeout,
    /// The lookup succeeded without any address.
    #[error("the name has no address")]
    NoAddress,
    /// Every address was refused by the guard; this is the first refusal.
    #[error("{0}")]
    Refused(Refused),
    /// No address accepted the connection; this is the last error.
    #[error("no connection: {0}")]
    ConnectFailed(Arc<io::Error>),
    /// The last address did not respond in time.
    #[error("no connection in time")]
    ConnectTimeout,
}

impl DialError {
    /// Whether the cause is this machine, so that the error is no evidence about the host.
    pub fn is_own(&self) -> bool {
        matches!(self, Self::LookupFailed(error) | Self::ConnectFailed(error) if is_own(error))
    }

    /// Whether the process or the system is out of file descriptors.
    pub fn is_out_of_files(&self) -> bool {
        matches!(self, Self::LookupFailed(error) | Self::ConnectFailed(error) if is_out_of_files(error))
    }
}

/// Whether the cause is this machine's own network or resource limits: nothing was sent, so nothing is known about the
/// other end.
pub fn is_own(error: &io::Error) -> bool {
    // `HostUnreachable` is not among them: a router or the neighbour table reports it about the remote host.
    let kind = matches!(
        error.kind(),
        ErrorKind::NetworkUnreachable
            | ErrorKind::NetworkDown
            | ErrorKind::AddrNotAvailable
            | ErrorKind::PermissionDenied
            | ErrorKind::OutOfMemory
    );
    // std has no `ErrorKind` for these.
    kind || is_out_of_files(error) || is_errno(error, Errno::NOBUFS)
}

/// Whether the process (`EMFILE`) or the system (`ENFILE`) is out of file descriptors.
pub(super) fn is_out_of_files(error: &io::Error) -> bool {
    is_errno(error, Errno::MFILE) || is_errno(error, Errno::NFILE)
}

fn is_errno(error: &io::Error, number: Errno) -> bool {
    error.raw_os_error() == Some(number.raw_os_error())
}

impl Dialer {
    /// A dialer with an empty lookup table.
    pub fn new(guard: Guard, resolver: Arc<dyn Resolve>) -> Self {
        Self { guard, lookups: Lookups::new(resolver) }
    }

    /// The address guard in force.
    pub fn guard(&self) -> &Guard {
        &self.guard
    }

    /// The addresses of `host` that pass the guard.
    pub async fn vetted(
        &self,
        host: &str,
        port: u16,
        dial: DialOptions,
        deadline: Instant,
    ) -> Result<VettedAddrs, DialError> {
        self.vet(host, port, dial, deadline, |address| self.guard.check(address.ip())).await
    }

    /// The addresses of `host` that pass `check`.
    pub(super) async fn vet(
        &self,
        host: &str,
        port: u16,
        dial: DialOptions,
        deadline: Instant,
        check: impl Fn(&SocketAddr) -> Result<(), Refused> + Send + Sync,
    ) -> Result<VettedAddrs, DialError> {
        let mut refused = None;
        let mut addresses = self.addresses(host, port, dial, deadline).await?;
        addresses.retain(|address| check(address).map_err(|why| refused.get_or_insert(why).ip).is_ok());
        // After the check: refused addresses in front must not use up the limit.
        addresses.truncate(resolve::ADDRESSES_MAX);
        match refused {
            _ if !addresses.is_empty() => Ok(VettedAddrs(addresses)),
            Some(why) => Err(DialError::Refused(why)),
            None => Err(DialError::NoAddress),
        }
    }

    /// Connects to the first address that accepts. If none does, returns the last error; but a local error (such as no
    /// IPv6 route) never replaces one that another address reported about the host.
    pub async fn connect(&self, vetted: &VettedAddrs, deadline: Instant) -> Result<TcpStream, DialError> {
        let addresses = vetted.addresses();
        let mut failure: Option<DialError> = None;
        for (tried, address) in addresses.iter().enumerate() {
            // An equal share of the remaining time each, so that one address that drops packets does not starve the rest.
            let left = deadline.saturating_duration_since(Instant::now());
            let share = left / (addresses.len() - tried) as u32;
            let why = match timeout_at(Instant::now() + share, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    // Requests are small and written whole: Nagle's algorithm would only delay them.
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Ok(Err(error)) => DialError::ConnectFailed(Arc::new(error)),
                Err(_) => DialError::ConnectTimeout,
            };
            if !why.is_own() || failure.as_ref().is_none_or(DialError::is_own) {
                failure = Some(why);
            }
        }
        Err(failure.unwrap_or(DialError::NoAddress))
    }

    async fn addresses(
        &self,
        host: &str,
        port: u16,
        dial: DialOptions,
        deadline: Instant,
    ) -> Result<Vec<SocketAddr>, DialError> {
        if let Some(ip) = resolve::literal(host) {
            return Ok(vec![SocketAddr::new(ip, port)]);
        }
        match timeout_at(deadline, self.lookups.addresses(host, port, dial)).await {
            Ok(Ok(addresses)) => Ok(addresses.to_vec()),
            Ok(Err(error)) => Err(DialError::LookupFailed(error)),
            Err(_) => Err(DialError::LookupTimeout),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use async_trait::async_trait;

    use super::*;

    /// Resolves to an address that refuses the connection and to one that this machine cannot connect to (TCP to a
    /// broadcast address is unreachable everywhere).
    struct TwoAddresses(u16);

    #[async_trait]
    impl Resolve for TwoAddresses {
        async fn resolve(&self, _: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
            Ok(vec![([127, 0, 0, 1], self.0).into(), ([255, 255, 255, 255], self.0).into()])
        }
    }

    #[tokio::test]
    async fn connect_local_error_of_one_address_does_not_replace_remote_error_of_another() {
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let allow = vec!["127.0.0.1/32".parse().unwrap(), "255.255.255.255/32".parse().unwrap()];
        let dialer = Dialer::new(Guard { allow, allow_http: true }, Arc::new(TwoAddresses(closed)));
        let deadline = Instant::now() + Duration::from_secs(20);
        let vetted = dialer.vetted("two.example", closed, DialOptions::default(), deadline).await.unwrap();
        assert_eq!(vetted.addresses().len(), 2);
        let broadcast = VettedAddrs(vetted.addresses()[1..].to_vec());
        assert!(dialer.connect(&broadcast, deadline).await.unwrap_err().is_own());
        let why = dialer.connect(&vetted, deadline).await.unwrap_err();
        assert!(
            matches!(&why, DialError::ConnectFailed(error) if error.kind() == io::ErrorKind::ConnectionRefused),
            "{why}"
        );
    }

    #[test]
    fn errors_are_split_into_local_and_remote() {
        let os = |number: Errno| io::Error::from_raw_os_error(number.raw_os_error());
        for number in [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::NETUNREACH, Errno::ADDRNOTAVAIL]
        {
            assert!(is_own(&os(number)), "{number}");
        }
        for number in [Errno::CONNREFUSED, Errno::CONNRESET, Errno::HOSTUNREACH, Errno::TIMEDOUT] {
            assert!(!is_own(&os(number)), "{number}");
        }
        assert!(is_out_of_files(&os(Errno::MFILE)) && !is_out_of_files(&os(Errno::NOBUFS)));
    }
}

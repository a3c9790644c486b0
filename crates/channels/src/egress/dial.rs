//! From a host name to an open connection: resolve it, check each address with the guard, connect to one that passed.
//!
//! The two steps are separate so that a prober can time them. [`VettedAddrs`] ties them together: only the guard's check
//! creates one, and [`Dialer::connect`] accepts nothing else.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use rustix::io::Errno;
use tidings_domain::id::WorkspaceId;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::guard::{Guard, Refused};
use super::resolve::{self, LookupLimits, Lookups, Resolve};

/// How long an address may keep the next one waiting (RFC 8305, section 5).
pub const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

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
    /// No address responded in time.
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
    pub fn new(guard: Guard, resolver: Arc<dyn Resolve>, limits: LookupLimits) -> Self {
        Self { guard, lookups: Lookups::new(resolver, limits) }
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

    /// Connects to whichever address accepts first (RFC 8305): they are tried in order, each [`ATTEMPT_DELAY`] after the one
    /// before it or as soon as that one has failed. If none accepts, returns the last error; but neither a timeout nor a
    /// local error (such as no IPv6 route) replaces one that another address reported about the host.
    pub async fn connect(&self, vetted: &VettedAddrs, deadline: Instant) -> Result<TcpStream, DialError> {
        let mut addresses = vetted.addresses().iter();
        let mut attempts = FuturesUnordered::new();
        let mut failure: Option<DialError> = None;
        let mut next_at = Instant::now();
        if addresses.as_slice().is_empty() {
            return Err(DialError::NoAddress);
        }
        loop {
            let has_next = !addresses.as_slice().is_empty();
            let ended: Option<Result<TcpStream, DialError>> = tokio::select! {
                biased;
                Some(ended) = attempts.next() => Some(ended),
                () = sleep_until(next_at), if has_next => None,
                () = sleep_until(deadline) => {
                    return Err(failure.filter(|why| !why.is_own()).unwrap_or(DialError::ConnectTimeout));
                }
            };
            match ended {
                Some(Ok(stream)) => return Ok(stream),
                Some(Err(why)) => {
                    if !why.is_own() || failure.as_ref().is_none_or(DialError::is_own) {
                        failure = Some(why);
                    }
                    if attempts.is_empty() && !has_next {
                        return Err(failure.unwrap_or(DialError::NoAddress));
                    }
                    next_at = Instant::now();
                }
                None => {
                    attempts.extend(addresses.next().map(|address| connect(*address)));
                    next_at = Instant::now() + ATTEMPT_DELAY;
                }
            }
        }
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

async fn connect(address: SocketAddr) -> Result<TcpStream, DialError> {
    let stream = TcpStream::connect(address).await.map_err(|error| DialError::ConnectFailed(Arc::new(error)))?;
    // Requests are small and written whole: Nagle's algorithm would only delay them.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

#[cfg(test)]
mod tests;

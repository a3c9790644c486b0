//! The only way out to the network: every connection of every channel is made here.
//!
//! A host is resolved, each of its addresses is put to the [`guard`], and the very address that passed is connected
//! to, so that a name cannot answer differently between the question and the connection. No proxies, no redirects,
//! no decompression; everything is bounded in time and in bytes.

mod client;
mod error;
pub mod guard;
mod pool;
mod read;
pub mod resolve;
pub mod target;
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

pub use client::{HttpAnswer, Reuse};
pub use error::EgressError;
pub use guard::{Guard, Refused};
pub use resolve::{Resolve, SystemResolver};
pub use target::Target;

use crate::ErrorClass;
use pool::Pools;
use resolve::Lookups;

/// How long a connection, TLS included, may take to be made.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The way out: guard, resolver, TLS and the pools of open connections. One an instance.
pub struct Egress {
    guard: Guard,
    lookups: Lookups,
    tls: Arc<ClientConfig>,
    pools: Arc<Pools>,
}

impl Egress {
    /// The way out with the system's resolver and the certificate authorities of the system, or of `SSL_CERT_FILE`.
    pub fn new(guard: Guard) -> Self {
        Self::with(guard, Arc::new(SystemResolver), tls::native_roots())
    }

    /// The same with a resolver and certificate authorities of one's own.
    pub fn with(guard: Guard, resolver: Arc<dyn Resolve>, roots: RootCertStore) -> Self {
        Self { guard, lookups: Lookups::new(resolver), tls: Arc::new(tls::client_config(roots)), pools: Arc::default() }
    }

    /// What may be reached.
    pub fn guard(&self) -> &Guard {
        &self.guard
    }

    /// How TLS is spoken: ring, TLS 1.2 and 1.3, no client certificate, no ALPN.
    pub fn tls_config(&self) -> Arc<ClientConfig> {
        self.tls.clone()
    }

    /// Connects to an address of `host` that the guard lets pass. `timeout` bounds resolving and connecting.
    pub async fn connect(&self, host: &str, port: u16, timeout: Duration) -> Result<TcpStream, EgressError> {
        self.dial(host, port, Instant::now() + timeout, |address| self.guard.check(address.ip())).await
    }

    /// Connects without asking the guard: only for what the operator set, such as the instance's SMTP server.
    pub async fn connect_trusted(&self, host: &str, port: u16, timeout: Duration) -> Result<TcpStream, EgressError> {
        self.dial(host, port, Instant::now() + timeout, |_| Ok(())).await
    }

    /// Resolves, asks `admit` about each address, and connects to the first of those admitted that takes it.
    async fn dial(
        &self,
        host: &str,
        port: u16,
        deadline: Instant,
        admit: impl Fn(&SocketAddr) -> Result<(), Refused> + Send + Sync,
    ) -> Result<TcpStream, EgressError> {
        let mut refused = None;
        let mut addresses = self.addresses(host, port, deadline).await?;
        addresses.retain(|address| admit(address).map_err(|why| refused.get_or_insert(why).ip).is_ok());
        addresses.truncate(resolve::ADDRESSES_MAX);
        let mut failure = match refused {
            Some(why) => EgressError::refused(host, &why),
            None => EgressError::new(ErrorClass::Dns, format!("{host} has no address")),
        };
        for (tried, address) in addresses.iter().enumerate() {
            // One address that swallows packets leaves the others their share of the time.
            let left = deadline.saturating_duration_since(Instant::now());
            let share = left / (addresses.len() - tried) as u32;
            failure = match timeout_at(Instant::now() + share, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    // Requests are small and written whole; waiting for more only delays them.
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Ok(Err(error)) => EgressError::connect(host, port, &error),
                Err(_) => EgressError::timeout(format!("no connection to {host}:{port} in time")),
            };
        }
        Err(failure)
    }

    async fn addresses(&self, host: &str, port: u16, deadline: Instant) -> Result<Vec<SocketAddr>, EgressError> {
        if let Some(ip) = resolve::literal(host) {
            return Ok(vec![SocketAddr::new(ip, port)]);
        }
        match timeout_at(deadline, self.lookups.addresses(host, port)).await {
            Ok(Ok(addresses)) => Ok(addresses.to_vec()),
            Ok(Err(reason)) => {
                Err(EgressError::new(ErrorClass::Dns, format!("the name {host} could not be resolved: {reason}")))
            }
            Err(_) => Err(EgressError::timeout(format!("the name {host} was not resolved in time"))),
        }
    }
}

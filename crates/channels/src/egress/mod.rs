//! The only way out to the network: every connection of every channel is made here, and every probe's through its
//! [`Dialer`].
//!
//! A host is resolved, each of its addresses is put to the [`guard`], and the very address that passed is connected
//! to, so that a name cannot answer differently between the question and the connection. No proxies, no redirects,
//! no decompression; everything is bounded in time and in bytes.

mod client;
mod dial;
mod error;
pub mod guard;
mod own;
mod pool;
mod read;
pub mod resolve;
mod stream;
pub mod target;
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::time::Instant;

pub use client::{HttpAnswer, Reuse};
pub use dial::{DialError, Dialer, VettedAddrs};
pub use error::{EgressError, is_tls};
pub use guard::{Guard, Refused};
pub use own::is_own;
pub use resolve::{Resolve, SystemResolver};
pub use stream::{Http, Stream, drive};
pub use target::EgressTarget;
pub use tls::native_roots;

use pool::Pools;

/// How long a connection, TLS included, may take to be made.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The way out: guard, resolver, TLS and the pools of open connections. One an instance.
pub struct Egress {
    dialer: Dialer,
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
        Self { dialer: Dialer::new(guard, resolver), tls: Arc::new(tls::client_config(roots)), pools: Arc::default() }
    }

    /// What may be reached.
    pub fn guard(&self) -> &Guard {
        self.dialer.guard()
    }

    /// How TLS is spoken: ring, TLS 1.2 and 1.3, no client certificate, no ALPN.
    pub fn tls_config(&self) -> Arc<ClientConfig> {
        self.tls.clone()
    }

    /// Connects to an address of `host` that the guard lets pass. `timeout` bounds resolving and connecting.
    pub async fn connect(&self, host: &str, port: u16, timeout: Duration) -> Result<TcpStream, EgressError> {
        self.dial(host, port, Instant::now() + timeout, |address| self.guard().check(address.ip())).await
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
        let dialed = async {
            let admitted = self.dialer.admitted_by(host, port, deadline, admit).await?;
            self.dialer.connect(&admitted, deadline).await
        };
        dialed.await.map_err(|why| {
            if why.is_out_of_files() {
                // The next attempt may have the files of those that lie idle.
                self.pools.clear();
            }
            EgressError::unreached(host, port, &why)
        })
    }
}

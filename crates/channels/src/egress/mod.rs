//! Egress: the only way out to the network. Every connection of every channel is opened here, and every probe's through
//! [`Dialer`].
//!
//! A host name is resolved once, each of its addresses is checked by the [`guard`], and the connection goes to exactly
//! the address that passed. There is no second lookup between check and connect, so DNS rebinding cannot redirect it.
//! No proxies, no redirects; every step is bounded in time and in bytes.
//!
//! - [`resolve`]: names to addresses, one lookup per name at a time
//! - `dial`: resolve, check, connect
//! - [`target`]: a URL, validated and parsed once
//! - `client`: one HTTP/1.1 exchange over a pooled or a fresh connection
//! - [`decode`]: bodies as text, by content coding and charset
//! - `pool`: idle connections by origin

mod client;
pub mod decode;
mod dial;
mod error;
pub mod guard;
mod pool;
pub mod resolve;
mod stream;
pub mod target;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::time::Instant;

pub use client::{HttpResponse, Reuse};
pub use dial::{DialError, Dialer, VettedAddrs, is_own};
pub use error::{EgressError, is_tls};
pub use guard::{Guard, Refused};
pub use resolve::{Resolve, SystemResolver};
pub use stream::{Http, Stream, drive};
pub use target::EgressTarget;

use pool::Pools;

/// Limit for opening a connection, TLS handshake included.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Guard, resolver, TLS configuration and connection pools. One per instance.
pub struct Egress {
    dialer: Dialer,
    tls: Arc<ClientConfig>,
    pools: Arc<Pools>,
}

impl Egress {
    /// Uses the system's resolver and certificate authorities ([`native_roots`]).
    pub fn new(guard: Guard) -> Self {
        Self::with(guard, Arc::new(SystemResolver), native_roots())
    }

    /// Uses the given resolver and certificate authorities.
    pub fn with(guard: Guard, resolver: Arc<dyn Resolve>, roots: RootCertStore) -> Self {
        Self { dialer: Dialer::new(guard, resolver), tls: Arc::new(client_config(roots)), pools: Arc::default() }
    }

    /// The address guard in force.
    pub fn guard(&self) -> &Guard {
        self.dialer.guard()
    }

    /// The client configuration: ring, TLS 1.2 and 1.3, no client certificate, no ALPN.
    pub fn tls_config(&self) -> Arc<ClientConfig> {
        self.tls.clone()
    }

    /// Connects to an address of `host` that passes the guard. `timeout` bounds resolving and connecting.
    pub async fn connect(&self, host: &str, port: u16, timeout: Duration) -> Result<TcpStream, EgressError> {
        self.dial(host, port, Instant::now() + timeout, |address| self.guard().check(address.ip())).await
    }

    /// Connects without the guard. Only for hosts that the operator configured, such as the instance's SMTP server.
    pub async fn connect_trusted(&self, host: &str, port: u16, timeout: Duration) -> Result<TcpStream, EgressError> {
        self.dial(host, port, Instant::now() + timeout, |_| Ok(())).await
    }

    /// Resolves `host`, filters its addresses with `check`, and connects to the first one that accepts.
    async fn dial(
        &self,
        host: &str,
        port: u16,
        deadline: Instant,
        check: impl Fn(&SocketAddr) -> Result<(), Refused> + Send + Sync,
    ) -> Result<TcpStream, EgressError> {
        let dialed = async {
            let vetted = self.dialer.vet(host, port, deadline, check).await?;
            self.dialer.connect(&vetted, deadline).await
        };
        dialed.await.map_err(|why| {
            if why.is_out_of_files() {
                // Idle connections hold descriptors; closing them frees some for the next attempt.
                self.pools.clear();
            }
            EgressError::from_dial(host, port, &why)
        })
    }
}

/// The system's certificate authorities, or those of `SSL_CERT_FILE` and `SSL_CERT_DIR`. Unreadable ones are logged and
/// skipped.
pub fn native_roots() -> RootCertStore {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "failed to load a certificate authority");
    }
    let mut roots = RootCertStore::empty();
    let (_, ignored) = roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        tracing::warn!(ignored, "no certificate authorities found: every https target will fail; set SSL_CERT_FILE");
    }
    roots
}

fn client_config(roots: RootCertStore) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap_or_else(|_| unreachable!("ring supports the default protocol versions"))
        .with_root_certificates(roots)
        .with_no_client_auth()
}

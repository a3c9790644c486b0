//! Egress: the only way out to the network. Every connection of every channel is opened here, and every probe's through
//! [`Dialer`].
//!
//! A host name is resolved once, each of its addresses is checked by the [`guard`], and the connection goes to exactly
//! the address that passed. There is no second lookup between check and connect, so DNS rebinding cannot redirect it.
//! No proxies, no redirects; every step is bounded in time and in bytes.
//!
//! - [`dns`]: asks the system's name servers
//! - [`resolve`]: one lookup per name at a time, in turns between workspaces
//! - `dial`: resolve, check, race the addresses
//! - [`target`]: a URL, validated and parsed once
//! - [`http1`]: leniencies and limits of HTTP/1.1
//! - `client`: one HTTP/1.1 exchange over a pooled or a fresh connection
//! - [`decode`]: bodies as text, by content coding and charset
//! - `pool`: idle connections by origin
//! - [`tls`]: how certificates are verified, and handshakes

mod certificate;
mod client;
pub mod decode;
mod dial;
pub mod dns;
mod error;
mod fair;
pub mod guard;
pub mod http1;
mod pool;
pub mod resolve;
mod stream;
pub mod target;
pub mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::Instant;

pub use client::HttpResponse;
pub use dial::{ATTEMPT_DELAY, DialError, DialOptions, Dialer, VettedAddrs, is_own};
pub use dns::DnsResolver;
pub use error::{EgressError, is_tls};
pub use guard::{Guard, Refused};
pub use resolve::{LookupLimits, Resolve};
pub use rustls::RootCertStore;
pub use stream::{Http, Stream, drive};
pub use target::EgressTarget;
pub use tls::{TlsClients, TlsProfile};

use pool::Pools;

/// Limit for opening a connection, TLS handshake included.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Guard, resolver, TLS configuration and connection pools. One per instance.
pub struct Egress {
    dialer: Dialer,
    tls: TlsClients,
    pools: Arc<Pools>,
}

impl Egress {
    /// Uses the system's name servers and certificate authorities ([`native_roots`]).
    pub fn new(guard: Guard) -> Self {
        Self::with(guard, Arc::new(DnsResolver::system()), native_roots())
    }

    /// Uses the given resolver and certificate authorities.
    pub fn with(guard: Guard, resolver: Arc<dyn Resolve>, roots: RootCertStore) -> Self {
        Self {
            dialer: Dialer::new(guard, resolver, LookupLimits::default()),
            tls: TlsClients::new(roots),
            pools: Arc::default(),
        }
    }

    /// The address guard in force.
    pub fn guard(&self) -> &Guard {
        self.dialer.guard()
    }

    /// The TLS clients of all settings in use.
    pub fn tls(&self) -> &TlsClients {
        &self.tls
    }

    /// Connects to an address of `host` that passes the guard. `timeout` bounds resolving and connecting.
    pub async fn connect(
        &self,
        host: &str,
        port: u16,
        dial: DialOptions,
        timeout: Duration,
    ) -> Result<TcpStream, EgressError> {
        self.dial(host, port, dial, Instant::now() + timeout, |address| self.guard().check(address.ip())).await
    }

    /// Connects without the guard. Only for hosts that the operator configured, such as the instance's SMTP server.
    pub async fn connect_trusted(
        &self,
        host: &str,
        port: u16,
        dial: DialOptions,
        timeout: Duration,
    ) -> Result<TcpStream, EgressError> {
        self.dial(host, port, dial, Instant::now() + timeout, |_| Ok(())).await
    }

    /// Resolves `host`, filters its addresses with `check`, and connects to the first one that accepts.
    async fn dial(
        &self,
        host: &str,
        port: u16,
        dial: DialOptions,
        deadline: Instant,
        check: impl Fn(&SocketAddr) -> Result<(), Refused> + Send + Sync,
    ) -> Result<TcpStream, EgressError> {
        let dialed = async {
            let vetted = self.dialer.vet(host, port, dial, deadline, check).await?;
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

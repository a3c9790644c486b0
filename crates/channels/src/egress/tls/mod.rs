//! TLS with servers: the user's settings, the handshake, and what is wrong with a certificate in words.
//!
//! [`TlsSettings`] are what a user wrote, a [`TlsProfile`] is their validated form. [`TlsClients`] has one [`TlsClient`] for
//! each profile that is in use, with a configuration and resumable sessions of its own: a session that was made under one
//! profile is never resumed under another.

mod describe;
mod profile;
mod verifier;

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use rustls::client::Resumption;
use rustls::{ClientConfig, RootCertStore};
use tidings_domain::check::Certificate;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::certificate;
pub use describe::{TlsError, describe_tls_error};
pub use profile::{CERTIFICATES_MAX, PEM_BYTES_MAX, TlsProfile, read_settings};
pub use tidings_domain::tls::{TlsSettings, Verify};
use verifier::Verifier;

/// Sessions are resumed for this long after the configuration was made. A resumed session presents no certificate, so this
/// bounds for how long an expired, revoked or replaced one goes unnoticed.
const SESSION_AGE_MAX: Duration = Duration::from_secs(600);

/// How a handshake is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Handshake {
    /// Resumes an earlier session with this server if there is one.
    Resume,
    /// Never resumes: the server presents its certificate.
    Full,
    /// The same, and offers `http/1.1` by ALPN.
    FullHttp,
}

/// The clients of all profiles in use. One per instance.
pub struct TlsClients {
    roots: Arc<RootCertStore>,
    default: Arc<TlsClient>,
    // Weak: a client lives as long as a target or server holds it.
    by_profile: Mutex<HashMap<TlsProfile, Weak<TlsClient>>>,
}

impl TlsClients {
    /// Clients that trust these authorities, unless a profile has its own.
    pub fn new(roots: RootCertStore) -> Self {
        let roots = Arc::new(roots);
        let default = Arc::new(TlsClient::new(TlsProfile::default(), roots.clone()));
        Self { roots, default, by_profile: Mutex::default() }
    }

    /// The client of this profile: the existing one while anything holds it, else a new one.
    pub fn client(&self, profile: &TlsProfile) -> Arc<TlsClient> {
        if *profile == TlsProfile::default() {
            return self.default.clone();
        }
        let mut clients = lock(&self.by_profile);
        if let Some(client) = clients.get(profile).and_then(Weak::upgrade) {
            return client;
        }
        // A linear sweep, but only when a client is made, which is rare (a channel was opened).
        clients.retain(|_, client| client.strong_count() > 0);
        let client = Arc::new(TlsClient::new(profile.clone(), self.roots.clone()));
        clients.insert(profile.clone(), Arc::downgrade(&client));
        client
    }
}

/// Does handshakes as one profile demands: ring, TLS 1.2 and 1.3, no client certificate.
pub struct TlsClient {
    profile: TlsProfile,
    full: Arc<ClientConfig>,
    full_http: Arc<ClientConfig>,
    resuming: Mutex<(Instant, Arc<ClientConfig>)>,
}

impl TlsClient {
    fn new(profile: TlsProfile, roots: Arc<RootCertStore>) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = Arc::new(Verifier::new(&profile, roots, provider.signature_verification_algorithms));
        let mut full = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap_or_else(|_| unreachable!("ring supports the default protocol versions"))
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        full.resumption = Resumption::disabled();
        let mut full_http = full.clone();
        full_http.alpn_protocols = vec![b"http/1.1".to_vec()];
        let resuming = Mutex::new((Instant::now(), resuming(&full)));
        Self { profile, full: Arc::new(full), full_http: Arc::new(full_http), resuming }
    }

    /// The profile that this client was made for.
    pub fn profile(&self) -> &TlsProfile {
        &self.profile
    }

    /// The configuration for a handshake of this kind.
    pub fn config(&self, handshake: Handshake) -> Arc<ClientConfig> {
        match handshake {
            Handshake::Full => self.full.clone(),
            Handshake::FullHttp => self.full_http.clone(),
            Handshake::Resume => {
                let mut kept = lock(&self.resuming);
                if kept.0.elapsed() >= SESSION_AGE_MAX {
                    *kept = (Instant::now(), resuming(&self.full));
                }
                kept.1.clone()
            }
        }
    }

    /// Does a handshake with `host`, a name or an address, over an open connection. Messages call the server `label`. The
    /// caller bounds the time.
    pub async fn connect<S>(
        &self,
        host: &str,
        label: &str,
        stream: S,
        handshake: Handshake,
    ) -> Result<TlsStream<S>, TlsError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = self.profile.server_name_for(host).map_err(|why| TlsError::new(format!("{label}: {why}")))?;
        let connected = TlsConnector::from(self.config(handshake)).connect(name, stream).await;
        connected.map_err(|error: io::Error| TlsError::from_io(label, &error))
    }
}

/// The certificate that the server presented; of a resumed session the one of the original handshake.
pub fn peer_certificate<S>(stream: &TlsStream<S>) -> Option<Certificate> {
    let leaf = stream.get_ref().1.peer_certificates()?.first()?;
    certificate::parse(leaf).map(|info| info.certificate)
}

/// The same configuration with a store for sessions of its own.
fn resuming(full: &ClientConfig) -> Arc<ClientConfig> {
    let mut config = full.clone();
    config.resumption = Resumption::default();
    Arc::new(config)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;

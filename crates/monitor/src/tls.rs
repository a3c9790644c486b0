//! TLS as a prober speaks it: the certificate is read whether or not it is trusted, and what is wrong with it is said.
//!
//! Sessions are not resumed: a resumed one shows no certificate.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tidings_channels::egress::EgressError;
use tidings_domain::text::truncate_chars;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::certificate::{self, Seen};

/// The longest list of a certificate's names in a message, in characters.
const NAMES_CHARS_MAX: usize = 120;

/// What stands in for TLS in every probe.
pub(crate) struct Tls {
    config: ClientConfig,
    roots: Arc<RootCertStore>,
    algorithms: WebPkiSupportedAlgorithms,
}

/// What TLS is spoken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// HTTP/1.1, which is said (ALPN).
    Http,
    /// The handshake itself: whatever is spoken after it.
    Handshake,
}

/// What came of a handshake.
pub(crate) struct Shaken {
    /// The certificate that the other end showed, if it came to that.
    pub seen: Option<Seen>,
    /// The connection, or why there is none, in words.
    pub outcome: Result<TlsStream<TcpStream>, String>,
}

impl Tls {
    /// Ring, TLS 1.2 and 1.3, no client certificate.
    pub fn new(roots: RootCertStore) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let algorithms = provider.signature_verification_algorithms;
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap_or_else(|_| unreachable!("ring serves the default protocol versions"))
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        Self { config, roots: Arc::new(roots), algorithms }
    }

    /// Shakes hands with `name`; `place` is what it is called in messages.
    pub async fn shake(&self, tcp: TcpStream, name: ServerName<'static>, place: &str, purpose: Purpose) -> Shaken {
        let witness =
            Arc::new(Witness { roots: self.roots.clone(), algorithms: self.algorithms, seen: Mutex::default() });
        // A copy of its own for each handshake (counters of shared parts), so that each has a witness of its own.
        let mut config = self.config.clone();
        config.dangerous().set_certificate_verifier(witness.clone());
        if purpose == Purpose::Http {
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
        }
        let shaken = TlsConnector::from(Arc::new(config)).connect(name, tcp).await;
        let seen = witness.seen.lock().unwrap_or_else(PoisonError::into_inner).take();
        let seen = seen.and_then(|der| certificate::read(&der));
        let outcome = shaken.map_err(|error| describe(place, &error, seen.as_ref()));
        Shaken { seen, outcome }
    }
}

/// Judges a certificate as every client does, and remembers it.
#[derive(Debug)]
struct Witness {
    roots: Arc<RootCertStore>,
    algorithms: WebPkiSupportedAlgorithms,
    seen: Mutex<Option<CertificateDer<'static>>>,
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(end_entity.clone().into_owned());
        let parsed = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, intermediates, now, algorithms)?;
        verify_server_name(&parsed, server_name)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Why the handshake failed; what is wrong with the certificate is told with what it says itself.
fn describe(place: &str, error: &io::Error, seen: Option<&Seen>) -> String {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match (inner, seen) {
        (Some(rustls::Error::InvalidCertificate(reason)), Some(seen)) => match certificate_words(reason, seen) {
            Some(why) => format!("TLS with {place} failed: its certificate {why}"),
            None => EgressError::tls(place, error).message,
        },
        _ => EgressError::tls(place, error).message,
    }
}

fn certificate_words(reason: &CertificateError, seen: &Seen) -> Option<String> {
    use CertificateError::{
        Expired, ExpiredContext, NotValidForName, NotValidForNameContext, NotValidYet, NotValidYetContext, Revoked,
        UnknownIssuer,
    };
    match reason {
        Expired | ExpiredContext { .. } => {
            let not_after = seen.certificate.not_after.to_string();
            Some(format!("expired on {}", not_after.split('T').next().unwrap_or_default()))
        }
        NotValidForNameContext { presented, .. } if !presented.is_empty() => {
            let names: Vec<_> = presented.iter().map(|name| plain_name(name)).collect();
            let names = truncate_chars(&names.join(", "), NAMES_CHARS_MAX);
            Some(format!("is for another name ({})", names.replace(char::is_control, "\u{fffd}")))
        }
        NotValidYet | NotValidYetContext { .. } | NotValidForName | NotValidForNameContext { .. } | Revoked => None,
        // Whatever else is wrong with it: it was made by hand, and that is what is to be changed.
        _ if seen.is_self_signed => Some("is self-signed".into()),
        UnknownIssuer => Some(format!("is from an unknown issuer ({})", seen.certificate.issuer)),
        _ => None,
    }
}

/// `DnsName("example.com")`, as webpki writes names, without the wrapping.
fn plain_name(name: &str) -> &str {
    name.split_once('(').map_or(name, |(_, rest)| rest.trim_end_matches(')').trim_matches('"'))
}

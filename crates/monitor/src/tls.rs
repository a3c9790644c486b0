//! TLS handshakes of probes. The certificate is read whether or not it is trusted, and errors name what is wrong with
//! it.
//!
//! Sessions are not resumed, because a resumed session presents no certificate.

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

use crate::certificate::{self, CertificateInfo};

/// The longest list of certificate names in a message, in characters.
const NAMES_CHARS_MAX: usize = 120;

/// Does the TLS handshakes of all probes.
pub(crate) struct TlsClient {
    config: ClientConfig,
    roots: Arc<RootCertStore>,
    algorithms: WebPkiSupportedAlgorithms,
}

/// What follows the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// HTTP/1.1, which ALPN offers.
    Http,
    /// Nothing: no ALPN, so that servers of any protocol accept it.
    HandshakeOnly,
}

/// The result of a handshake.
pub(crate) struct Handshake {
    /// The server's certificate, also where the handshake failed after the server had sent it.
    pub certificate: Option<CertificateInfo>,
    /// The connection, or the failure's message.
    pub result: Result<TlsStream<TcpStream>, String>,
}

impl TlsClient {
    /// Uses ring, TLS 1.2 and 1.3, and no client certificate.
    pub fn new(roots: RootCertStore) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let algorithms = provider.signature_verification_algorithms;
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap_or_else(|_| unreachable!("ring supports the default protocol versions"))
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        Self { config, roots: Arc::new(roots), algorithms }
    }

    /// Does a handshake with `name`. Messages call the server `target_name`.
    pub async fn handshake(
        &self,
        tcp: TcpStream,
        name: ServerName<'static>,
        target_name: &str,
        purpose: Purpose,
    ) -> Handshake {
        let verifier = Arc::new(RecordingVerifier {
            roots: self.roots.clone(),
            algorithms: self.algorithms,
            certificate: Mutex::default(),
        });
        // Each handshake needs a verifier of its own to record into. The clone is cheap: its parts are shared.
        let mut config = self.config.clone();
        config.dangerous().set_certificate_verifier(verifier.clone());
        if purpose == Purpose::Http {
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
        }
        let connected = TlsConnector::from(Arc::new(config)).connect(name, tcp).await;
        let der = verifier.certificate.lock().unwrap_or_else(PoisonError::into_inner).take();
        let certificate = der.and_then(|der| certificate::parse(&der));
        let result = connected.map_err(|error| describe_tls_error(target_name, &error, certificate.as_ref()));
        Handshake { certificate, result }
    }
}

/// Verifies a certificate as any client does, and records it before it does so.
#[derive(Debug)]
struct RecordingVerifier {
    roots: Arc<RootCertStore>,
    algorithms: WebPkiSupportedAlgorithms,
    certificate: Mutex<Option<CertificateDer<'static>>>,
}

impl ServerCertVerifier for RecordingVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        *self.certificate.lock().unwrap_or_else(PoisonError::into_inner) = Some(end_entity.clone().into_owned());
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

/// The message of a failed handshake, with details of the certificate where that is the reason.
fn describe_tls_error(target_name: &str, error: &io::Error, certificate: Option<&CertificateInfo>) -> String {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match (inner, certificate) {
        (Some(rustls::Error::InvalidCertificate(reason)), Some(info)) => match describe_certificate_error(reason, info)
        {
            Some(why) => format!("TLS with {target_name} failed: its certificate {why}"),
            None => EgressError::tls(target_name, error).message,
        },
        _ => EgressError::tls(target_name, error).message,
    }
}

fn describe_certificate_error(reason: &CertificateError, info: &CertificateInfo) -> Option<String> {
    use CertificateError::{
        Expired, ExpiredContext, NotValidForName, NotValidForNameContext, NotValidYet, NotValidYetContext, Revoked,
        UnknownIssuer,
    };
    match reason {
        Expired | ExpiredContext { .. } => {
            let not_after = info.certificate.not_after.to_string();
            Some(format!("expired on {}", not_after.split('T').next().unwrap_or_default()))
        }
        NotValidForNameContext { presented, .. } if !presented.is_empty() => {
            let names: Vec<_> = presented.iter().map(|name| strip_name_wrapper(name)).collect();
            let names = truncate_chars(&names.join(", "), NAMES_CHARS_MAX);
            Some(format!("is for another name ({})", names.replace(char::is_control, "\u{fffd}")))
        }
        NotValidYet | NotValidYetContext { .. } | NotValidForName | NotValidForNameContext { .. } | Revoked => None,
        // Any other reason is secondary: a self-signed certificate has to be replaced or trusted first.
        _ if info.is_self_signed => Some("is self-signed".into()),
        UnknownIssuer => Some(format!("is from an unknown issuer ({})", info.certificate.issuer)),
        _ => None,
    }
}

/// `example.com` from `DnsName("example.com")`, which is how webpki formats names.
fn strip_name_wrapper(name: &str) -> &str {
    name.split_once('(').map_or(name, |(_, rest)| rest.trim_end_matches(')').trim_matches('"'))
}

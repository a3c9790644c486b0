//! The verifier of server certificates, for channels and probes.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme};
use tidings_domain::time::Timestamp;
use tidings_domain::tls::Verify;

use super::describe::CertificateProblem;
use super::profile::TlsProfile;
use crate::egress::certificate::{self, CertificateInfo};

/// Verifies what a profile demands. Errors carry the certificate and what is wrong with it, see [`CertificateProblem`].
#[derive(Debug)]
pub(super) struct Verifier {
    verify: Verify,
    roots: Arc<RootCertStore>,
    /// The user's own certificates. A server that presents exactly one of them is trusted, whatever webpki thinks of it: it
    /// accepts neither certificates that may sign others (`CA:TRUE`, as `openssl req -x509` makes them) as a server's, nor
    /// such without alternative names.
    pinned: Arc<[CertificateDer<'static>]>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    pub(super) fn new(
        profile: &TlsProfile,
        system_roots: Arc<RootCertStore>,
        algorithms: WebPkiSupportedAlgorithms,
    ) -> Self {
        let pinned = profile.certificates().clone();
        let roots = if pinned.is_empty() {
            system_roots
        } else {
            let mut roots = RootCertStore::empty();
            // What cannot be an authority may still be the server's own certificate.
            roots.add_parsable_certificates(pinned.iter().cloned());
            Arc::new(roots)
        };
        Self { verify: profile.verify(), roots, pinned, algorithms }
    }

    fn check(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        match self.verify {
            Verify::None => Ok(()),
            Verify::ExpiryOnly => check_dates(end_entity, now),
            Verify::Full if self.pinned.iter().any(|pinned| pinned == end_entity) => check_dates(end_entity, now),
            Verify::Full => {
                let parsed = ParsedCertificate::try_from(end_entity)?;
                let algorithms = self.algorithms.all;
                verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, intermediates, now, algorithms)?;
                verify_server_name(&parsed, server_name)
            }
        }
    }
}

fn check_dates(end_entity: &CertificateDer<'_>, now: UnixTime) -> Result<(), rustls::Error> {
    let info = certificate::parse(end_entity).ok_or(CertificateError::BadEncoding)?;
    let now = Timestamp::from_unix_ms(i64::try_from(now.as_secs().saturating_mul(1_000)).unwrap_or(i64::MAX));
    if now < info.not_before {
        return Err(CertificateError::NotValidYet.into());
    }
    // The last second is part of the validity (RFC 5280, 4.1.2.5).
    if now > info.certificate.not_after {
        return Err(CertificateError::Expired.into());
    }
    Ok(())
}

/// The error with the certificate that it is about.
fn with_details(error: rustls::Error, end_entity: &CertificateDer<'_>, has_own_authorities: bool) -> rustls::Error {
    let rustls::Error::InvalidCertificate(reason) = error else { return error };
    let info: Option<CertificateInfo> = certificate::parse(end_entity);
    let problem = CertificateProblem { reason, info, has_own_authorities };
    CertificateError::Other(OtherError(Arc::new(problem))).into()
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.check(end_entity, intermediates, server_name, now)
            .map(|()| ServerCertVerified::assertion())
            .map_err(|error| with_details(error, end_entity, !self.pinned.is_empty()))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
            .map_err(|error| with_details(error, cert, !self.pinned.is_empty()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
            .map_err(|error| with_details(error, cert, !self.pinned.is_empty()))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

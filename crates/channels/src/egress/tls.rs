//! TLS as all channels speak it: rustls over ring, certificate authorities loaded once.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};

/// The system's certificate authorities, or those of `SSL_CERT_FILE` and `SSL_CERT_DIR`. What cannot be read is
/// logged and left out.
pub fn native_roots() -> RootCertStore {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "a certificate authority could not be loaded");
    }
    let mut roots = RootCertStore::empty();
    let (_, ignored) = roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        tracing::warn!(ignored, "no certificate authorities found: every https target will fail; set SSL_CERT_FILE");
    }
    roots
}

pub(super) fn client_config(roots: RootCertStore) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap_or_else(|_| unreachable!("ring serves the default protocol versions"))
        .with_root_certificates(roots)
        .with_no_client_auth()
}

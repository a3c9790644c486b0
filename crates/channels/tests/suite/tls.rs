//! Untrusted certificates, and receivers that do not speak TLS.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{RootCertStore, ServerConfig};
use serde_json::json;
use tidings_channels::egress::{Egress, SystemResolver};
use tidings_channels::{AttemptResult, ChannelContext, ErrorClass, registry};
use tidings_domain::channel::ChannelType;
use tidings_domain::resource::ResourceType;
use tokio::io::AsyncWriteExt;
use tokio_rustls::TlsAcceptor;

use crate::support::{Receiver, SURELY, failed, loopback, message, read_request, stored};

/// A certificate authority for one test.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    roots: RootCertStore,
}

impl Authority {
    fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certificate.der().clone()).unwrap();
        Self { issuer: Issuer::new(params, key), roots }
    }

    /// An acceptor with a certificate for this name that expires at the end of the year.
    fn server(&self, name: &str, year: i32) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(year, 12, 31);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key).unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}

async fn receiver(acceptor: TlsAcceptor) -> Receiver {
    Receiver::start(move |stream, _, log| {
        let acceptor = acceptor.clone();
        async move {
            let mut stream = acceptor.accept(stream).await?;
            while let Some(request) = read_request(&mut stream).await? {
                log.lock().unwrap().push(request);
                stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await?;
            }
            Ok(())
        }
    })
    .await
}

async fn attempt(receiver: &Receiver, roots: &RootCertStore) -> AttemptResult {
    let egress = Egress::with(loopback(), Arc::new(SystemResolver), roots.clone());
    let context = ChannelContext::new(Arc::new(egress));
    let config = json!({"url": format!("https://{}/hook", receiver.address)});
    let stored = stored(ChannelType::Webhook, config, &context);
    let notifier = registry::plugin(ChannelType::Webhook).open(&stored, &context).unwrap();
    let event = failed(ResourceType::Flow);
    tokio::time::timeout(SURELY, notifier.deliver(&message(&event))).await.expect("within the timeout")
}

#[tokio::test]
async fn untrusted_certificates_are_described() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let good = receiver(ours.server("127.0.0.1", 2099)).await;
    let result = attempt(&good, &ours.roots).await;
    assert!(result.is_delivered(), "{result:?}");
    for (server, message) in [
        (ours.server("127.0.0.1", 2001), "its certificate has expired"),
        (theirs.server("127.0.0.1", 2099), "its certificate is from an unknown issuer (or self-signed)"),
        (ours.server("example.com", 2099), "its certificate is for another name"),
    ] {
        let receiver = receiver(server).await;
        let result = attempt(&receiver, &ours.roots).await;
        assert_eq!(result.error_class, Some(ErrorClass::Tls), "{result:?}");
        assert_eq!(result.error, Some(format!("TLS with 127.0.0.1 failed: {message}")));
        assert!(receiver.requests.lock().unwrap().is_empty(), "not a byte of the request was sent");
    }
}

#[tokio::test]
async fn plain_closing_and_hanging_receivers_are_classified() {
    let roots = RootCertStore::empty();
    let plain = Receiver::start(|mut stream, _, _| async move {
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await?;
        read_request(&mut stream).await.map(drop)
    })
    .await;
    let result = attempt(&plain, &roots).await;
    assert_eq!(result.error_class, Some(ErrorClass::Tls), "{result:?}");
    assert!(result.error.as_deref().is_some_and(|message| message.ends_with("its response is not TLS")), "{result:?}");

    let closing = Receiver::start(|stream, _, _| async move {
        let mut first = [0; 1_024];
        stream.readable().await?;
        let _ = stream.try_read(&mut first)?;
        Ok(())
    })
    .await;
    let result = attempt(&closing, &roots).await;
    assert_eq!(result.error_class, Some(ErrorClass::Tls), "{result:?}");

    let hanging = Receiver::hanging().await;
    let result = attempt(&hanging, &roots).await;
    assert_eq!(result.error_class, Some(ErrorClass::Timeout), "{result:?}");
    assert!(
        result.error.as_deref().is_some_and(|message| message.starts_with("no TLS handshake with 127.0.0.1")),
        "{result:?}"
    );
}

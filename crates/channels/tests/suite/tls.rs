//! Untrusted certificates, and receivers that do not speak TLS.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use serde_json::json;
use tidings_channels::egress::{DnsResolver, Egress};
use tidings_channels::{AttemptResult, ChannelConfig, ChannelContext, ErrorClass, registry};
use tidings_domain::channel::ChannelType;
use tidings_domain::resource::ResourceType;
use tokio::io::AsyncWriteExt;
use tokio_rustls::TlsAcceptor;

use crate::support::{Receiver, SURELY, context, failed, loopback, message, read_request, stored};

/// A certificate authority for one test.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    roots: RootCertStore,
    pem: String,
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
        Self { issuer: Issuer::new(params, key), roots, pem: certificate.pem() }
    }

    /// An acceptor with a certificate for this name that expires at the end of the year.
    fn server(&self, name: &str, year: i32) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(year, 12, 31);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        acceptor(certificate.der().clone(), &key)
    }
}

fn acceptor(certificate: CertificateDer<'static>, key: &KeyPair) -> TlsAcceptor {
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    TlsAcceptor::from(Arc::new(config.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap()))
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
    attempt_with(receiver, roots, json!(null)).await
}

/// An attempt of a webhook with these `tls` settings.
async fn attempt_with(receiver: &Receiver, roots: &RootCertStore, tls: serde_json::Value) -> AttemptResult {
    let egress = Egress::with(loopback(), Arc::new(DnsResolver::system()), roots.clone());
    let context = ChannelContext::new(Arc::new(egress));
    let config = json!({"url": format!("https://{}/hook", receiver.address), "tls": tls});
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
        (ours.server("127.0.0.1", 2001), "its certificate expired on 2001-12-31"),
        (
            theirs.server("127.0.0.1", 2099),
            "its certificate is from an unknown issuer (CN=theirs), not signed by a known authority; if it is your own, give it \
             in tls.caCertificate",
        ),
        (ours.server("example.com", 2099), "its certificate is for another name (example.com)"),
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

/// `openssl req -x509`: a self-signed certificate that may sign others (`CA:TRUE`), for `host`.
struct SelfSigned {
    acceptor: TlsAcceptor,
    pem: String,
}

fn self_signed(host: &str, is_ca: bool, year: i32) -> SelfSigned {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
    params.not_after = date_time_ymd(year, 12, 31);
    if is_ca {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    let certificate = params.self_signed(&key).unwrap();
    SelfSigned { pem: certificate.pem(), acceptor: acceptor(certificate.der().clone(), &key) }
}

#[tokio::test]
async fn pinned_self_signed_certificate_is_matched_exactly() {
    for is_ca in [false, true] {
        // Without a pin the error names the field.
        let server = self_signed("127.0.0.1", is_ca, 2_099);
        let good = receiver(server.acceptor).await;
        let result = attempt(&good, &RootCertStore::empty()).await;
        let message = "TLS with 127.0.0.1 failed: its certificate is self-signed, not signed by a known authority; if it is \
                       your own, give it in tls.caCertificate";
        assert_eq!(result.error.as_deref(), Some(message));

        let result = attempt_with(&good, &RootCertStore::empty(), json!({"caCertificate": server.pem})).await;
        assert!(result.is_delivered(), "{result:?}");
        // Another one of the same name and form is not trusted.
        let other = self_signed("127.0.0.1", is_ca, 2_099).pem;
        let result = attempt_with(&good, &RootCertStore::empty(), json!({"caCertificate": other})).await;
        let message = "its certificate is self-signed, and not the one that was given as trusted";
        assert_eq!(result.error, Some(format!("TLS with 127.0.0.1 failed: {message}")));

        // The name does not matter, the dates do.
        let server = self_signed("device.local", is_ca, 2_099);
        let named = receiver(server.acceptor).await;
        let result = attempt_with(&named, &RootCertStore::empty(), json!({"caCertificate": server.pem})).await;
        assert!(result.is_delivered(), "{result:?}");
        let server = self_signed("127.0.0.1", is_ca, 2_001);
        let expired = receiver(server.acceptor).await;
        let result = attempt_with(&expired, &RootCertStore::empty(), json!({"caCertificate": server.pem})).await;
        assert_eq!(result.error.as_deref(), Some("TLS with 127.0.0.1 failed: its certificate expired on 2001-12-31"));
    }
}

#[tokio::test]
async fn own_authority_replaces_those_of_the_system() {
    let (ours, system) = (Authority::new("ours"), Authority::new("system"));
    let internal = receiver(ours.server("hooks.internal", 2_099)).await;
    let tls = json!({"caCertificate": ours.pem, "serverName": "hooks.internal"});
    assert!(attempt_with(&internal, &system.roots, tls.clone()).await.is_delivered());
    let result = attempt_with(&internal, &system.roots, json!({"caCertificate": ours.pem})).await;
    let message = "TLS with 127.0.0.1 failed: its certificate is for another name (hooks.internal)";
    assert_eq!(result.error.as_deref(), Some(message));
    let public = receiver(system.server("hooks.internal", 2_099)).await;
    assert!(attempt_with(&public, &system.roots, json!({"serverName": "hooks.internal"})).await.is_delivered());
    let result = attempt_with(&public, &system.roots, tls).await;
    let error = result.error.unwrap();
    assert!(error.ends_with(", not signed by the authority that was given as trusted"), "{error}");
}

#[tokio::test]
async fn connections_and_sessions_of_other_settings_are_not_used() {
    let ours = Authority::new("ours");
    let server = receiver(ours.server("127.0.0.1", 2_099)).await;
    let egress = Egress::with(loopback(), Arc::new(DnsResolver::system()), ours.roots.clone());
    let context = ChannelContext::new(Arc::new(egress));
    let open = |tls: serde_json::Value| {
        let config = json!({"url": format!("https://{}/hook", server.address), "tls": tls});
        let stored = stored(ChannelType::Webhook, config, &context);
        registry::plugin(ChannelType::Webhook).open(&stored, &context).unwrap()
    };
    let event = failed(ResourceType::Flow);
    let default = open(json!(null));
    assert!(default.deliver(&message(&event)).await.is_delivered());
    assert!(default.deliver(&message(&event)).await.is_delivered());
    assert_eq!(server.connections(), 1, "the connection was kept");
    // Same host and port, but another authority: neither the open connection nor its session counts.
    let stranger = open(json!({"caCertificate": Authority::new("stranger").pem}));
    let result = stranger.deliver(&message(&event)).await;
    assert_eq!((server.connections(), result.error_class), (2, Some(ErrorClass::Tls)), "{result:?}");
    let named = open(json!({"serverName": "127.0.0.1", "caCertificate": ours.pem}));
    assert!(named.deliver(&message(&event)).await.is_delivered());
    assert_eq!(server.connections(), 3);
}

#[test]
fn webhook_tls_settings_are_validated_kept_and_cleared() {
    let context = context(loopback());
    let plugin = registry::plugin(ChannelType::Webhook);
    let check = |input: serde_json::Value, current: Option<&ChannelConfig>| {
        plugin.check(input.as_object().unwrap(), current, &context)
    };
    let ours = Authority::new("ours");
    let tls = json!({"caCertificate": ours.pem, "serverName": "hooks.internal"});
    let url = "https://hooks.example/in";
    let one = check(json!({"url": url, "tls": tls}), None).unwrap();
    assert_eq!(one.settings["tls"]["serverName"], "hooks.internal");
    assert!(one.settings["tls"]["caCertificate"].as_str().unwrap().starts_with("-----BEGIN CERTIFICATE-----\n"));
    let kept = check(json!({"method": "PUT"}), Some(&one)).unwrap();
    assert_eq!(kept.settings["tls"], one.settings["tls"]);
    let merged = check(json!({"tls": {"serverName": null}}), Some(&one)).unwrap();
    assert_eq!(merged.settings["tls"], json!({"caCertificate": one.settings["tls"]["caCertificate"]}));
    let cleared = check(json!({"tls": null}), Some(&one)).unwrap();
    assert!(!cleared.settings.contains_key("tls"));
    for (input, pointer) in [
        (json!({"url": url, "tls": {"caCertificate": "x"}}), "/tls/caCertificate"),
        (json!({"url": url, "tls": {"serverName": "a b"}}), "/tls/serverName"),
        (json!({"url": url, "tls": {"verify": "none"}}), "/tls/verify"),
        (json!({"url": url, "tls": "x"}), "/tls"),
        (json!({"url": "http://127.0.0.1/in", "tls": {"serverName": "a"}}), "/tls"),
    ] {
        let violations = check(input, None).unwrap_err();
        assert_eq!(violations.iter().map(|one| one.pointer.as_str()).collect::<Vec<_>>(), [pointer]);
    }
}

/// A receiver that answers the first bytes of the handshake with these.
async fn answering_hello(bytes: &[u8]) -> Receiver {
    let bytes = bytes.to_vec();
    Receiver::start(move |mut stream, _, _| {
        let bytes = bytes.clone();
        async move {
            let mut hello = [0; 4_096];
            let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut hello).await?;
            stream.write_all(&bytes).await?;
            read_request(&mut stream).await.map(drop)
        }
    })
    .await
}

#[tokio::test]
async fn servers_that_end_the_handshake_are_described() {
    let alert = |code: u8| vec![0x15, 3, 1, 0, 2, 2, code];
    let tls_1_0_hello = [&[0x16, 3, 1, 0, 42, 2, 0, 0, 38, 3, 1][..], &[7; 32], &[0, 0xc0, 0x13, 0]].concat();
    for (bytes, message) in [
        (alert(70), "it supports neither TLS 1.2 nor 1.3, and older versions are not secure"),
        (tls_1_0_hello, "it supports neither TLS 1.2 nor 1.3, and older versions are not secure"),
        (
            alert(40),
            "it has no cipher or algorithm in common with Tidings, or asks for a client certificate (alert HandshakeFailure)",
        ),
        (alert(112), "it does not serve this name (alert UnrecognisedName)"),
        (alert(80), "it had an internal error (alert InternalError)"),
        (b"SSH-2.0-OpenSSH_9.6\r\n".to_vec(), "its response is not TLS"),
    ] {
        let receiver = answering_hello(&bytes).await;
        let result = attempt(&receiver, &RootCertStore::empty()).await;
        assert_eq!(result.error_class, Some(ErrorClass::Tls), "{result:?}");
        assert_eq!(result.error, Some(format!("TLS with 127.0.0.1 failed: {message}")));
    }
}

#[tokio::test]
async fn server_that_asks_for_a_client_certificate_is_described() {
    let ours = Authority::new("ours");
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["127.0.0.1".into()]).unwrap().signed_by(&key, &ours.issuer).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let roots = Arc::new(ours.roots.clone());
    let clients = WebPkiClientVerifier::builder_with_provider(roots, provider.clone()).build().unwrap();
    for version in rustls::ALL_VERSIONS {
        let config = ServerConfig::builder_with_provider(provider.clone()).with_protocol_versions(&[version]).unwrap();
        let config = config.with_client_cert_verifier(clients.clone());
        let private = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = config.with_single_cert(vec![certificate.der().clone()], private).unwrap();
        let receiver = receiver(TlsAcceptor::from(Arc::new(config))).await;
        let result = attempt(&receiver, &ours.roots).await;
        assert_eq!(result.error_class, Some(ErrorClass::Tls), "{result:?}");
        let error = result.error.unwrap();
        assert!(error.contains("client certificate (alert "), "{error}");
    }
}

#[tokio::test]
async fn certificates_that_are_not_valid_yet_or_name_nothing_are_described() {
    let ours = Authority::new("ours");
    let key = KeyPair::generate().unwrap();
    let mut later = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    later.not_before = date_time_ymd(2_098, 5, 6);
    let mut nameless = CertificateParams::default();
    nameless.distinguished_name.push(DnType::CommonName, "127.0.0.1");
    for (params, message) in [
        (later, "its certificate is not valid yet (not before 2098-05-06)"),
        (
            nameless,
            "its certificate names no host (its subject alternative names are missing; its common name does not count)",
        ),
    ] {
        let certificate = params.signed_by(&key, &ours.issuer).unwrap();
        let receiver = receiver(acceptor(certificate.der().clone(), &key)).await;
        let result = attempt(&receiver, &ours.roots).await;
        assert_eq!(result.error, Some(format!("TLS with 127.0.0.1 failed: {message}")));
    }
}

//! Valid and invalid certificates, and servers without TLS. The certificate is reported in either case.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use tidings_domain::check::{Answer, CheckStatus, FailureClass, Observation, judge};
use tidings_domain::endpoint::{Definition, HttpProbe, Probe};
use tidings_domain::tls::{TlsSettings, Verify};
use tidings_monitor::Prober;
use tokio::io::AsyncWriteExt;
use tokio_rustls::TlsAcceptor;

use crate::support::{
    FakeDns, OK, SHORT, Server, assert_failed, get, http_answer, loopback_guard, observe, observe_within, prober,
    prober_with, read_request,
};

/// A certificate authority for one test.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    roots: RootCertStore,
    pem: String,
}

fn acceptor(
    certificate: CertificateDer<'static>,
    key: &KeyPair,
    versions: &[&'static SupportedProtocolVersion],
) -> TlsAcceptor {
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
    TlsAcceptor::from(Arc::new(config.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap()))
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certificate.der().clone()).unwrap();
        Self { issuer: Issuer::new(params, key), roots, pem: certificate.pem() }
    }

    /// A server with a certificate for this name, valid from the start of year `from` to the end of year `until`.
    pub fn server(&self, name: &str, from: i32, until: i32) -> TlsAcceptor {
        self.server_with_versions(name, from, until, rustls::DEFAULT_VERSIONS)
    }

    fn server_with_versions(
        &self,
        name: &str,
        from: i32,
        until: i32,
        versions: &[&'static SupportedProtocolVersion],
    ) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(until, 12, 31);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        acceptor(certificate.der().clone(), &key, versions)
    }

    /// A prober that trusts it and resolves `shop.example` to loopback.
    pub fn prober(&self) -> Prober {
        prober_with(loopback_guard(), FakeDns::with_records(&[("shop.example", &["127.0.0.1"])]), self.roots.clone())
    }
}

/// A self-signed certificate; with `is_ca` as `openssl req -x509` creates it.
fn self_signed(is_ca: bool) -> TlsAcceptor {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    if is_ca {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    let certificate = params.self_signed(&key).unwrap();
    acceptor(certificate.der().clone(), &key, rustls::DEFAULT_VERSIONS)
}

/// Starts an HTTPS server.
pub async fn https_server(acceptor: TlsAcceptor) -> Server {
    Server::start(move |stream, _, log| {
        let acceptor = acceptor.clone();
        async move {
            let mut stream = acceptor.accept(stream).await?;
            while let Some(request) = read_request(&mut stream).await? {
                log.lock().unwrap().push(request);
                stream.write_all(OK.as_bytes()).await?;
            }
            Ok(())
        }
    })
    .await
}

/// An HTTP probe and a TLS probe of the server.
async fn observe_both(prober: &Prober, host: &str, server: &Server) -> [Observation; 2] {
    let port = server.address.port();
    let http = Probe::Http(get(format!("https://{host}:{port}/health?token=t0psecret")));
    let tls = Probe::Tls { host: host.into(), port, tls: TlsSettings::default() };
    [observe(prober, &http).await, observe(prober, &tls).await]
}

#[tokio::test]
async fn valid_certificate_is_reported() {
    let authority = Authority::new("ours");
    for version in rustls::ALL_VERSIONS {
        for host in ["127.0.0.1", "shop.example"] {
            let server = https_server(authority.server_with_versions(host, 2_000, 2_099, &[version])).await;
            let [http, tls] = observe_both(&authority.prober(), host, &server).await;
            assert_eq!(http_answer(&http).text(), "ok");
            assert_eq!(tls.outcome, Ok(Answer::Reached));
            for observation in [http, tls] {
                let certificate = observation.certificate.unwrap();
                assert_eq!(certificate.subject, format!("CN={host}"));
                assert!(certificate.issuer.contains("CN=ours"), "{certificate:?}");
                assert_eq!(certificate.not_after.to_string(), "2099-12-31T00:00:00.000Z");
                let timings = observation.timings;
                assert_eq!(timings.dns_ms.is_some(), host == "shop.example");
                assert!(timings.connect_ms.is_some() && timings.tls_ms.is_some(), "{timings:?}");
            }
        }
    }
}

#[tokio::test]
async fn invalid_certificate_fails_with_the_reason_and_is_reported() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    for (acceptor, words, until) in [
        (ours.server("127.0.0.1", 2_000, 2_001), "its certificate expired on 2001-12-31", "2001"),
        (ours.server("127.0.0.1", 2_098, 2_099), "its certificate is not valid yet", "2099"),
        (ours.server("other.example", 2_000, 2_099), "its certificate is for another name (other.example)", "2099"),
        (theirs.server("127.0.0.1", 2_000, 2_099), "its certificate is from an unknown issuer (", "2099"),
        (theirs.server("127.0.0.1", 2_000, 2_099), "CN=theirs", "2099"),
        (self_signed(false), "its certificate is self-signed", "4096"),
        (self_signed(true), "its certificate is self-signed", "4096"),
    ] {
        let server = https_server(acceptor).await;
        for observation in observe_both(&ours.prober(), "127.0.0.1", &server).await {
            assert_failed(&observation, FailureClass::Tls, words);
            assert_failed(&observation, FailureClass::Tls, &format!("TLS with {} failed", server.address));
            let certificate = observation.certificate.expect("reported although it is not trusted");
            assert!(certificate.not_after.to_string().starts_with(until), "{certificate:?}");
        }
        assert!(server.requests.lock().unwrap().is_empty(), "no request was sent");
    }
}

#[tokio::test]
async fn server_without_tls_fails_with_tls_error_or_timeout() {
    let plain = Server::start(|mut stream, _, _| async move {
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await?;
        std::future::pending().await
    })
    .await;
    let closing = Server::start(|_, _, _| async move { Ok(()) }).await;
    for (server, words) in [(plain, "its response is not TLS"), (closing, "TLS")] {
        for observation in observe_both(&prober(), "127.0.0.1", &server).await {
            assert_failed(&observation, FailureClass::Tls, words);
            assert_eq!(observation.certificate, None);
        }
    }
    let hanging = Server::start(|stream, _, _| async move {
        let _held = stream;
        std::future::pending().await
    })
    .await;
    let probe = Probe::Tls { host: "127.0.0.1".into(), port: hanging.address.port(), tls: TlsSettings::default() };
    let observation = observe_within(&prober(), &probe, SHORT).await;
    assert_failed(&observation, FailureClass::Timeout, "the TLS handshake with 127.0.0.1");
    assert!(observation.timings.connect_ms.is_some() && observation.timings.tls_ms.is_none());
}

#[tokio::test]
async fn missing_close_notify_ends_a_body_of_unknown_length() {
    let authority = Authority::new("ours");
    for (head, fails) in [("HTTP/1.1 200 OK\r\n\r\n", false), ("HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n", true)] {
        let acceptor = authority.server("127.0.0.1", 2_000, 2_099);
        let server = Server::start(move |stream, _, _| {
            let acceptor = acceptor.clone();
            async move {
                let mut stream = acceptor.accept(stream).await?;
                read_request(&mut stream).await?;
                stream.write_all(format!("{head}all of it").as_bytes()).await?;
                stream.flush().await
            }
        })
        .await;
        let probe = Probe::Http(get(format!("https://{}/", server.address)));
        let observation = observe(&authority.prober(), &probe).await;
        match fails {
            true => assert_failed(&observation, FailureClass::Protocol, "in the middle of its answer"),
            false => assert_eq!(
                (http_answer(&observation).text().as_str(), http_answer(&observation).body.is_complete),
                ("all of it", true)
            ),
        }
    }
}

#[tokio::test]
async fn redirects_report_the_certificate_that_expires_first_or_failed() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    for (there, until) in [
        (ours.server("127.0.0.1", 2_000, 2_090), "2080"),
        (ours.server("127.0.0.1", 2_000, 2_070), "2070"),
        (theirs.server("127.0.0.1", 2_000, 2_090), "2090"),
    ] {
        let there = https_server(there).await;
        let location = format!("https://{}/", there.address);
        let acceptor = ours.server("127.0.0.1", 2_000, 2_080);
        let here = Server::start(move |stream, _, _| {
            let (acceptor, location) = (acceptor.clone(), location.clone());
            async move {
                let mut stream = acceptor.accept(stream).await?;
                read_request(&mut stream).await?;
                let answer = format!("HTTP/1.1 302 Found\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n");
                stream.write_all(answer.as_bytes()).await
            }
        })
        .await;
        let observation = observe(&ours.prober(), &Probe::Http(get(format!("https://{}/", here.address)))).await;
        let not_after = observation.certificate.unwrap().not_after.to_string();
        assert!(not_after.starts_with(until), "{not_after}");
    }
}

/// An HTTP probe and a TLS probe of the server with these settings, by a prober that trusts no authority.
async fn observe_with(prober: &Prober, host: &str, server: &Server, tls: &TlsSettings) -> [Observation; 2] {
    let port = server.address.port();
    let http = HttpProbe { tls: tls.clone(), ..get(format!("https://{host}:{port}/health?token=t0psecret")) };
    let handshake = Probe::Tls { host: host.into(), port, tls: tls.clone() };
    [observe(prober, &Probe::Http(http)).await, observe(prober, &handshake).await]
}

#[tokio::test]
async fn private_authority_is_trusted_by_the_endpoints_that_name_it() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let server = https_server(ours.server("127.0.0.1", 2_000, 2_099)).await;
    let trusting = |pem: &str| TlsSettings { ca_certificate: Some(pem.to_owned()), ..TlsSettings::default() };
    for observation in observe_with(&prober(), "127.0.0.1", &server, &trusting(&ours.pem)).await {
        assert!(observation.outcome.is_ok(), "{:?}", observation.outcome);
        assert!(observation.certificate.unwrap().not_after.to_string().starts_with("2099"));
    }
    for (tls, words) in [
        (TlsSettings::default(), "if it is your own, give it in tls.caCertificate"),
        (trusting(&theirs.pem), "not signed by the authority that was given as trusted"),
    ] {
        for observation in observe_with(&prober(), "127.0.0.1", &server, &tls).await {
            assert_failed(&observation, FailureClass::Tls, "unknown issuer");
            assert_failed(&observation, FailureClass::Tls, words);
        }
    }
}

#[tokio::test]
async fn server_name_replaces_the_host_of_the_endpoint() {
    let authority = Authority::new("ours");
    let server = https_server(authority.server("shop.example", 2_000, 2_099)).await;
    let named = |name: &str| TlsSettings { server_name: Some(name.to_owned()), ..TlsSettings::default() };
    for observation in observe_with(&authority.prober(), "127.0.0.1", &server, &named("shop.example")).await {
        assert!(observation.outcome.is_ok(), "{:?}", observation.outcome);
    }
    for tls in [TlsSettings::default(), named("other.example")] {
        for observation in observe_with(&authority.prober(), "127.0.0.1", &server, &tls).await {
            assert_failed(&observation, FailureClass::Tls, "for another name");
        }
    }
}

#[tokio::test]
async fn verify_decides_what_of_a_certificate_counts() {
    let authority = Authority::new("ours");
    let other_name = https_server(authority.server("other.example", 2_000, 2_099)).await;
    let expired = https_server(authority.server("127.0.0.1", 2_000, 2_001)).await;
    for (server, verify, is_ok) in [
        (&other_name, Verify::Full, false),
        (&other_name, Verify::ExpiryOnly, true),
        (&other_name, Verify::None, true),
        (&expired, Verify::Full, false),
        (&expired, Verify::ExpiryOnly, false),
        (&expired, Verify::None, true),
    ] {
        let tls = TlsSettings { verify, ..TlsSettings::default() };
        for observation in observe_with(&prober(), "127.0.0.1", server, &tls).await {
            assert_eq!(observation.outcome.is_ok(), is_ok, "{verify:?} {:?}", observation.outcome);
            assert!(observation.certificate.is_some(), "reported in every case");
        }
    }
    // The warning before the expiry does not depend on who issued the certificate.
    let tls = TlsSettings { verify: Verify::None, ..TlsSettings::default() };
    let probe = Probe::Tls { host: "127.0.0.1".into(), port: expired.address.port(), tls };
    let check = judge(&Definition::new(probe.clone()), &observe(&prober(), &probe).await);
    assert_eq!(check.status, CheckStatus::Degraded, "{:?}", check.reason);
}

#[tokio::test]
async fn connection_is_not_shared_between_tls_settings() {
    let authority = Authority::new("ours");
    let server = https_server(authority.server("127.0.0.1", 2_000, 2_099)).await;
    let probe = |tls| Probe::Http(HttpProbe { tls, ..get(format!("https://{}/", server.address)) });
    let unverified = probe(TlsSettings { verify: Verify::None, ..TlsSettings::default() });
    let prober = prober();
    for _ in 0..2 {
        assert_eq!(http_answer(&observe(&prober, &unverified).await).text(), "ok");
    }
    assert_eq!(server.connections(), 1);
    assert_failed(&observe(&prober, &probe(TlsSettings::default())).await, FailureClass::Tls, "unknown issuer");
    assert_eq!(http_answer(&observe(&prober, &unverified).await).text(), "ok");
    assert_eq!(server.connections(), 2, "its own connection was kept");
}

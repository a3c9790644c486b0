//! Certificates that are good and that are not, and servers that speak no TLS: the certificate is seen in any case.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use tidings_domain::check::{Answer, FailureClass, Observation};
use tidings_domain::endpoint::Probe;
use tidings_monitor::Prober;
use tokio::io::AsyncWriteExt;
use tokio_rustls::TlsAcceptor;

use crate::support::{
    Names, OK, SHORT, Server, assert_failed, get, look, look_for, loopback, page, prober, prober_with, read_request,
};

/// A certificate authority made for one test.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    roots: RootCertStore,
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
        Self { issuer: Issuer::new(params, key), roots }
    }

    /// A server for this name, with a certificate that is good from the first of these years to the end of the last.
    pub fn server(&self, name: &str, from: i32, until: i32) -> TlsAcceptor {
        self.server_speaking(name, from, until, rustls::DEFAULT_VERSIONS)
    }

    fn server_speaking(
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

    /// A prober that trusts it and knows where `shop.example` is.
    pub fn prober(&self) -> Prober {
        prober_with(loopback(), Names::knowing(&[("shop.example", &["127.0.0.1"])]), self.roots.clone())
    }
}

/// Nobody vouches for it; `is_ca` as `openssl req -x509` makes them.
fn self_signed(is_ca: bool) -> TlsAcceptor {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    if is_ca {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    let certificate = params.self_signed(&key).unwrap();
    acceptor(certificate.der().clone(), &key, rustls::DEFAULT_VERSIONS)
}

/// Serves pages over TLS.
pub async fn serving(acceptor: TlsAcceptor) -> Server {
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

/// A look at the server over HTTP and one at its handshake.
async fn both(prober: &Prober, host: &str, server: &Server) -> [Observation; 2] {
    let port = server.address.port();
    let http = Probe::Http(get(format!("https://{host}:{port}/health?token=t0psecret")));
    let tls = Probe::Tls { host: host.into(), port };
    [look(prober, &http).await, look(prober, &tls).await]
}

#[tokio::test]
async fn a_good_certificate_is_reported() {
    let authority = Authority::new("ours");
    for version in rustls::ALL_VERSIONS {
        for host in ["127.0.0.1", "shop.example"] {
            let server = serving(authority.server_speaking(host, 2_000, 2_099, &[version])).await;
            let [http, tls] = both(&authority.prober(), host, &server).await;
            assert_eq!(page(&http).text(), "ok");
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
async fn what_is_wrong_with_a_certificate_is_said_and_the_certificate_is_seen() {
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
        let server = serving(acceptor).await;
        for observation in both(&ours.prober(), "127.0.0.1", &server).await {
            assert_failed(&observation, FailureClass::Tls, words);
            assert_failed(&observation, FailureClass::Tls, &format!("TLS with {} failed", server.address));
            let certificate = observation.certificate.expect("seen although it is not trusted");
            assert!(certificate.not_after.to_string().starts_with(until), "{certificate:?}");
        }
        assert!(server.requests.lock().unwrap().is_empty(), "not a byte of a request was sent");
    }
}

#[tokio::test]
async fn who_speaks_no_tls_is_told_apart() {
    let plain = Server::start(|mut stream, _, _| async move {
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await?;
        std::future::pending().await
    })
    .await;
    let closing = Server::start(|_, _, _| async move { Ok(()) }).await;
    for (server, words) in [(plain, "what it answered is no TLS"), (closing, "TLS")] {
        for observation in both(&prober(), "127.0.0.1", &server).await {
            assert_failed(&observation, FailureClass::Tls, words);
            assert_eq!(observation.certificate, None);
        }
    }
    let hanging = Server::start(|stream, _, _| async move {
        let _held = stream;
        std::future::pending().await
    })
    .await;
    let probe = Probe::Tls { host: "127.0.0.1".into(), port: hanging.address.port() };
    let observation = look_for(&prober(), &probe, None, SHORT).await;
    assert_failed(&observation, FailureClass::Timeout, "no TLS with 127.0.0.1");
    assert!(observation.timings.connect_ms.is_some() && observation.timings.tls_ms.is_none());
}

#[tokio::test]
async fn tls_that_ends_without_a_farewell_ends_a_body_of_unknown_length() {
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
        let observation = look(&authority.prober(), &probe).await;
        match fails {
            true => assert_failed(&observation, FailureClass::Protocol, "in the middle of its answer"),
            false => assert_eq!((page(&observation).text().as_str(), page(&observation).is_whole), ("all of it", true)),
        }
    }
}

#[tokio::test]
async fn of_several_certificates_the_first_to_end_is_reported_and_a_bad_one_always() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    for (there, until) in [
        (ours.server("127.0.0.1", 2_000, 2_090), "2080"),
        (ours.server("127.0.0.1", 2_000, 2_070), "2070"),
        (theirs.server("127.0.0.1", 2_000, 2_090), "2090"),
    ] {
        let there = serving(there).await;
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
        let observation = look(&ours.prober(), &Probe::Http(get(format!("https://{}/", here.address)))).await;
        let not_after = observation.certificate.unwrap().not_after.to_string();
        assert!(not_after.starts_with(until), "{not_after}");
    }
}

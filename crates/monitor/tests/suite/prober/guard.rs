//! The guard blocks addresses in any spelling; other failures before a connection is made.

use std::net::SocketAddr;

use async_trait::async_trait;
use rustls::RootCertStore;
use tidings_channels::egress::{Guard, Resolve};
use tidings_domain::check::{Answer, FailureClass};
use tidings_domain::endpoint::Probe;
use tidings_domain::tls::TlsSettings;
use tokio::net::TcpListener;

use crate::support::{FakeDns, SHORT, Server, assert_failed, get, observe, observe_within, prober, prober_with};

/// Every probe that connects to this host.
fn probes(host: &str) -> [Probe; 4] {
    let bracketed = if host.contains("::") { format!("[{host}]") } else { host.to_owned() };
    [
        Probe::Http(get(format!("http://{bracketed}/health?token=t0psecret"))),
        Probe::Tcp { host: host.into(), port: 22 },
        Probe::Tls { host: host.into(), port: 443, tls: TlsSettings::default() },
        Probe::Icmp { host: host.into() },
    ]
}

#[tokio::test]
async fn blocked_addresses_fail_in_any_spelling() {
    let names = FakeDns::with_records(&[
        ("metadata.example", &["169.254.169.254"]),
        ("mapped.example", &["::ffff:127.0.0.1"]),
        ("inside.example", &["10.0.0.1", "fd00::1"]),
        ("localhost", &["127.0.0.1"]),
    ]);
    let prober = prober_with(Guard::default(), names, RootCertStore::empty());
    for host in [
        "127.0.0.1",
        "2130706433",
        "0x7f.1",
        "0177.0.0.1",
        "127.1",
        "::1",
        "::ffff:127.0.0.1",
        "64:ff9b::7f00:1",
        "10.0.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "fe80::1",
        "0.0.0.0",
        "localhost",
        "metadata.example",
        "mapped.example",
        "inside.example",
    ] {
        for probe in probes(host) {
            let observation = observe(&prober, &probe).await;
            assert_failed(&observation, FailureClass::Forbidden, "TIDINGS_ALLOW_WATCH_TARGETS can let it in");
            // Literals and localhost are rejected when the endpoint is saved, without a DNS lookup.
            let is_rejected = prober.check(&probe).is_err_and(|why| why.contains("TIDINGS_ALLOW_WATCH_TARGETS"));
            assert_eq!(is_rejected, !host.ends_with(".example"), "{host}");
        }
    }
}

#[tokio::test]
async fn name_with_allowed_and_blocked_addresses_uses_the_allowed_one() {
    let server = Server::answering(crate::support::OK).await;
    let names = FakeDns::with_records(&[("mixed.example", &["10.0.0.1", "127.0.0.1"])]);
    let guard = Guard { allow: vec!["127.0.0.0/8".parse().unwrap()], allow_http: false };
    let prober = prober_with(guard, names, RootCertStore::empty());
    let probe = Probe::Tcp { host: "mixed.example".into(), port: server.address.port() };
    let observation = observe(&prober, &probe).await;
    assert_eq!(observation.outcome, Ok(Answer::Reached));
    assert!(observation.timings.dns_ms.is_some() && observation.timings.connect_ms.is_some());
    assert_eq!(observation.timings.first_byte_ms, None);
}

#[tokio::test]
async fn refused_unresolved_and_empty_names_have_their_own_class() {
    let refusing = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let prober = prober();
    for probe in [
        Probe::Tcp { host: "127.0.0.1".into(), port: refusing.port() },
        Probe::Tls { host: "127.0.0.1".into(), port: refusing.port(), tls: TlsSettings::default() },
        Probe::Http(get(format!("http://{refusing}/"))),
    ] {
        let observation = observe(&prober, &probe).await;
        assert_failed(&observation, FailureClass::Refused, &format!("connection refused by {refusing}"));
        assert_eq!(observation.timings.connect_ms, None);
    }
    for probe in probes("unknown.example") {
        let words = "the name unknown.example could not be resolved: there is no such name";
        assert_failed(&observe(&prober, &probe).await, FailureClass::Dns, words);
    }
    let empty = prober_with(Guard::default(), FakeDns::with_records(&[("empty.example", &[])]), RootCertStore::empty());
    for probe in probes("empty.example") {
        assert_failed(&observe(&empty, &probe).await, FailureClass::Dns, "the name empty.example has no address");
    }
}

#[tokio::test]
async fn hanging_resolver_fails_with_timeout() {
    struct Never;
    #[async_trait]
    impl Resolve for Never {
        async fn resolve(&self, _: &str, _: u16) -> std::io::Result<Vec<SocketAddr>> {
            std::future::pending().await
        }
    }
    let prober = prober_with(Guard::default(), Never, RootCertStore::empty());
    for probe in probes("slow.example") {
        let observation = observe_within(&prober, &probe, SHORT).await;
        assert_failed(&observation, FailureClass::Timeout, "the name slow.example was not resolved within 400 ms");
        assert_eq!(observation.timings.dns_ms, None);
    }
}

#[tokio::test]
async fn invalid_host_or_port_fails_without_network_access() {
    let prober = prober();
    for probe in [
        Probe::Tcp { host: "127.0.0.1".into(), port: 0 },
        Probe::Tcp { host: "127.0.0.1:80".into(), port: 80 },
        Probe::Icmp { host: "".into() },
        Probe::Tls { host: "a b".into(), port: 443, tls: TlsSettings::default() },
        Probe::Dns { host: "127.0.0.1".into(), record_type: "A".into(), expected_value: None },
        Probe::Dns { host: "a.example".into(), record_type: "AXFR".into(), expected_value: None },
    ] {
        let why = prober.check(&probe).expect_err("invalid");
        assert_failed(&observe(&prober, &probe).await, FailureClass::Protocol, &why);
    }
}

//! DNS probes and name resolution against a name server of the test.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, AAAA, CNAME, MX, NS, TXT};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use rustls::RootCertStore;
use tidings_channels::egress::Guard;
use tidings_domain::check::{Answer, FailureClass, Observation};
use tidings_domain::endpoint::Probe;
use tidings_monitor::{DnsResolver, Prober, ProberConfig};
use tokio::net::UdpSocket;

use crate::support::{OK, SHORT, Server, assert_failed, get, http_answer, loopback_guard, observe, observe_within};

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

/// The records of the test's zone.
fn zone(name_text: &str, record_type: RecordType) -> Result<Vec<RData>, ResponseCode> {
    use RecordType as T;
    Ok(match (name_text, record_type) {
        ("shop.example.", T::A) => vec![RData::A(A::new(8, 8, 8, 8)), RData::A(A::new(1, 1, 1, 1))],
        ("shop.example.", T::AAAA) => vec![RData::AAAA(AAAA::new(0x2606, 0x4700, 0, 0, 0, 0, 0, 0x1111))],
        ("shop.example.", T::MX) => {
            vec![RData::MX(MX::new(10, name("Mail.Example."))), RData::MX(MX::new(20, name(".")))]
        }
        ("shop.example.", T::NS) => vec![RData::NS(NS(name("NS1.example.")))],
        ("shop.example.", T::TXT) => vec![RData::TXT(TXT::new(vec!["v=spf1 ".into(), "-all".into()]))],
        ("www.example.", T::CNAME) => vec![RData::CNAME(CNAME(name("shop.example.")))],
        ("www.example.", T::A) => vec![RData::CNAME(CNAME(name("shop.example."))), RData::A(A::new(8, 8, 8, 8))],
        ("inside.example.", T::A) => vec![RData::A(A::new(8, 8, 8, 8)), RData::A(A::new(10, 0, 0, 1))],
        ("here.example.", T::A) => vec![RData::A(A::new(127, 0, 0, 1))],
        ("shop.example." | "www.example." | "here.example.", _) => Vec::new(),
        ("broken.example.", _) => return Err(ResponseCode::ServFail),
        ("refused.example.", _) => return Err(ResponseCode::Refused),
        _ => return Err(ResponseCode::NXDomain),
    })
}

/// A name server that ignores the first `lost` queries and all queries for `silent.example`.
async fn name_server(lost: usize) -> (SocketAddr, Arc<AtomicUsize>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let queries = Arc::new(AtomicUsize::new(0));
    let counter = queries.clone();
    tokio::spawn(async move {
        let mut buffer = [0; 4_096];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            let question = Message::from_vec(&buffer[..length]).unwrap();
            let query = question.queries[0].clone();
            if counter.fetch_add(1, Ordering::SeqCst) < lost || query.name().to_ascii() == "silent.example." {
                continue;
            }
            let mut answer = Message::response(question.id, question.op_code);
            answer.add_query(query.clone());
            match zone(&query.name().to_lowercase().to_ascii(), query.query_type()) {
                Ok(records) => {
                    let record = |data: RData| {
                        // Records after a CNAME belong to its target.
                        let is_alias = data.record_type() == RecordType::CNAME;
                        let is_target = query.name().to_ascii() == "www.example." && !is_alias;
                        let of = if is_target { name("shop.example.") } else { query.name().clone() };
                        Record::from_rdata(of, 60, data)
                    };
                    answer.add_answers(records.into_iter().map(record));
                }
                Err(code) => answer.metadata.response_code = code,
            }
            socket.send_to(&answer.to_vec().unwrap(), from).await.unwrap();
        }
    });
    (address, queries)
}

fn prober(server: SocketAddr, guard: Guard) -> Prober {
    let names = Arc::new(DnsResolver::with_servers(vec![server]));
    let roots = RootCertStore::empty();
    Prober::new(ProberConfig { guard, resolver: names.clone(), names, roots, idle_max: 10, references: Vec::new() })
}

fn dns_probe(host: &str, record_type: &str) -> Probe {
    Probe::Dns { host: host.into(), record_type: record_type.into(), expected_value: None }
}

fn records(observation: &Observation) -> Vec<String> {
    match &observation.outcome {
        Ok(Answer::Records(records)) => records.clone(),
        other => panic!("no records: {other:?}"),
    }
}

#[tokio::test]
async fn dns_probe_returns_records_of_each_type() {
    let prober = prober(name_server(0).await.0, Guard::default());
    for (host, record_type, expected) in [
        ("shop.example", "A", &["8.8.8.8", "1.1.1.1"][..]),
        ("SHOP.example.", "A", &["8.8.8.8", "1.1.1.1"]),
        ("shop.example", "AAAA", &["2606:4700::1111"]),
        ("shop.example", "MX", &["10 mail.example", "20 ."]),
        ("shop.example", "NS", &["ns1.example"]),
        ("shop.example", "TXT", &["v=spf1 -all"]),
        ("www.example", "CNAME", &["shop.example"]),
        ("www.example", "A", &["8.8.8.8"]),
    ] {
        let observation = observe(&prober, &dns_probe(host, record_type)).await;
        assert_eq!(records(&observation), expected, "{host} {record_type}");
        assert!(observation.timings.dns_ms.is_some() && observation.timings.connect_ms.is_none());
    }
}

#[tokio::test]
async fn dns_probe_failure_has_class_and_message() {
    let prober = prober(name_server(0).await.0, Guard::default());
    for (host, record_type, class, words) in [
        ("nowhere.example", "A", FailureClass::Dns, "could not be resolved: there is no such name"),
        ("shop.example", "CNAME", FailureClass::Dns, "the name shop.example has no CNAME record"),
        ("broken.example", "A", FailureClass::Dns, "the name server answered \"server failure\""),
        ("refused.example", "MX", FailureClass::Dns, "the name server answered \"query refused\""),
        ("inside.example", "A", FailureClass::Forbidden, "TIDINGS_ALLOW_WATCH_TARGETS"),
        ("localhost", "A", FailureClass::Forbidden, "127.0.0.1 is a loopback address"),
    ] {
        assert_failed(&observe(&prober, &dns_probe(host, record_type)).await, class, words);
    }
    let observation = observe_within(&prober, &dns_probe("silent.example", "A"), SHORT).await;
    assert_failed(&observation, FailureClass::Timeout, "the name silent.example was not resolved within 400 ms");
    let observation = observe(&prober, &dns_probe("silent.example", "A")).await;
    assert_failed(&observation, FailureClass::Timeout, "the name servers did not answer in time");
}

#[tokio::test]
async fn dns_probe_is_not_cached_and_retries_lost_queries() {
    let (address, queries) = name_server(1).await;
    let prober = prober(address, Guard::default());
    assert_eq!(records(&observe(&prober, &dns_probe("shop.example", "NS")).await), ["ns1.example"]);
    let so_far = queries.load(Ordering::SeqCst);
    assert!(so_far >= 2, "the first was lost");
    assert_eq!(records(&observe(&prober, &dns_probe("shop.example", "NS")).await), ["ns1.example"]);
    assert_eq!(queries.load(Ordering::SeqCst), so_far + 1, "nothing is cached");
}

#[tokio::test]
async fn unreachable_name_server_fails_with_resolve_error() {
    let unused = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let prober = prober(unused, Guard::default());
    let (dns_probe, tcp_probe) = (dns_probe("shop.example", "A"), Probe::Tcp { host: "shop.example".into(), port: 1 });
    let (dns, tcp) = tokio::join!(observe(&prober, &dns_probe), observe(&prober, &tcp_probe));
    for observation in [dns, tcp] {
        let failure = observation.outcome.unwrap_err();
        assert!(matches!(failure.class, FailureClass::Dns | FailureClass::Timeout), "{failure:?}");
        assert!(failure.message.starts_with("the name shop.example could not be resolved: "), "{failure:?}");
    }
}

#[tokio::test]
async fn other_probes_use_the_same_resolver() {
    let (address, _) = name_server(0).await;
    let prober = prober(address, loopback_guard());
    let server = Server::answering(OK).await;
    for host in ["here.example", "HERE.example.", "localhost"] {
        let observation =
            observe(&prober, &Probe::Http(get(format!("http://{host}:{}/", server.address.port())))).await;
        assert_eq!(http_answer(&observation).status, 200, "{host}");
        assert!(observation.timings.dns_ms.is_some());
    }
    for (host, words) in [
        ("nowhere.example", "the name nowhere.example could not be resolved: there is no such name"),
        ("nowhere.invalid", "the name nowhere.invalid could not be resolved: there is no such name"),
        ("broken.example", "could not be resolved: the name server answered \"server failure\""),
    ] {
        let probe = Probe::Tcp { host: host.into(), port: 1 };
        assert_failed(&observe(&prober, &probe).await, FailureClass::Dns, words);
    }
}

#[tokio::test]
async fn system_resolver_resolves_localhost() {
    let server = Server::answering(OK).await;
    let prober = Prober::new(ProberConfig::of_system(loopback_guard()));
    let observation = observe(&prober, &Probe::Http(get(format!("http://localhost:{}/", server.address.port())))).await;
    assert_eq!(http_answer(&observation).status, 200);
}

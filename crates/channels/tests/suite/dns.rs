//! Name servers that are dead, slow or lying.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::A;
use hickory_resolver::proto::rr::{RData, Record, RecordType};
use rustls::RootCertStore;
use serde_json::json;
use tidings_channels::egress::{DialOptions, DnsResolver, Egress, Guard};
use tidings_channels::{ChannelContext, ErrorClass, Notifier, OutboundMessage, registry};
use tidings_domain::channel::ChannelType;
use tidings_domain::id::{Id as _, WorkspaceId};
use tidings_domain::resource::ResourceType;
use tokio::net::{TcpListener, UdpSocket};
use tokio::time::{Instant, timeout};

use crate::support::{Receiver, failed, message, stored};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// What the name server of a test does.
#[derive(Default)]
struct Zone {
    /// The address of every name that is none of the following.
    address: Mutex<Option<Ipv4Addr>>,
    /// Questions for IPv6 addresses are never answered.
    drops_v6: bool,
    /// Every question is answered with this error.
    fails: Option<ResponseCode>,
    queries: AtomicUsize,
}

impl Zone {
    fn point(&self, last: u8) {
        *self.address.lock().unwrap() = Some(Ipv4Addr::new(127, 0, 0, last));
    }
}

/// A name server. It never answers for `….dead`, and for `….forged` it is preceded by a forged answer.
async fn name_server(zone: Zone) -> (DnsResolver, Arc<Zone>) {
    let (address, zone) = start(zone).await;
    (DnsResolver::with_servers(vec![address]), zone)
}

async fn start(zone: Zone) -> (SocketAddr, Arc<Zone>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let zone = Arc::new(zone);
    let of_task = zone.clone();
    tokio::spawn(async move {
        let mut buffer = [0; 4_096];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            of_task.queries.fetch_add(1, Ordering::SeqCst);
            let question = Message::from_vec(&buffer[..length]).unwrap();
            let query = question.queries[0].clone();
            let name = query.name().to_lowercase().to_ascii();
            let is_v4 = query.query_type() == RecordType::A;
            if name.ends_with(".dead.") || (of_task.drops_v6 && !is_v4) {
                continue;
            }
            let answer = |id: u16, ips: &[Ipv4Addr]| {
                let mut answer = Message::response(id, question.op_code);
                answer.add_query(query.clone());
                let record = |ip: &Ipv4Addr| Record::from_rdata(query.name().clone(), 3_600, RData::A(A(*ip)));
                match of_task.fails.or(name.ends_with(".none.").then_some(ResponseCode::NXDomain)) {
                    Some(code) => answer.metadata.response_code = code,
                    None => _ = answer.add_answers(ips.iter().filter(|_| is_v4).map(record)),
                }
                answer.to_vec().unwrap()
            };
            if name.ends_with(".forged.") {
                let forged = answer(question.id.wrapping_add(1), &[Ipv4Addr::new(127, 6, 6, 6)]);
                socket.send_to(&forged, from).await.unwrap();
                socket.send_to(b"\0\0garbage", from).await.unwrap();
            }
            let ips = match (&*name, *of_task.address.lock().unwrap()) {
                ("inside.example.", _) => vec![Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(169, 254, 169, 254)],
                ("mixed.example.", Some(ip)) => vec![Ipv4Addr::new(10, 0, 0, 1), ip],
                (_, address) => address.into_iter().collect(),
            };
            socket.send_to(&answer(question.id, &ips), from).await.unwrap();
        }
    });
    (address, zone)
}

fn egress(resolver: DnsResolver) -> Arc<Egress> {
    // Not the whole of 127.0.0.0/8: the forged address is not allowed.
    let guard = Guard { allow: vec!["127.0.0.0/24".parse().unwrap()], allow_http: false };
    Arc::new(Egress::with(guard, Arc::new(resolver), RootCertStore::empty()))
}

fn webhook(url: &str, context: &ChannelContext) -> Arc<dyn Notifier> {
    let stored = stored(ChannelType::Webhook, json!({"url": url}), context);
    registry::plugin(ChannelType::Webhook).open(&stored, context).unwrap()
}

const FRESH: DialOptions = DialOptions { workspace: None, fresh: true };
const KEPT: DialOptions = DialOptions { workspace: None, fresh: false };
const FIVE_SECONDS: Duration = Duration::from_secs(5);

#[tokio::test]
async fn workspace_with_channels_on_a_dead_name_server_does_not_delay_another() {
    let (resolver, zone) = name_server(Zone::default()).await;
    zone.point(1);
    let context = ChannelContext::new(egress(resolver));
    let receiver = Receiver::answering(OK).await;
    let mut dead = Vec::new();
    for number in 0..200 {
        let notifier = webhook(&format!("http://n{number}.dead:9/hook"), &context);
        dead.push(tokio::spawn(async move {
            let mut event = failed(ResourceType::Flow);
            event.workspace_id = WorkspaceId::from_bytes([9; 16]);
            let message = OutboundMessage { timeout: Duration::from_secs(15), ..message(&event) };
            notifier.deliver(&message).await
        }));
    }
    // The workspace has used up its share once this many questions were asked.
    while zone.queries.load(Ordering::SeqCst) < 32 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let notifier = webhook(&format!("http://fresh.example:{}/hook", receiver.address.port()), &context);
    let event = failed(ResourceType::Flow);
    let message = OutboundMessage { timeout: Duration::from_secs(15), ..message(&event) };
    let started = Instant::now();
    let result = notifier.deliver(&message).await;
    assert!(result.is_delivered(), "{result:?}");
    assert!(started.elapsed() < Duration::from_millis(1_500), "{:?}", started.elapsed());
    for one in dead {
        let result = one.await.unwrap();
        assert!(matches!(result.error_class, Some(ErrorClass::Dns | ErrorClass::Timeout)), "{result:?}");
        let error = result.error.unwrap();
        assert!(error.contains("in time"), "{error}");
    }
    assert!(started.elapsed() < FIVE_SECONDS * 2, "each attempt ends after five seconds");
}

#[tokio::test]
async fn name_server_that_never_answers_for_ipv6_costs_a_second() {
    let (resolver, zone) = name_server(Zone { drops_v6: true, ..Zone::default() }).await;
    zone.point(1);
    let receiver = Receiver::answering(OK).await;
    let started = Instant::now();
    let stream = egress(resolver).connect("half.example", receiver.address.port(), KEPT, FIVE_SECONDS).await.unwrap();
    assert_eq!(stream.peer_addr().unwrap(), receiver.address);
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
}

#[tokio::test]
async fn forged_and_blocked_addresses_are_not_connected_to() {
    let (resolver, zone) = name_server(Zone::default()).await;
    zone.point(1);
    let egress = egress(resolver);
    let receiver = Receiver::answering(OK).await;
    let port = receiver.address.port();
    for name in ["a.forged", "mixed.example"] {
        let stream = egress.connect(name, port, KEPT, FIVE_SECONDS).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), receiver.address, "{name}");
    }
    let refused = egress.connect("inside.example", port, KEPT, FIVE_SECONDS).await.unwrap_err();
    assert_eq!(refused.class, ErrorClass::TargetRefused);
    assert!(refused.message.starts_with("inside.example: 10.0.0.1 is a private address"), "{refused}");
    let unknown = egress.connect("a.none", port, KEPT, FIVE_SECONDS).await.unwrap_err();
    assert_eq!(unknown.message, "the name a.none could not be resolved: there is no such name");
    let dead = timeout(FIVE_SECONDS, egress.connect("a.dead", port, KEPT, Duration::from_millis(100))).await.unwrap();
    let dead = dead.unwrap_err();
    assert_eq!((dead.class, &*dead.message), (ErrorClass::Timeout, "the name a.dead was not resolved in time"));
}

#[tokio::test]
async fn address_is_cached_for_first_attempts_and_looked_up_anew_for_retries() {
    let (resolver, zone) = name_server(Zone::default()).await;
    let egress = egress(resolver);
    let old = TcpListener::bind("127.0.0.2:0").await.unwrap();
    let port = old.local_addr().unwrap().port();
    let _new = TcpListener::bind(("127.0.0.3", port)).await.unwrap();
    let peer = async |dial: DialOptions| {
        egress.connect("moved.example", port, dial, FIVE_SECONDS).await.unwrap().peer_addr().unwrap()
    };
    let at = |last: u8| SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)), port);
    zone.point(2);
    assert_eq!(peer(KEPT).await, at(2));
    zone.point(3);
    assert_eq!(peer(KEPT).await, at(2));
    assert_eq!(peer(FRESH).await, at(3));
}

#[tokio::test]
async fn name_server_that_fails_is_passed_over_for_the_next() {
    let (good, zone) = start(Zone::default()).await;
    zone.point(1);
    let receiver = Receiver::answering(OK).await;
    for code in [ResponseCode::ServFail, ResponseCode::Refused, ResponseCode::NotImp] {
        let (bad, _) = start(Zone { fails: Some(code), ..Zone::default() }).await;
        for servers in [vec![bad, good], vec![good, bad], vec![bad, bad, good]] {
            // Several names: the order in which servers are asked changes.
            let egress = egress(DnsResolver::with_servers(servers));
            for name in ["a.example", "b.example", "c.example", "d.example"] {
                let connected = egress.connect(name, receiver.address.port(), KEPT, FIVE_SECONDS).await;
                assert!(connected.is_ok(), "{code} {name}: {connected:?}");
            }
            let unknown = egress.connect("a.none", 1, KEPT, FIVE_SECONDS).await.unwrap_err();
            assert!(unknown.message.ends_with("there is no such name"), "{unknown}");
        }
        let egress = egress(DnsResolver::with_servers(vec![bad, bad]));
        let failed = egress.connect("a.example", 1, KEPT, FIVE_SECONDS).await.unwrap_err();
        assert!(failed.message.starts_with("the name a.example could not be resolved: the name server answered"));
    }
}

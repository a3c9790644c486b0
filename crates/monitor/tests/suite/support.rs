//! Probers with fake name resolution, and servers on raw sockets.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use rustls::RootCertStore;
use tidings_channels::egress::{DialOptions, Guard, Resolve};
use tidings_domain::check::{
    Answer, Assertion, AssertionKind, Body, CheckStatus, Failure, FailureClass, Observation, Operator,
};
use tidings_domain::endpoint::{Definition, ExpectedStatus, HttpProbe, Probe};
use tidings_domain::time::Timestamp;
use tidings_monitor::{DnsResolver, Prober, ProberConfig};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Timeout of probes that are meant to time out.
pub const SHORT: Duration = Duration::from_millis(400);
/// Timeout of all other probes.
pub const LONG: Duration = Duration::from_secs(20);
/// When every probe must have returned.
pub const TEST_TIMEOUT: Duration = Duration::from_secs(25);
pub const NOW: Timestamp = Timestamp::from_unix_ms(1_777_694_412_345);
pub const AGENT: &str = "Tidings/1.2.3";

pub const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// The received requests: head and body.
pub type Log = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

/// A server on the loopback address.
pub struct Server {
    pub address: SocketAddr,
    /// Number of accepted connections.
    pub connections: Arc<AtomicUsize>,
    pub requests: Log,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// The heads of the received requests.
    pub fn heads(&self) -> Vec<String> {
        self.requests.lock().unwrap().iter().map(|(head, _)| head.clone()).collect()
    }

    pub fn url(&self) -> String {
        format!("http://{}/health?token=t0psecret", self.address)
    }

    /// Handles each connection with `handle`, which gets the connection's number, from 1.
    pub async fn start<F, T>(handle: F) -> Self
    where
        F: Fn(TcpStream, usize, Log) -> T + Send + 'static,
        T: Future<Output = io::Result<()>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let requests = Log::default();
        let (counter, log) = (connections.clone(), Arc::clone(&requests));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = counter.fetch_add(1, Ordering::SeqCst) + 1;
                tokio::spawn(handle(stream, number, log.clone()));
            }
        });
        Self { address, connections, requests, task }
    }

    /// Answers each request with these bytes.
    pub async fn answering(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes: Arc<[u8]> = bytes.into().into();
        Self::start(move |mut stream, _, log| {
            let bytes = bytes.clone();
            async move { answer_all(&mut stream, &log, &bytes).await }
        })
        .await
    }

    /// Answers one request per connection and closes it.
    pub async fn answering_once(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes: Arc<[u8]> = bytes.into().into();
        Self::start(move |mut stream, _, log| {
            let bytes = bytes.clone();
            async move {
                log_request(&mut stream, &log).await?;
                stream.write_all(&bytes).await
            }
        })
        .await
    }

    /// Answers with `head` and then with a byte every ten milliseconds forever; not at all if `head` is empty.
    pub async fn trickling(head: &'static str) -> Self {
        Self::start(move |mut stream, _, log| async move {
            log_request(&mut stream, &log).await?;
            stream.write_all(head.as_bytes()).await?;
            if head.is_empty() {
                // Until the client disconnects.
                stream.read_u8().await?;
            }
            loop {
                stream.write_all(b"x").await?;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await
    }
}

/// Reads requests and answers each with these bytes.
pub async fn answer_all(stream: &mut TcpStream, log: &Log, bytes: &[u8]) -> io::Result<()> {
    while let Some(request) = read_request(stream).await? {
        log.lock().unwrap().push(request);
        stream.write_all(bytes).await?;
    }
    Ok(())
}

/// Reads the next request, if any, and logs it.
pub async fn log_request(stream: &mut TcpStream, log: &Log) -> io::Result<()> {
    let request = read_request(stream).await?;
    log.lock().unwrap().extend(request);
    Ok(())
}

/// Head and body of the next request; `None` if the client disconnected.
pub async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<(String, Vec<u8>)>> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            let length = header(&head, "content-length").and_then(|value| value.parse().ok()).unwrap_or(0);
            let mut body = bytes.split_off(end + 4);
            while body.len() < length {
                if stream.read_buf(&mut body).await? == 0 {
                    return Ok(None);
                }
            }
            return Ok(Some((head, body)));
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    }
}

/// The value of a header in a request's head.
pub fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
}

/// A resolver with fixed records.
#[derive(Default)]
pub struct FakeDns(pub BTreeMap<&'static str, Vec<SocketAddr>>);

impl FakeDns {
    pub fn with_records(known: &[(&'static str, &[&str])]) -> Self {
        let parse = |list: &[&str]| list.iter().map(|ip| SocketAddr::new(ip.parse().unwrap(), 0)).collect();
        Self(known.iter().map(|(name, list)| (*name, parse(list))).collect())
    }
}

#[async_trait]
impl Resolve for FakeDns {
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let known = self.0.get(host).ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "there is no such name"))?;
        Ok(known.iter().map(|address| SocketAddr::new(address.ip(), port)).collect())
    }
}

/// A guard that allows loopback.
pub fn loopback_guard() -> Guard {
    Guard { allow: ["127.0.0.0/8", "::1/128"].map(|net| net.parse().unwrap()).into(), allow_http: false }
}

/// A prober that may probe loopback, resolves no names and trusts no certificate.
pub fn prober() -> Prober {
    prober_with(loopback_guard(), FakeDns::default(), RootCertStore::empty())
}

pub fn prober_with(guard: Guard, resolver: impl Resolve + 'static, roots: RootCertStore) -> Prober {
    let names = Arc::new(DnsResolver::with_servers(vec![SocketAddr::from(([127, 0, 0, 1], 9))]));
    Prober::new(ProberConfig {
        guard,
        resolver: Arc::new(resolver),
        names,
        roots,
        idle_max: 100,
        references: Vec::new(),
    })
}

/// A GET of this URL.
pub fn get(url: impl Into<String>) -> HttpProbe {
    HttpProbe::new(url.into())
}

/// A definition of this probe that finds every response good, so that nothing is confirmed, and that keeps the body.
pub fn lenient(probe: &Probe) -> Definition {
    let mut definition = Definition { timeout_ms: LONG.as_millis() as u32, ..Definition::new(probe.clone()) };
    if let Probe::Http(http) = &mut definition.probe {
        http.expected_status_codes = vec![ExpectedStatus::Range { low: 100, high: 599 }];
        definition.assertions = vec![body_assertion(Operator::Neq, "never")];
    }
    definition.ssl_warning_days = 0;
    definition.latency_threshold_ms = 600_000;
    definition
}

pub fn body_assertion(operator: Operator, value: &str) -> Assertion {
    let value = Some(value.to_owned());
    Assertion { kind: AssertionKind::Body, operator, target: None, value, severity: CheckStatus::Down }
}

/// One probe with a long timeout.
pub async fn observe(prober: &Prober, probe: &Probe) -> Observation {
    observe_within(prober, probe, LONG).await
}

/// One HTTP probe with a long timeout.
pub async fn observe_http(prober: &Prober, probe: &HttpProbe) -> Observation {
    observe(prober, &Probe::Http(probe.clone())).await
}

/// One probe with this timeout. Its failure message must not leak path or query.
pub async fn observe_within(prober: &Prober, probe: &Probe, timeout: Duration) -> Observation {
    let definition = Definition { timeout_ms: timeout.as_millis() as u32, ..lenient(probe) };
    let probing = std::pin::pin!(prober.probe(&definition, AGENT, NOW, DialOptions::default()));
    let observation = tokio::time::timeout(TEST_TIMEOUT, probing).await.expect("within the timeout");
    if let Err(failure) = &observation.outcome {
        let words = &failure.message;
        assert!(!words.contains("t0psecret") && !words.contains("/health"), "path or query leaked: {words}");
        assert!(!words.contains('\n') && words.len() < 400, "{words}");
    }
    observation
}

/// An HTTP response.
pub struct HttpAnswer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Body,
}

impl HttpAnswer {
    pub fn text(&self) -> String {
        self.body.text.clone()
    }
}

pub fn http_answer(observation: &Observation) -> HttpAnswer {
    match &observation.outcome {
        Ok(Answer::Http { status, headers, body }) => {
            HttpAnswer { status: *status, headers: headers.clone(), body: body.clone() }
        }
        other => panic!("no HTTP answer: {other:?}"),
    }
}

#[track_caller]
pub fn assert_failed(observation: &Observation, class: FailureClass, words: &str) {
    let failure: &Failure = observation.outcome.as_ref().expect_err("a failure");
    assert_eq!(failure.class, class, "{failure:?}");
    assert!(failure.message.contains(words), "{words:?} in {failure:?}");
}

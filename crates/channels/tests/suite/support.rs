//! Well-behaved and misbehaving receivers on raw sockets, and messages to send to them.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use rustls::RootCertStore;
use serde_json::{Map, Value};
use tidings_channels::egress::{DnsResolver, Egress, Guard, Resolve};
use tidings_channels::{ChannelConfig, ChannelContext, OutboundMessage, registry, webhook};
use tidings_domain::calendar::Zone;
use tidings_domain::channel::ChannelType;
use tidings_domain::digest::{Digest, Entry, EntryState};
use tidings_domain::event::{Content, Event, EventKind};
use tidings_domain::id::{DeliveryId, EventId, Id, RuleId, WorkspaceId};
use tidings_domain::incident::{Cause, IncidentSnapshot, IncidentTrigger, SubjectField};
use tidings_domain::resource::ResourceType;
use tidings_domain::secret::Secret;
use tidings_domain::severity::Severity;
use tidings_domain::time::Timestamp;
use tidings_domain::trigger::Trigger;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// The messages' timeout: long enough for a local response, short enough for a test.
pub const TIMEOUT: Duration = Duration::from_millis(400);
/// Every attempt must have ended by then.
pub const SURELY: Duration = Duration::from_secs(3);
pub const NOW: Timestamp = Timestamp::from_unix_ms(1_777_694_412_345);

/// Received requests: head and body.
pub type Log = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

/// A server on the loopback address.
pub struct Receiver {
    pub address: SocketAddr,
    pub connections: Arc<AtomicUsize>,
    pub requests: Log,
    task: JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Receiver {
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// The only request received.
    pub fn request(&self) -> (String, Vec<u8>) {
        let requests = self.requests.lock().unwrap();
        assert_eq!(requests.len(), 1, "one request");
        requests[0].clone()
    }

    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// Serves each connection with `handle`, which gets its number, from 1.
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

    /// Responds to every request with these bytes.
    pub async fn answering(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes: Arc<[u8]> = bytes.into().into();
        Self::start(move |mut stream, _, log| {
            let bytes = bytes.clone();
            async move {
                while let Some(request) = read_request(&mut stream).await? {
                    log.lock().unwrap().push(request);
                    stream.write_all(&bytes).await?;
                }
                Ok(())
            }
        })
        .await
    }

    /// Responds once and closes.
    pub async fn answering_once(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes: Arc<[u8]> = bytes.into().into();
        Self::start(move |mut stream, _, log| {
            let bytes = bytes.clone();
            async move {
                if let Some(request) = read_request(&mut stream).await? {
                    log.lock().unwrap().push(request);
                }
                stream.write_all(&bytes).await
            }
        })
        .await
    }

    /// Responds with the request, under this status.
    pub async fn echoing(status: &'static str) -> Self {
        Self::start(move |mut stream, _, _| async move {
            let Some((head, body)) = read_request(&mut stream).await? else { return Ok(()) };
            let body = format!("{head}\n{}", String::from_utf8_lossy(&body));
            stream
                .write_all(format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).as_bytes())
                .await
        })
        .await
    }

    /// Accepts everything, in the protocol of this channel type.
    pub async fn speaking(channel_type: ChannelType, answer: &'static str) -> Self {
        match channel_type {
            ChannelType::Webhook | ChannelType::Slack | ChannelType::Discord => Self::answering(answer).await,
            ChannelType::Email => Self::start(|stream, _, log| take_mails(stream, log)).await,
        }
    }

    /// Reads a request and never responds.
    pub async fn hanging() -> Self {
        Self::dripping("").await
    }

    /// Reads a request, sends `head`, and then a byte every ten milliseconds without end.
    pub async fn dripping(head: &'static str) -> Self {
        Self::start(move |mut stream, _, log| async move {
            let request = read_request(&mut stream).await?;
            log.lock().unwrap().extend(request);
            stream.write_all(head.as_bytes()).await?;
            if head.is_empty() {
                std::future::pending::<()>().await;
            }
            loop {
                stream.write_all(b"x").await?;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await
    }
}

/// Minimal SMTP: every command succeeds, and what follows DATA is logged.
async fn take_mails(stream: TcpStream, log: Log) -> io::Result<()> {
    let mut stream = BufStream::new(stream);
    let mut reply = "220 ready\r\n";
    loop {
        stream.write_all(reply.as_bytes()).await?;
        stream.flush().await?;
        let mut command = String::new();
        if stream.read_line(&mut command).await? == 0 {
            return Ok(());
        }
        reply = "250 fine\r\n";
        if command.starts_with("DATA") {
            stream.write_all(b"354 go on\r\n").await?;
            stream.flush().await?;
            let mut mail = Vec::new();
            while !mail.ends_with(b"\r\n.\r\n") && stream.read_until(b'\n', &mut mail).await? > 0 {}
            log.lock().unwrap().push((String::new(), mail));
        }
    }
}

/// Head and body of the next request; `None` if the peer closed the connection.
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

/// A header of a request's head.
pub fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
}

/// A resolver with fixed names that counts lookups.
#[derive(Default)]
pub struct Names {
    pub known: BTreeMap<&'static str, Vec<SocketAddr>>,
    pub lookups: AtomicUsize,
}

#[async_trait]
impl Resolve for Names {
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        self.lookups.fetch_add(1, Ordering::SeqCst);
        let known = self.known.get(host).ok_or_else(|| io::Error::other("lookup failed: Name or service not known"))?;
        Ok(known.iter().map(|address| SocketAddr::new(address.ip(), port)).collect())
    }
}

/// Allows the loopback address.
pub fn loopback() -> Guard {
    Guard { allow: vec!["127.0.0.0/8".parse().unwrap()], allow_http: false }
}

pub fn context(guard: Guard) -> ChannelContext {
    ChannelContext::new(Arc::new(Egress::with(guard, Arc::new(DnsResolver::system()), RootCertStore::empty())))
}

/// A failed run of this resource type.
pub fn failed(resource_type: ResourceType) -> Event {
    let (id, workspace_id) = (EventId::from_bytes([1; 16]), WorkspaceId::from_bytes([2; 16]));
    let mut event = Event::sample(id, workspace_id, resource_type, "f1", NOW);
    event.kind = EventKind::for_run(resource_type, Trigger::Failure);
    event.trigger = Trigger::Failure;
    event.run_id = "01HX".into();
    event.run_mut().resource_name = Some("Daily revenue rollup".into());
    event.run_mut().error_message = Some("relation \"orders\" does not exist".into());
    event.run_mut().deep_link = Some("https://app.example.com/f1".into());
    event.run_mut().duration_ms = Some(1_842);
    event
}

/// A notification about an incident of this resource type.
pub fn incident(resource_type: ResourceType, trigger: IncidentTrigger) -> Event {
    let (id, workspace_id) = (EventId::from_bytes([1; 16]), WorkspaceId::from_bytes([2; 16]));
    let mut event = Event::sample(id, workspace_id, resource_type, "ep_1", NOW);
    (event.kind, event.trigger) = (trigger.event_kind(), Trigger::Incident(trigger));
    event.run_id = "inc_1".into();
    event.content = Content::Incident(Box::new(IncidentSnapshot {
        name: "Production API".into(),
        url: Some("https://api.example.com/health".into()),
        link: Some("https://app.example.com/inc_1".into()),
        cause: if resource_type == ResourceType::Alert { Cause::Alert } else { Cause::EndpointDown },
        detail: Some("HTTP 502 — expected 200".into()),
        severity: Severity::Critical,
        started_at: NOW.minus_ms(60_000),
        failing_since: NOW.minus_ms(120_000),
        resolved_at: (trigger == IncidentTrigger::Resolved).then_some(NOW),
        at: NOW,
        resolution: None,
        previous_resolved_at: None,
        flap_changes: Some(7),
        escalates_to: None,
        actor: Some("Ada".into()),
        fields: vec![SubjectField { label: "region".into(), value: "eu-west".into() }],
        tags: vec!["prod".into()],
    }));
    event
}

/// A digest with an entry of each state for each of these titles.
pub fn digest(titles: &[&str]) -> Event {
    let (id, workspace_id) = (EventId::from_bytes([1; 16]), WorkspaceId::from_bytes([2; 16]));
    let mut event = Event::sample(id, workspace_id, ResourceType::Channel, "ch_1", NOW);
    event.kind = EventKind::Digest;
    let states = [
        (EntryState::Ongoing, Severity::Critical),
        (EntryState::OneOff, Severity::Warning),
        (EntryState::Resolved, Severity::Success),
    ];
    let entry = |title: &str, (state, severity)| Entry {
        link: Some(format!("https://example.com/{title}")),
        events: 2,
        ..Entry::new(title, severity, state, NOW.minus_ms(60_000))
    };
    let entries = titles.iter().flat_map(|title| states.map(|state| entry(title, state))).collect();
    event.content = Content::Digest(Box::new(Digest::new("quiet hours of On-call".into(), entries, NOW)));
    event
}

static UTC: Zone = Zone::UTC;

pub fn message(event: &Event) -> OutboundMessage<'_> {
    OutboundMessage {
        delivery_id: DeliveryId::from_bytes([3; 16]),
        rule_id: Some(RuleId::from_bytes([4; 16])),
        channel_id: None,
        event,
        severity: Severity::Warning,
        zone: &UTC,
        now: NOW,
        timeout: TIMEOUT,
        fresh: false,
        attempt_state: None,
        thread: None,
    }
}

/// A validated configuration, with a signing secret if it is a webhook's.
pub fn stored(channel_type: ChannelType, config: Value, context: &ChannelContext) -> ChannelConfig {
    let plugin = registry::plugin(channel_type);
    let input: Map<_, _> = config.as_object().cloned().unwrap_or_default();
    let mut stored = plugin.check(&input, None, context).unwrap_or_else(|wrong| panic!("{channel_type:?}: {wrong:?}"));
    if channel_type == ChannelType::Webhook {
        webhook::rotate(&mut stored, Secret::new(format!("whsec_{}", "ab".repeat(32))), 0, NOW);
    }
    stored
}

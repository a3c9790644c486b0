//! An HTTP receiver on this machine: responds as configured, and records the requests.
//!
//! It runs on a thread of its own, so that it outlives the engine. The first segment of the path names the channel.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

/// How the receiver responds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// With this status.
    Respond(u16),
    /// Not before the mode changes.
    Hang,
    /// With 429 and `Retry-After` in seconds, if there is one.
    Limit(Option<u32>),
    /// With 503 and `Retry-After` in seconds.
    Unavailable(u32),
}

/// A recorded request.
#[derive(Debug, Clone)]
pub struct ReceivedRequest {
    /// Name of the channel.
    pub channel: String,
    /// The delivery, if the request names it.
    pub delivery_id: Option<String>,
    pub body: Value,
    /// None while the request hangs.
    pub response_status: Option<u16>,
}

impl ReceivedRequest {
    /// Whether the body contains this text.
    pub fn contains(&self, text: &str) -> bool {
        self.body.to_string().contains(text)
    }
}

/// The channel name under which it acts as Slack's Web API.
pub const SLACK_API: &str = "slack-api";

/// The receiver.
pub struct Receiver {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    _runtime: Runtime,
}

struct Shared {
    modes: watch::Sender<HashMap<String, Mode>>,
    requests: watch::Sender<Vec<ReceivedRequest>>,
}

impl Receiver {
    /// Starts a receiver that responds 200 to everything.
    pub fn start() -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let shared =
            Arc::new(Shared { modes: watch::channel(HashMap::new()).0, requests: watch::channel(Vec::new()).0 });
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let serving = Arc::clone(&shared);
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&serving);
                tokio::spawn(async move { shared.serve(stream).await });
            }
        });
        Self { address, shared, _runtime: runtime }
    }

    /// Sets how it responds to a channel's requests, hanging ones included.
    pub fn set(&self, channel: &str, mode: Mode) {
        self.shared.modes.send_modify(|modes| {
            modes.insert(channel.to_owned(), mode);
        });
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<ReceivedRequest> {
        self.shared.requests.borrow().clone()
    }

    /// The requests of this channel so far.
    pub fn requests_to(&self, channel: &str) -> Vec<ReceivedRequest> {
        self.requests().into_iter().filter(|request| request.channel == channel).collect()
    }

    /// Waits until this channel has made `count` requests.
    pub async fn wait_for_requests(&self, channel: &str, count: usize) {
        let mut requests = self.shared.requests.subscribe();
        let of_channel = |requests: &Vec<ReceivedRequest>| requests.iter().filter(|it| it.channel == channel).count();
        requests.wait_for(|requests| of_channel(requests) >= count).await.unwrap();
    }
}

impl Shared {
    async fn serve(&self, stream: TcpStream) {
        let mut stream = BufReader::new(stream);
        while let Some(request) = self.read(&mut stream).await {
            let (channel, mut index) = (request.channel.clone(), 0);
            self.requests.send_modify(|all| {
                index = all.len();
                all.push(request);
            });
            let mut modes = self.modes.subscribe();
            let changed = modes.wait_for(|modes| modes.get(&channel) != Some(&Mode::Hang)).await;
            let Ok(mode) = changed.map(|modes| modes.get(&channel).copied()) else { return };
            let status = match mode {
                Some(Mode::Respond(status)) => status,
                Some(Mode::Limit(_)) => 429,
                Some(Mode::Unavailable(_)) => 503,
                _ => 200,
            };
            let retry_after = match mode {
                Some(Mode::Limit(Some(seconds)) | Mode::Unavailable(seconds)) => format!("retry-after: {seconds}\r\n"),
                _ => String::new(),
            };
            self.requests.send_modify(|all| all[index].response_status = Some(status));
            let body = match channel.as_str() {
                _ if status != 200 => "",
                SLACK_API => r#"{"ok":true,"channel":"C1","ts":"1.5","message":{}}"#,
                name if name.starts_with("slack") => "ok",
                _ => "",
            };
            let head = format!("HTTP/1.1 {status} Status\r\n{retry_after}content-length: {}\r\n\r\n", body.len());
            let response = head + body;
            if stream.get_mut().write_all(response.as_bytes()).await.is_err() {
                return;
            }
        }
    }

    async fn read(&self, stream: &mut BufReader<TcpStream>) -> Option<ReceivedRequest> {
        let (mut first, mut length, mut delivery_id) = (String::new(), 0, None);
        stream.read_line(&mut first).await.ok()?;
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).await.ok()?;
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.parse().ok()?,
                "webhook-id" => delivery_id = Some(value.to_owned()),
                _ => {}
            }
        }
        let channel = first.split(' ').nth(1)?.split('/').nth(1)?.to_owned();
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.ok()?;
        let body = serde_json::from_slice(&body).ok()?;
        Some(ReceivedRequest { channel, delivery_id, body, response_status: None })
    }
}

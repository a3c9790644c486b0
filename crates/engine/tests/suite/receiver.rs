//! A receiver on this machine: answers as it is told, and remembers what came.
//!
//! It has a thread of its own, so that it outlives the engine's end. The first segment of the path says which channel
//! it is.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

/// How it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// With this status.
    Answer(u16),
    /// Not until it is told otherwise.
    Hang,
}

/// A request that came.
#[derive(Debug, Clone)]
pub struct Came {
    /// Through which channel.
    pub channel: String,
    /// The delivery, if the channel says it.
    pub delivery_id: Option<String>,
    /// The body.
    pub body: Value,
    /// How it was answered; nothing yet if it hangs.
    pub answered: Option<u16>,
}

impl Came {
    /// Whether some text of the body holds these words.
    pub fn says(&self, words: &str) -> bool {
        self.body.to_string().contains(words)
    }
}

/// The name under which it is Slack's Web API.
pub const SLACK_API: &str = "slack-api";

/// The receiver.
pub struct Receiver {
    /// Where it listens.
    pub address: SocketAddr,
    shared: Arc<Shared>,
    _runtime: Runtime,
}

struct Shared {
    modes: watch::Sender<HashMap<String, Mode>>,
    came: watch::Sender<Vec<Came>>,
}

impl Receiver {
    /// One that takes everything.
    pub fn start() -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let shared = Arc::new(Shared { modes: watch::channel(HashMap::new()).0, came: watch::channel(Vec::new()).0 });
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

    /// How it answers what comes through this channel, and what hangs there now.
    pub fn set(&self, channel: &str, mode: Mode) {
        self.shared.modes.send_modify(|modes| {
            modes.insert(channel.to_owned(), mode);
        });
    }

    /// All that came.
    pub fn came(&self) -> Vec<Came> {
        self.shared.came.borrow().clone()
    }

    /// What came through this channel.
    pub fn through(&self, channel: &str) -> Vec<Came> {
        self.came().into_iter().filter(|came| came.channel == channel).collect()
    }

    /// Waits until so many came through this channel.
    pub async fn arrived(&self, channel: &str, count: usize) {
        let mut came = self.shared.came.subscribe();
        let of_channel = |came: &Vec<Came>| came.iter().filter(|it| it.channel == channel).count();
        came.wait_for(|came| of_channel(came) >= count).await.unwrap();
    }
}

impl Shared {
    async fn serve(&self, stream: TcpStream) {
        let mut stream = BufReader::new(stream);
        while let Some(came) = self.read(&mut stream).await {
            let (channel, mut index) = (came.channel.clone(), 0);
            self.came.send_modify(|all| {
                index = all.len();
                all.push(came);
            });
            let mut modes = self.modes.subscribe();
            let told = modes.wait_for(|modes| modes.get(&channel) != Some(&Mode::Hang)).await;
            let Ok(mode) = told.map(|modes| modes.get(&channel).copied()) else { return };
            let status = if let Some(Mode::Answer(status)) = mode { status } else { 200 };
            self.came.send_modify(|all| all[index].answered = Some(status));
            let body = match channel.as_str() {
                _ if status != 200 => "",
                SLACK_API => r#"{"ok":true,"channel":"C1","ts":"1.5","message":{}}"#,
                name if name.starts_with("slack") => "ok",
                _ => "",
            };
            let answer = format!("HTTP/1.1 {status} Told\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            if stream.get_mut().write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    }

    async fn read(&self, stream: &mut BufReader<TcpStream>) -> Option<Came> {
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
        Some(Came { channel, delivery_id, body, answered: None })
    }
}

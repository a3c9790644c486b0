//! Receivers of webhooks: correct ones, and ones that fail in all ways.

use std::collections::BTreeMap;
use std::io::{self, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::observed::Observed;
use super::wire::{self, Message};
use super::{WAIT_MAX, now};

/// A request.
#[derive(Debug, Clone)]
pub struct Request {
    /// When it was complete.
    pub at: Instant,
    /// The number of its connection, from 1.
    pub connection: usize,
    message: Message,
}

impl Request {
    pub fn line(&self) -> &str {
        &self.message.first
    }

    /// The value of a required header.
    #[track_caller]
    pub fn header(&self, name: &str) -> &str {
        self.message.header(name).unwrap_or_else(|| panic!("no {name} in {:?}", self.message.headers))
    }

    /// Whether it has this header.
    pub fn has(&self, name: &str) -> bool {
        self.message.header(name).is_some()
    }

    pub fn headers(&self) -> &[(String, String)] {
        &self.message.headers
    }

    pub fn body(&self) -> &[u8] {
        &self.message.body
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(self.body()).unwrap()
    }
}

/// The response of a receiver.
pub enum Reply {
    /// This status without a body.
    Status(u16),
    /// These raw bytes; then it closes the connection.
    Bytes(Vec<u8>),
    /// This status, and a body of 100 MB.
    Flood(u16),
    /// Headers at one byte a second.
    Drip,
    /// None, with the connection open.
    Hang,
    /// 204, after [`Receiver::release`].
    Held,
    /// None, with the connection closed.
    Close,
}

#[derive(Default)]
struct Log {
    requests: Vec<Request>,
    released: bool,
}

type Behaviour = dyn Fn(&Request, usize) -> Reply + Send + Sync;

/// A server on a port of its own. Its threads end with the test.
pub struct Receiver {
    address: SocketAddr,
    log: Arc<Observed<Log>>,
}

impl Receiver {
    /// Responds as `behaviour` decides by the request and its number, from 1.
    pub fn start(behaviour: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let log: Arc<Observed<Log>> = Arc::default();
        let receiver = Self { address, log: Arc::clone(&log) };
        let behaviour: Arc<Behaviour> = Arc::new(behaviour);
        std::thread::spawn(move || {
            for (index, stream) in listener.incoming().map_while(Result::ok).enumerate() {
                let (log, behaviour) = (Arc::clone(&log), Arc::clone(&behaviour));
                std::thread::spawn(move || serve(stream, index + 1, &log, behaviour.as_ref()));
            }
        });
        receiver
    }

    /// Answers every request with 204.
    pub fn good() -> Self {
        Self::start(|_, _| Reply::Status(204))
    }

    /// Answers every request with this status.
    pub fn always(status: u16) -> Self {
        Self::start(move |_, _| Reply::Status(status))
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// Answers all requests with [`Reply::Held`], present and future.
    pub fn release(&self) {
        self.log.change(|log| log.released = true);
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.log.read(|log| log.requests.clone())
    }

    pub fn count(&self) -> usize {
        self.log.read(|log| log.requests.len())
    }

    /// Waits for `count` requests, and returns all so far.
    #[track_caller]
    pub fn wait_for(&self, count: usize) -> Vec<Request> {
        self.wait_longer_for(count, WAIT_MAX)
    }

    /// The same with another timeout.
    #[track_caller]
    pub fn wait_longer_for(&self, count: usize, timeout: Duration) -> Vec<Request> {
        let enough = |log: &Log| (log.requests.len() >= count).then(|| log.requests.clone());
        let requests = self.log.wait_longer_for(timeout, enough);
        requests.unwrap_or_else(|| panic!("only {} of {count} requests", self.count()))
    }

    /// The `webhook-id`s with which each run was sent, by the run's id.
    pub fn webhook_ids_by_run(&self) -> BTreeMap<String, Vec<String>> {
        let mut ids: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for request in self.requests() {
            let run = request.json()["runId"].as_str().unwrap().to_owned();
            ids.entry(run).or_default().push(request.header("webhook-id").to_owned());
        }
        ids
    }
}

/// A port without a listener.
pub fn closed_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn serve(stream: TcpStream, connection: usize, log: &Observed<Log>, behaviour: &Behaviour) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    while let Some(message) = wire::read(&mut reader)? {
        let request = Request { at: now(), connection, message };
        let number = log.change(|log| {
            log.requests.push(request.clone());
            log.requests.len()
        });
        let stream = reader.get_mut();
        match behaviour(&request, number) {
            Reply::Status(status) => stream.write_all(head(status, 0).as_bytes())?,
            Reply::Held => {
                log.wait_for(|log| log.released.then_some(()));
                stream.write_all(head(204, 0).as_bytes())?;
            }
            Reply::Bytes(bytes) => return stream.write_all(&bytes),
            Reply::Flood(status) => return flood(stream, status),
            Reply::Drip => return drip(stream),
            Reply::Hang => return wait_for_end(stream),
            Reply::Close => return Ok(()),
        }
    }
    Ok(())
}

fn head(status: u16, length: usize) -> String {
    let length = if status == 204 { String::new() } else { format!("content-length: {length}\r\n") };
    format!("HTTP/1.1 {status} So\r\n{length}\r\n")
}

const FLOOD_BYTES: usize = 100_000_000;

fn flood(stream: &mut TcpStream, status: u16) -> io::Result<()> {
    let block = [b'x'; 65_536];
    let blocks = FLOOD_BYTES / block.len();
    stream.write_all(head(status, blocks * block.len()).as_bytes())?;
    (0..blocks).try_for_each(|_| stream.write_all(&block))
}

fn drip(stream: &mut TcpStream) -> io::Result<()> {
    head(200, 0).bytes().try_for_each(|byte| {
        stream.write_all(&[byte])?;
        std::thread::sleep(Duration::from_secs(1));
        Ok(())
    })
}

/// Reads until the peer closes the connection.
fn wait_for_end(stream: &mut TcpStream) -> io::Result<()> {
    io::copy(stream, &mut io::sink()).map(drop)
}

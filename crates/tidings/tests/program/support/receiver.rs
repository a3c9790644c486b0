//! Receivers of webhooks: one that does as it should, and all the others.

use std::collections::BTreeMap;
use std::io::{self, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::watch::MonitoredEndpoint;
use super::wire::{self, Message};
use super::{SURELY, now};

/// A request that came, and when.
#[derive(Debug, Clone)]
pub struct Request {
    /// When all of it was there.
    pub at: Instant,
    message: Message,
}

impl Request {
    /// The request line.
    pub fn line(&self) -> &str {
        &self.message.first
    }

    /// The value of a header that must be there.
    #[track_caller]
    pub fn header(&self, name: &str) -> &str {
        self.message.header(name).unwrap_or_else(|| panic!("no {name} in {:?}", self.message.headers))
    }

    /// Whether a header is there.
    pub fn has(&self, name: &str) -> bool {
        self.message.header(name).is_some()
    }

    /// All headers, for those who say them back.
    pub fn headers(&self) -> &[(String, String)] {
        &self.message.headers
    }

    /// The body as it came.
    pub fn body(&self) -> &[u8] {
        &self.message.body
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(self.body()).unwrap()
    }
}

/// How a receiver answers.
pub enum Reply {
    /// With this status and nothing else.
    Status(u16),
    /// With these bytes, whatever they are; then it ends the connection.
    Bytes(Vec<u8>),
    /// With this status, and a body of 100 MB.
    Flood(u16),
    /// With a head of which a byte comes every second.
    Drip,
    /// Never.
    Hang,
    /// With 204, once [`Receiver::release`] was called.
    Held,
    /// By ending the connection.
    Close,
}

/// What a receiver knows.
#[derive(Default)]
struct Log {
    requests: Vec<Request>,
    released: bool,
}

type Character = dyn Fn(&Request, usize) -> Reply + Send + Sync;

/// A server on a port of its own. Its threads end with the test.
pub struct Receiver {
    address: SocketAddr,
    log: Arc<MonitoredEndpoint<Log>>,
}

impl Receiver {
    /// One that answers as `character` says to the request and its number, from 1.
    pub fn start(character: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let log: Arc<MonitoredEndpoint<Log>> = Arc::default();
        let receiver = Self { address, log: Arc::clone(&log) };
        let character: Arc<Character> = Arc::new(character);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (log, character) = (Arc::clone(&log), Arc::clone(&character));
                std::thread::spawn(move || serve(stream, &log, character.as_ref()));
            }
        });
        receiver
    }

    /// One that takes everything.
    pub fn good() -> Self {
        Self::start(|_, _| Reply::Status(204))
    }

    /// One that answers every request like this.
    pub fn always(status: u16) -> Self {
        Self::start(move |_, _| Reply::Status(status))
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// Lets go of every request that is held, now and later.
    pub fn release(&self) {
        self.log.change(|log| log.released = true);
    }

    /// What came so far.
    pub fn requests(&self) -> Vec<Request> {
        self.log.look(|log| log.requests.clone())
    }

    /// How many requests came so far.
    pub fn count(&self) -> usize {
        self.log.look(|log| log.requests.len())
    }

    /// Waits until so many requests came, and answers them.
    #[track_caller]
    pub fn wait_for(&self, count: usize) -> Vec<Request> {
        self.wait_longer_for(count, SURELY)
    }

    /// The same for what takes its time, as a rate limit does.
    #[track_caller]
    pub fn wait_longer_for(&self, count: usize, patience: Duration) -> Vec<Request> {
        let enough = |log: &Log| (log.requests.len() >= count).then(|| log.requests.clone());
        let came = self.log.wait_longer_for(patience, enough);
        came.unwrap_or_else(|| panic!("only {} of {count} requests came", self.count()))
    }

    /// The ids under which each run came, by the run's id.
    pub fn webhook_ids_by_run(&self) -> BTreeMap<String, Vec<String>> {
        let mut ids: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for request in self.requests() {
            let run = request.json()["runId"].as_str().unwrap().to_owned();
            ids.entry(run).or_default().push(request.header("webhook-id").to_owned());
        }
        ids
    }
}

/// A port on which nobody listens.
pub fn closed_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn serve(stream: TcpStream, log: &MonitoredEndpoint<Log>, character: &Character) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    while let Some(message) = wire::read(&mut reader)? {
        let request = Request { at: now(), message };
        let number = log.change(|log| {
            log.requests.push(request.clone());
            log.requests.len()
        });
        let stream = reader.get_mut();
        match character(&request, number) {
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

/// How large a flood is.
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

/// Reads until the peer ends the connection.
fn wait_for_end(stream: &mut TcpStream) -> io::Result<()> {
    io::copy(stream, &mut io::sink()).map(drop)
}

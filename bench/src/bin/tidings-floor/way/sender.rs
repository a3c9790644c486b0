//! The way out: signed requests over kept connections.
//!
//! A request and the connection under it are driven by one task, as in the server: a hand-over between two tasks would
//! cost more than the request.

use std::{
    future::poll_fn,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::{Mutex, MutexGuard, PoisonError},
    task::Poll,
};

use anyhow::Context as _;
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    HeaderMap, Method, Request, Uri,
    client::conn::http1::{self, Connection, SendRequest},
    header::{CONTENT_TYPE, HOST, HeaderName, HeaderValue},
};
use hyper_util::rt::TokioIo;
use sha2::Sha256;
use tidings_bench::{clock, target::Target};
use tokio::{net::TcpStream, sync::Semaphore};

/// Connections to the sink at most for each path: the slots that one channel of the server has.
const CONNECTIONS_OF_PATH: usize = 64;
/// And in all: the slots of the server's process.
const CONNECTIONS_MAX: usize = 512;

const ID: HeaderName = HeaderName::from_static("webhook-id");
const TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");
const BODY_SIGNATURE: HeaderName = HeaderName::from_static("x-floor-signature");

/// Sends deliveries to the sink.
pub struct Sender {
    address: SocketAddr,
    host: HeaderValue,
    /// The first delivery of each event goes to the first of them, and so on.
    paths: Vec<SignedPath>,
    /// One for each connection that may be in use.
    slots: Semaphore,
    /// Those that nobody uses, the last used on top.
    idle: Mutex<Vec<Wire>>,
}

/// Where one delivery of each event goes, with keys of its own.
struct SignedPath {
    uri: Uri,
    signer: Signer,
}

impl Sender {
    /// One without connections: they are opened when they are needed.
    pub fn new(target: &Target, fan_out: usize) -> anyhow::Result<Self> {
        let path = |number| -> anyhow::Result<SignedPath> {
            let uri = format!("{}/{number}", target.path).parse().context("the target's path is not one")?;
            Ok(SignedPath { uri, signer: Signer::new() })
        };
        Ok(Self {
            address: target.address,
            host: target.address.to_string().parse()?,
            paths: (0..fan_out).map(path).collect::<anyhow::Result<_>>()?,
            slots: Semaphore::new((CONNECTIONS_OF_PATH * fan_out).min(CONNECTIONS_MAX)),
            idle: Mutex::default(),
        })
    }

    /// Sends a delivery. Anything but a 2xx is an error.
    pub async fn send(&self, delivery: u64, body: Bytes) -> anyhow::Result<()> {
        let path = &self.paths[(delivery % self.paths.len() as u64) as usize];
        let _slot = self.slots.acquire().await?;
        let kept = self.idle().pop();
        let mut wire = match kept {
            Some(wire) => wire,
            None => Wire::open(self.address).await?,
        };
        let mut headers = path.signer.headers(delivery, clock::now_nanos() / 1_000_000_000, &body)?;
        headers.insert(HOST, self.host.clone());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = path.uri.clone();
        *request.headers_mut() = headers;
        wire.exchange(request).await?;
        self.idle().push(wire);
        Ok(())
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Wire>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An open connection, and the handle that puts requests into it.
struct Wire {
    sender: SendRequest<Full<Bytes>>,
    connection: Connection<TokioIo<TcpStream>, Full<Bytes>>,
}

impl Wire {
    async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        Ok(Self { sender, connection })
    }

    async fn exchange(&mut self, request: Request<Full<Bytes>>) -> anyhow::Result<()> {
        let Self { sender, connection } = self;
        let mut answered = pin!(async {
            sender.ready().await?;
            let response = sender.send_request(request).await?;
            let status = response.status();
            response.into_body().collect().await?;
            anyhow::ensure!(status.is_success(), "the sink answered {status}");
            Ok(())
        });
        poll_fn(|cx| {
            if let Poll::Ready(done) = answered.as_mut().poll(cx) {
                return Poll::Ready(done);
            }
            if let Poll::Ready(ended) = Pin::new(&mut *connection).poll(cx) {
                let error = ended.err().map_or_else(|| anyhow::anyhow!("the sink closed it"), anyhow::Error::from);
                return Poll::Ready(Err(error.context("a connection to the sink broke")));
            }
            // Whatever the connection brought is taken now rather than after another wake-up.
            answered.as_mut().poll(cx)
        })
        .await
    }
}

/// Signs as the server does: that of Standard Webhooks, and a vendor's hex over the body. Both keys are prepared.
struct Signer {
    standard: Hmac<Sha256>,
    vendor: Hmac<Sha256>,
}

impl Signer {
    fn new() -> Self {
        let keyed = |key: &[u8]| Hmac::new_from_slice(key).expect("HMAC takes keys of any length");
        Self { standard: keyed(&[0x5a; 48]), vendor: keyed(&[0xa5; 70]) }
    }

    fn headers(&self, number: u64, seconds: u64, body: &[u8]) -> anyhow::Result<HeaderMap> {
        let id = format!("way_{number:016x}");
        let seconds = seconds.to_string();
        let tag = |key: &Hmac<Sha256>, parts: &[&[u8]]| {
            let mut mac = key.clone();
            parts.iter().for_each(|part| mac.update(part));
            mac.finalize().into_bytes()
        };
        let standard = tag(&self.standard, &[id.as_bytes(), b".", seconds.as_bytes(), b".", body]);
        let mut signature = String::with_capacity(48);
        signature.push_str("v1,");
        BASE64.encode_string(standard, &mut signature);
        let vendor = hex::encode(tag(&self.vendor, &[body]));
        let mut headers = HeaderMap::with_capacity(8);
        for (name, value) in [(ID, id), (TIMESTAMP, seconds), (SIGNATURE, signature), (BODY_SIGNATURE, vendor)] {
            headers.insert(name, HeaderValue::try_from(value)?);
        }
        Ok(headers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_those_that_a_receiver_computes() {
        let headers = Signer::new().headers(255, 1_767_225_600, br#"{"runId":"a"}"#).unwrap();
        assert_eq!(headers[ID], "way_00000000000000ff");
        assert_eq!(headers[TIMESTAMP], "1767225600");
        assert_eq!(headers[SIGNATURE], "v1,X2C8aXpx4G4Epr2pGxcizkvDrMPZ5hFhtMIzndbSh/Y=");
        assert_eq!(headers[BODY_SIGNATURE], "99e7a3da9f6bb27b4c7893bb1c051e633bf753760313f0461f037a3c8c313f93");
    }
}

//! Sends signed requests over keep-alive connections.
//!
//! One task drives a request and its connection, as in the server: waking a second task would cost more than the
//! request.

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

/// Connections per path: the server's slots per channel.
const CONNECTIONS_PER_PATH: usize = 64;
/// Connections in total: the server's slots per process.
const CONNECTIONS_MAX: usize = 512;

const ID: HeaderName = HeaderName::from_static("webhook-id");
const TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");
const BODY_SIGNATURE: HeaderName = HeaderName::from_static("x-baseline-signature");

/// Sends deliveries to the sink.
pub struct Sender {
    address: SocketAddr,
    host: HeaderValue,
    /// The n-th delivery of each event goes to the n-th path.
    paths: Vec<SignedPath>,
    /// One permit per connection in use.
    slots: Semaphore,
    /// Idle connections, most recently used last.
    idle: Mutex<Vec<Wire>>,
}

/// A path with its own keys.
struct SignedPath {
    uri: Uri,
    signer: Signer,
}

impl Sender {
    /// Connections are opened when needed.
    pub fn new(target: &Target, fan_out: usize) -> anyhow::Result<Self> {
        let path = |number| -> anyhow::Result<SignedPath> {
            let uri = format!("{}/{number}", target.path).parse().context("the target's path is invalid")?;
            Ok(SignedPath { uri, signer: Signer::new() })
        };
        Ok(Self {
            address: target.address,
            host: target.address.to_string().parse()?,
            paths: (0..fan_out).map(path).collect::<anyhow::Result<_>>()?,
            slots: Semaphore::new((CONNECTIONS_PER_PATH * fan_out).min(CONNECTIONS_MAX)),
            idle: Mutex::default(),
        })
    }

    /// Sends a delivery. Fails unless the response is 2xx.
    pub async fn send(&self, delivery: u64, body: Bytes) -> anyhow::Result<()> {
        let path = &self.paths[(delivery % self.paths.len() as u64) as usize];
        let _slot = self.slots.acquire().await?;
        let idle = self.idle().pop();
        let mut wire = match idle {
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

/// An open connection with its request handle.
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
                let error =
                    ended.err().map_or_else(|| anyhow::anyhow!("the sink closed the connection"), anyhow::Error::from);
                return Poll::Ready(Err(error.context("a connection to the sink broke")));
            }
            // Poll again: the connection may have completed the response, and that saves a wake-up.
            answered.as_mut().poll(cx)
        })
        .await
    }
}

/// Signs as the server does: Standard Webhooks, and a vendor's hex signature of the body. Both keys are prepared.
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
        let id = format!("dlv_{number:016x}");
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
    fn headers_match_signatures_computed_independently() {
        let headers = Signer::new().headers(255, 1_767_225_600, br#"{"runId":"a"}"#).unwrap();
        assert_eq!(headers[ID], "dlv_00000000000000ff");
        assert_eq!(headers[TIMESTAMP], "1767225600");
        assert_eq!(headers[SIGNATURE], "v1,KIUS8YRED/SAR1o8PI1xSI33GvNXeZ1HmfqmxmMdwas=");
        assert_eq!(headers[BODY_SIGNATURE], "99e7a3da9f6bb27b4c7893bb1c051e633bf753760313f0461f037a3c8c313f93");
    }
}

//! A webhook receiver: records requests, answers with a status that the test sets, and can delay its responses.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};

/// A recorded request.
#[derive(Debug)]
pub struct Received {
    pub method: http::Method,
    pub headers: HeaderMap,
    /// The exact bytes.
    pub body: Bytes,
}

impl Received {
    #[track_caller]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no {name} in {:?}", self.headers)).to_str().unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

pub struct Receiver {
    pub url: String,
    /// The status of its responses.
    pub status: Arc<Mutex<StatusCode>>,
    /// Further headers of its responses.
    pub headers: Arc<Mutex<HeaderMap>>,
    /// A permit for each request that it may answer; further ones wait.
    pub may_answer: Arc<Semaphore>,
    received: mpsc::UnboundedReceiver<Received>,
}

impl Receiver {
    /// A receiver that answers 200 at once.
    pub async fn start() -> Self {
        Self::start_with(Semaphore::MAX_PERMITS).await
    }

    /// A receiver that answers only after a release.
    pub async fn start_waiting() -> Self {
        Self::start_with(0).await
    }

    async fn start_with(answers: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let status = Arc::new(Mutex::new(StatusCode::OK));
        let headers = Arc::new(Mutex::new(HeaderMap::new()));
        let further = Arc::clone(&headers);
        let may_answer = Arc::new(Semaphore::new(answers));
        let (sender, received) = mpsc::unbounded_channel();
        let (answer, gate) = (Arc::clone(&status), Arc::clone(&may_answer));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (sender, answer, gate) = (sender.clone(), Arc::clone(&answer), Arc::clone(&gate));
                let further = Arc::clone(&further);
                let service = service_fn(move |request| {
                    let (sender, answer, gate) = (sender.clone(), Arc::clone(&answer), Arc::clone(&gate));
                    let further = Arc::clone(&further);
                    async move {
                        let mut response = receive(request, &sender, &answer, &gate).await?;
                        response.headers_mut().extend(further.lock().unwrap().clone());
                        Ok::<_, Infallible>(response)
                    }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { url, status, headers, may_answer, received }
    }

    /// Waits for the next request.
    pub async fn next(&mut self) -> Received {
        self.received.recv().await.unwrap()
    }

    /// Whether there is no further request.
    pub fn is_quiet(&mut self) -> bool {
        self.received.try_recv().is_err()
    }

    /// Adds a header to its responses.
    pub fn header(&self, name: &'static str, value: &'static str) {
        self.headers.lock().unwrap().insert(name, http::HeaderValue::from_static(value));
    }

    /// Sets the status of its responses.
    pub fn answer(&self, status: u16) {
        *self.status.lock().unwrap() = StatusCode::from_u16(status).unwrap();
    }
}

async fn receive(
    request: Request<Incoming>,
    sender: &mpsc::UnboundedSender<Received>,
    answer: &Mutex<StatusCode>,
    gate: &Semaphore,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let _ = sender.send(Received { method: parts.method, headers: parts.headers, body });
    gate.acquire().await.unwrap().forget();
    let status = *answer.lock().unwrap();
    let mut response = Response::new(Full::from(format!("answered {}", status.as_u16())));
    *response.status_mut() = status;
    Ok(response)
}

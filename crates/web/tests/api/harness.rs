//! A service under test, with its own data directory and port, and a client for it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tidings_app::accounts::provision;
use tidings_channels::ChannelContext;
use tidings_channels::egress::{Egress, Guard};
use tidings_domain::access::Actor;
use tidings_domain::id::{ApiKeyId, Id, WorkspaceId};
use tidings_engine::clock::{Clock, ManualClock, SystemClock, new_id};
use tidings_engine::queue::Limits;
use tidings_engine::settings::{SettingsLimits, instance};
use tidings_engine::snapshot::api_key_hash;
use tidings_engine::vault::Vault;
use tidings_engine::{Engine, Options};
use tidings_monitor::{Prober, ProberConfig};
use tidings_store::Store;
use tidings_store::settings::ApiKey;
use tidings_store::sqlite::SqliteStore;
use tidings_web::{Shutdown, WebSettings};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// A running service with two workspaces, `default` and `other`.
pub struct Service {
    pub address: SocketAddr,
    /// The id of the workspace `default`.
    pub workspace_id: WorkspaceId,
    /// An API key of `default` with write access.
    pub key: String,
    /// A read-only API key of `default`.
    pub read_only_key: String,
    /// An API key of `other`.
    pub other_key: String,
    /// Makes `/readyz` fail when requested.
    pub shutdown: Shutdown,
    /// For tests that set the clock.
    pub engine: Engine,
    /// For tests that close it.
    pub store: Arc<dyn Store>,
    client: Client<HttpConnector, Full<Bytes>>,
    stop: Option<oneshot::Sender<()>>,
    _directory: tempfile::TempDir,
}

/// A response.
#[derive(Debug)]
pub struct ApiResponse {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl ApiResponse {
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The body as JSON, `null` if it is empty. Panics on another status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        if self.text.is_empty() { Value::Null } else { self.json() }
    }

    /// Asserts that it is a problem of this status and code. Returns the pointers of its errors.
    #[track_caller]
    pub fn problem(self, status: u16, code: &str) -> Vec<String> {
        assert_eq!(self.headers["content-type"], "application/problem+json", "{}", self.text);
        let header_status = self.status.as_u16();
        let body = self.expect(status);
        assert_eq!((&body["code"], &body["status"]), (&code.into(), &header_status.into()), "{body}");
        assert!(body["type"].is_string() && body["title"].is_string() && body["detail"].is_string(), "{body}");
        let errors = body["errors"].as_array().cloned().unwrap_or_default();
        assert!(errors.iter().all(|error| error["detail"].as_str().is_some_and(|detail| !detail.is_empty())), "{body}");
        errors.iter().map(|error| error["pointer"].as_str().unwrap().to_owned()).collect()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

impl Service {
    /// With default limits.
    pub async fn start() -> Self {
        Self::start_with(Options::default(), Arc::new(SystemClock::default())).await
    }

    /// With this quota of shared channels.
    pub async fn start_with_quota(channels_max: u32) -> Self {
        let settings = SettingsLimits { channels_max, ..SettingsLimits::default() };
        Self::start_with(Options { settings, ..Options::default() }, Arc::new(SystemClock::default())).await
    }

    /// With a clock that moves only when the test moves it.
    pub async fn start_at(clock: Arc<ManualClock>) -> Self {
        Self::start_with(Options::default(), clock).await
    }

    /// With one send slot, so that a second delivery waits for the first.
    pub async fn start_slow() -> Self {
        let limits = Limits { node_slots: 1, channel_slots: 1, guaranteed_slots: 1, ..Limits::default() };
        Self::start_with(Options { limits, ..Options::default() }, Arc::new(SystemClock::default())).await
    }

    /// With these options and this clock.
    pub async fn start_with(options: Options, clock: Arc<dyn Clock>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(directory.path()).unwrap());
        let vault = Arc::new(Vault::new(&[7; 32]));
        instance::verify_secret_key(store.as_ref(), &vault, clock.as_ref()).await.unwrap().unwrap();
        let make = async |slug| provision::create_workspace(store.as_ref(), clock.as_ref(), slug, None).await.unwrap();
        let (workspace, key) = make(instance::DEFAULT_WORKSPACE).await;
        let (_, other_key) = make("other").await;
        let workspace_id = workspace.id;
        let read_only_key = "tdg_read_only_0123456789abcdef0123456789".to_owned();
        store.add_api_key(read_only(workspace_id, &read_only_key, clock.as_ref()), vec![]).await.unwrap();

        let guard = Guard { allow: vec!["127.0.0.0/8".parse().unwrap()], allow_http: false };
        let environment = ChannelContext::new(Arc::new(Egress::new(guard)));
        let engine = Engine::start(Arc::clone(&store), environment, vault, Arc::clone(&clock), options).await.unwrap();
        let shutdown = Shutdown::default();
        let watched = Guard { allow: vec!["127.0.0.0/8".parse().unwrap()], allow_http: true };
        let settings = WebSettings {
            clock,
            metrics: Arc::new(|| "# nothing\n".to_owned()),
            shutdown: shutdown.clone(),
            prober: Arc::new(Prober::new(ProberConfig::of_system(watched))),
            trusted_proxies: vec!["127.0.0.1/32".parse().unwrap()],
            public_url: Some("https://tidings.example.com/".to_owned()),
        };
        let router = tidings_web::router(engine.clone(), settings);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        tokio::spawn(tidings_web::serve(listener, router, async { drop(stopped.await) }, Duration::from_secs(5)));
        Self {
            address,
            workspace_id,
            key: key.expose().to_owned(),
            read_only_key,
            other_key: other_key.expose().to_owned(),
            shutdown,
            engine,
            store,
            client: Client::builder(TokioExecutor::new()).build_http(),
            stop: Some(stop),
            _directory: directory,
        }
    }

    /// Waits until everything is done that is due at the clock's instant.
    pub async fn settle(&self) {
        self.engine.on_clock_changed();
        self.engine.wait_until_idle().await;
    }

    /// GET in the workspace `default` with its key.
    pub async fn get(&self, path: &str) -> ApiResponse {
        self.send("GET", path, None).await
    }

    /// POST of JSON in `default`.
    pub async fn post(&self, path: &str, body: &Value) -> ApiResponse {
        self.send("POST", path, Some(body)).await
    }

    /// PATCH of JSON in `default`.
    pub async fn patch(&self, path: &str, body: &Value) -> ApiResponse {
        self.send("PATCH", path, Some(body)).await
    }

    /// PUT of JSON in `default`.
    pub async fn put(&self, path: &str, body: &Value) -> ApiResponse {
        self.send("PUT", path, Some(body)).await
    }

    /// DELETE in `default`.
    pub async fn delete(&self, path: &str) -> ApiResponse {
        self.send("DELETE", path, None).await
    }

    /// POST of bytes in `default`.
    pub async fn post_raw(&self, path: &str, content_type: &str, body: impl Into<Bytes>) -> ApiResponse {
        let request = self.request("POST", path).header("content-type", content_type);
        self.execute(request.body(Full::new(body.into())).unwrap()).await
    }

    /// Sends a request to the workspace `default` with its key.
    pub async fn send(&self, method: &str, path: &str, body: Option<&Value>) -> ApiResponse {
        let mut request = self.request(method, path);
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let body = body.map(Value::to_string).unwrap_or_default();
        self.execute(request.body(Full::from(body)).unwrap()).await
    }

    /// Begins a request to the workspace `default` with its key.
    pub fn request(&self, method: &str, path: &str) -> http::request::Builder {
        let path = format!("/api/workspaces/default{path}");
        self.bare(method, &path).header("authorization", format!("Bearer {}", self.key))
    }

    /// Begins a request without a key; `path` is complete.
    pub fn bare(&self, method: &str, path: &str) -> http::request::Builder {
        Request::builder().method(method).uri(format!("http://{}{path}", self.address))
    }

    /// Sends a request.
    pub async fn execute(&self, request: Request<Full<Bytes>>) -> ApiResponse {
        let (parts, body) = self.client.request(request).await.unwrap().into_parts();
        // A stream of events has no end.
        let is_stream = parts.headers.get("content-type").is_some_and(|kind| kind == "text/event-stream");
        let bytes = if is_stream { Bytes::new() } else { body.collect().await.unwrap().to_bytes() };
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        ApiResponse { status: parts.status, headers: parts.headers, text }
    }

    /// Creates a rule of the flow `f1` with a webhook channel of its own, and returns its id.
    pub async fn rule_to(&self, url: &str) -> String {
        let rule = serde_json::json!({
            "resourceType": "flow", "resourceId": "f1", "triggers": ["success", "failure"],
            "channelType": "webhook", "url": url,
        });
        self.post("/notification-rules", &rule).await.expect(201)["rule"]["id"].as_str().unwrap().to_owned()
    }

    /// Reports a failed run of the flow `f1`.
    pub async fn failed(&self, run_id: &str) -> Value {
        let run = serde_json::json!({
            "resourceType": "flow", "resourceId": "f1", "runId": run_id, "status": "failure",
        });
        self.post("/runs", &run).await.expect(202)
    }

    /// The deliveries of a run, once each has one of these statuses.
    pub async fn settled(&self, run_id: &str, wanted: &[&str]) -> Vec<Value> {
        for _ in 0..1_000 {
            let page = self.get(&format!("/deliveries?q={run_id}")).await.expect(200);
            let deliveries = page["data"].as_array().unwrap();
            let is_there = |delivery: &Value| wanted.contains(&delivery["status"].as_str().unwrap());
            if !deliveries.is_empty() && deliveries.iter().all(is_there) {
                return deliveries.clone();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the deliveries of {run_id} did not become {wanted:?}");
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
    }
}

fn read_only(workspace_id: WorkspaceId, key: &str, clock: &dyn Clock) -> ApiKey {
    let now = clock.now();
    let id: ApiKeyId = new_id(clock, now);
    ApiKey {
        id,
        workspace_id,
        name: "reader".into(),
        hash: api_key_hash(key),
        read_only: true,
        created_by: Actor::system(),
        created_at: now,
        expires_at: None,
    }
}

/// An unknown id of this type.
pub fn unknown_id<T: Id + std::fmt::Display>() -> String {
    T::from_bytes([0x11; 16]).to_string()
}

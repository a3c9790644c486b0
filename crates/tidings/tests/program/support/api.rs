//! A client of the API, with shortcuts for what most tests do.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::eventually;
use super::receiver::Receiver;
use super::wire::{self, Message, Wire};

/// A client with one key in one workspace. Every request has a connection of its own.
#[derive(Clone)]
pub struct Api {
    address: SocketAddr,
    key: String,
    workspace: String,
    received: Arc<Mutex<Vec<u8>>>,
}

/// A response.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    message: Message,
}

impl Answer {
    fn of(message: Message) -> Self {
        let status = message.first.split(' ').nth(1).and_then(|word| word.parse().ok());
        Self { status: status.unwrap_or_else(|| panic!("no status in {:?}", message.first)), message }
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.message.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.message.body).into_owned()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.message.header(name)
    }

    /// The body as JSON, `null` if it is empty. Panics on another status.
    #[track_caller]
    pub fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        if self.message.body.is_empty() { Value::Null } else { self.json() }
    }

    /// Asserts that it is a problem of this status and code. Returns the pointers of its errors.
    #[track_caller]
    pub fn expect_problem(&self, status: u16, code: &str) -> Vec<String> {
        let problem = self.expect(status);
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{problem}");
        assert_eq!((&problem["code"], &problem["status"]), (&json!(code), &json!(status)), "{problem}");
        let errors = problem["errors"].as_array().into_iter().flatten();
        errors.map(|error| error["pointer"].as_str().unwrap_or_default().to_owned()).collect()
    }
}

impl Api {
    /// In the workspace `default`.
    pub fn new(address: SocketAddr, key: &str) -> Self {
        let (key, workspace) = (key.to_owned(), "default".to_owned());
        Self { address, key, workspace, received: Arc::default() }
    }

    /// The same in another workspace.
    pub fn within(self, workspace: &str) -> Self {
        Self { workspace: workspace.to_owned(), ..self }
    }

    /// The same with another server.
    pub fn at(self, address: SocketAddr) -> Self {
        Self { address, ..self }
    }

    /// The path of the workspace.
    pub fn base(&self) -> String {
        format!("/api/workspaces/{}", self.workspace)
    }

    /// Headers and bodies of every response to this client and its clones.
    pub fn received(&self) -> Vec<u8> {
        self.received.lock().unwrap().clone()
    }

    /// Sends a request; `target` is the complete path.
    #[track_caller]
    pub fn send(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let authorization = format!("Bearer {}", self.key);
        let ours = [("authorization", authorization.as_str()), ("connection", "close")];
        let request = wire::request(method, target, &[&ours, headers].concat(), body);
        let answered = Wire::connect(self.address).and_then(|mut wire| wire.exchange(&request));
        let message = answered.unwrap_or_else(|error| panic!("{method} {target}: {error}"));
        let mut received = self.received.lock().unwrap();
        received.extend(format!("{:?}", message.headers).as_bytes());
        received.extend(&message.body);
        Answer::of(message)
    }

    /// Sends a request as it is.
    #[track_caller]
    pub fn raw(address: SocketAddr, request: &[u8]) -> Answer {
        let answered = Wire::connect(address).and_then(|mut wire| wire.exchange(request));
        Answer::of(answered.unwrap_or_else(|error| panic!("{error}")))
    }

    fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let target = format!("{}{path}", self.base());
        match body {
            None => self.send(method, &target, &[], b""),
            Some(body) => {
                self.send(method, &target, &[("content-type", "application/json")], body.to_string().as_bytes())
            }
        }
    }

    /// GET, below the workspace.
    #[track_caller]
    pub fn get(&self, path: &str) -> Answer {
        self.call("GET", path, None)
    }

    /// GET, from the root.
    #[track_caller]
    pub fn get_root(&self, target: &str) -> Answer {
        self.send("GET", target, &[], b"")
    }

    /// POST, below the workspace.
    #[track_caller]
    pub fn post(&self, path: &str, body: Value) -> Answer {
        self.call("POST", path, Some(&body))
    }

    /// PATCH, below the workspace.
    #[track_caller]
    pub fn patch(&self, path: &str, body: Value) -> Answer {
        self.call("PATCH", path, Some(&body))
    }

    /// PUT, below the workspace.
    #[track_caller]
    pub fn put(&self, path: &str, body: Value) -> Answer {
        self.call("PUT", path, Some(&body))
    }

    /// DELETE, below the workspace.
    #[track_caller]
    pub fn delete(&self, path: &str) -> Answer {
        self.call("DELETE", path, None)
    }

    /// Creates a channel and returns its id.
    #[track_caller]
    pub fn make_channel(&self, body: Value) -> String {
        id(&self.post("/channels", body).expect(201)["channel"])
    }

    /// Creates a webhook channel to this receiver with these policies, and returns its id.
    #[track_caller]
    pub fn make_webhook(&self, receiver: &Receiver, policies: Value) -> String {
        let mut body = json!({"name": "a webhook", "type": "webhook", "config": {"url": receiver.url()}});
        let policies = policies.as_object().cloned().unwrap_or_default();
        body.as_object_mut().unwrap().extend(policies);
        self.make_channel(body)
    }

    /// Creates a rule for failures of the job through the channel, and returns its id.
    #[track_caller]
    pub fn make_rule(&self, job: &str, channel: &str) -> String {
        let body = json!({"resourceType": "job", "resourceId": job, "triggers": ["failure"], "channelId": channel});
        id(&self.post("/notification-rules", body).expect(201)["rule"])
    }

    /// Reports a failed run of the job, and returns the event's id.
    #[track_caller]
    pub fn fail(&self, job: &str, run: &str) -> String {
        let accepted = self.post("/runs", failed(job, run)).expect(202);
        assert_eq!(accepted["duplicate"], false, "{accepted}");
        accepted["eventId"].as_str().unwrap().to_owned()
    }

    /// The event's only delivery, with its attempts.
    #[track_caller]
    pub fn delivery(&self, event: &str) -> Value {
        let event = self.get(&format!("/events/{event}")).expect(200);
        let deliveries = event["deliveries"].as_array().unwrap();
        assert_eq!(deliveries.len(), 1, "{event}");
        deliveries[0].clone()
    }

    /// The event's only delivery, once it has this status.
    #[track_caller]
    pub fn delivery_once(&self, event: &str, status: &str) -> Value {
        eventually(&format!("the delivery is {status}"), || {
            let delivery = self.delivery(event);
            let settled = ["sent", "failed", "suppressed", "skipped"].contains(&delivery["status"].as_str().unwrap());
            let is_reached = delivery["status"] == status;
            assert!(is_reached || !settled, "it will never be {status}: {delivery}");
            is_reached.then_some(delivery)
        })
    }

    /// The event's only delivery, once this number of attempts is recorded.
    #[track_caller]
    pub fn delivery_after_attempts(&self, event: &str, times: usize) -> Value {
        eventually(&format!("{times} attempts are recorded"), || {
            let delivery = self.delivery(event);
            (delivery["attemptCount"] == times && delivery["status"] != "sending").then_some(delivery)
        })
    }

    /// All deliveries that match the query, from all pages.
    #[track_caller]
    pub fn deliveries(&self, query: &str) -> Vec<Value> {
        let mut all = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = self.get(&format!("/deliveries?limit=200{query}{cursor}")).expect(200);
            all.extend(page["data"].as_array().unwrap().iter().cloned());
            match page["nextCursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return all,
            }
        }
    }

    /// Waits until no delivery is pending or sending.
    #[track_caller]
    pub fn wait_until_settled(&self) {
        eventually("everything is settled", || {
            let waiting = ["pending", "sending"].into_iter().any(|status| {
                let page = self.get(&format!("/deliveries?limit=1&status={status}")).expect(200);
                page["data"].as_array().is_some_and(|rows| !rows.is_empty())
            });
            (!waiting).then_some(())
        });
    }
}

/// The id in a response.
#[track_caller]
pub fn id(body: &Value) -> String {
    body["id"].as_str().unwrap_or_else(|| panic!("no id in {body}")).to_owned()
}

/// The body that reports a failed run.
pub fn failed(job: &str, run: &str) -> Value {
    json!({"resourceType": "job", "resourceId": job, "runId": run, "status": "failure", "errorMessage": "disk full"})
}

//! The change feed: server-sent events over a raw connection.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::Service;

/// Longer than any wait in these tests takes.
const TIMEOUT: Duration = Duration::from_secs(20);

/// An open stream.
struct Feed {
    stream: TcpStream,
    read: Vec<u8>,
    head: String,
}

#[derive(Debug)]
struct Event {
    name: String,
    id: String,
    data: Value,
}

impl Feed {
    async fn open(service: &Service, query: &str, last_id: Option<&str>) -> Self {
        Self::open_with(service, &service.key, query, last_id).await
    }

    async fn open_with(service: &Service, key: &str, query: &str, last_id: Option<&str>) -> Self {
        let mut stream = TcpStream::connect(service.address).await.unwrap();
        let last_id = last_id.map(|id| format!("last-event-id: {id}\r\n")).unwrap_or_default();
        let request = format!(
            "GET /api/workspaces/default/changes{query} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n\
             {last_id}\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut feed = Self { stream, read: Vec::new(), head: String::new() };
        feed.head = feed.until("\r\n\r\n").await.expect("it answers");
        feed
    }

    /// What is read up to the first of these texts; `None` at the end of the stream.
    async fn until(&mut self, end: &str) -> Option<String> {
        loop {
            let text = String::from_utf8_lossy(&self.read).into_owned();
            if let Some((before, _)) = text.split_once(end) {
                self.read.drain(..before.len() + end.len());
                return Some(before.to_owned());
            }
            let read = tokio::time::timeout(TIMEOUT, self.stream.read_buf(&mut self.read)).await.expect("in time");
            if read.unwrap() == 0 {
                return None;
            }
        }
    }

    /// The next event; `None` if the stream ends. Lines of the chunked coding are passed over.
    async fn next(&mut self) -> Option<Event> {
        let text = self.until("\n\n").await?;
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
            line.unwrap_or_else(|| panic!("no {name} in {text}")).to_owned()
        };
        let data = serde_json::from_str(&field("data")).unwrap();
        Some(Event { name: field("event"), id: field("id"), data })
    }

    /// Reads changes until all of these topics were named.
    async fn named(&mut self, topics: &[&str]) -> Event {
        let mut missing = topics.to_vec();
        loop {
            let event = self.next().await.expect("the stream goes on");
            assert_eq!(event.name, "changed");
            missing.retain(|topic| !event.data["topics"].as_array().unwrap().contains(&json!(topic)));
            if missing.is_empty() {
                return event;
            }
        }
    }
}

#[tokio::test]
async fn changes_are_streamed_by_topic() {
    let service = Service::start().await;
    let mut feed = Feed::open(&service, "", None).await;
    assert!(feed.head.starts_with("HTTP/1.1 200 OK"), "{}", feed.head);
    for header in ["content-type: text/event-stream", "cache-control: no-store, no-transform", "x-accel-buffering: no"]
    {
        assert!(feed.head.contains(header), "{}", feed.head);
    }
    assert_eq!(feed.next().await.unwrap().name, "ready");
    service.rule_to("https://example.com/hook").await;
    feed.named(&["configuration"]).await;
    service.failed("run-1").await;
    let last = feed.named(&["runs", "deliveries"]).await;
    assert_eq!(last.data.as_object().unwrap().keys().collect::<Vec<_>>(), ["topics"], "no content");

    let mut of_one = Feed::open(&service, "?topics=incidents,checks", None).await;
    assert_eq!(of_one.next().await.unwrap().name, "ready");
    service.failed("run-2").await;
    let endpoint = crate::endpoints::made(&service, json!({})).await;
    let check = format!("/endpoints/{}/checks", endpoint["id"].as_str().unwrap());
    service.post(&check, &json!({"status": "down"})).await.expect(202);
    assert_eq!(of_one.next().await.unwrap().data, json!({"topics": ["checks"]}));
    assert_eq!(service.get("/changes?topics=everything&since=1").await.problem(422, "invalid").len(), 2);
}

#[tokio::test]
async fn stream_resumes_after_its_last_event() {
    let service = Service::start().await;
    service.rule_to("https://example.com/hook").await;
    let mut feed = Feed::open(&service, "", None).await;
    let first = feed.next().await.unwrap();
    drop(feed);
    service.failed("run-1").await;
    let mut again = Feed::open(&service, "", Some(&first.id)).await;
    assert_eq!(again.next().await.unwrap().name, "ready");
    again.named(&["runs"]).await;
    for unknown in ["1-1", "nothing", ""] {
        let mut other = Feed::open(&service, "", Some(unknown)).await;
        assert_eq!(other.next().await.unwrap().name, "reset", "{unknown}: it may have missed anything");
    }
}

#[tokio::test]
async fn stream_ends_when_its_key_is_revoked_or_the_node_stops() {
    let service = Service::start().await;
    let mut revoked = Feed::open_with(&service, &service.read_only_key, "", None).await;
    let mut kept = Feed::open(&service, "", None).await;
    for feed in [&mut revoked, &mut kept] {
        assert_eq!(feed.next().await.unwrap().name, "ready");
    }
    let keys = service.store.workspaces().await.unwrap();
    let keys = keys.iter().find(|record| record.workspace.id == service.workspace_id).unwrap().api_keys.clone();
    let read_only = keys.iter().find(|key| key.read_only).unwrap().id;
    service.store.delete_api_key(service.workspace_id, read_only, vec![]).await.unwrap();
    service.engine.refresh_config().await.unwrap();
    while revoked.next().await.is_some() {}

    service.rule_to("https://example.com/hook").await;
    kept.named(&["configuration"]).await;
    service.shutdown.request();
    while kept.next().await.is_some() {}
}

#[tokio::test]
async fn streams_of_one_key_are_limited() {
    let service = Service::start().await;
    let mut open = Vec::new();
    loop {
        let mut feed = Feed::open(&service, "", None).await;
        if !feed.head.starts_with("HTTP/1.1 200 OK") {
            assert!(feed.head.starts_with("HTTP/1.1 503"), "{}", feed.head);
            break;
        }
        feed.next().await.unwrap();
        open.push(feed);
    }
    assert_eq!(open.len(), 8);
    let mut other = Feed::open_with(&service, &service.read_only_key, "", None).await;
    assert_eq!(other.next().await.unwrap().name, "ready", "another key has streams of its own");
    drop(open);
    // The server notices that the clients are gone when it reads their connections.
    for _ in 0..500 {
        if Feed::open(&service, "", None).await.head.starts_with("HTTP/1.1 200 OK") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the streams were not given back");
}

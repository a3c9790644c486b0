//! Many mails at once to a server that allows a client few connections: all arrive, at the server's own pace.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustls::RootCertStore;
use serde_json::json;
use tidings_channels::{ChannelContext, Notifier, OutboundMessage};
use tidings_domain::delivery::Outcome;
use tidings_domain::event::Event;
use tidings_domain::id::{Id as _, WorkspaceId};
use tidings_domain::severity::Severity;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::support::{channel, event, local_context, message, own_server};

/// How long the server takes for a mail.
const MAIL: Duration = Duration::from_millis(50);

/// A server that answers a connection beyond its limit with 421.
#[derive(Default)]
struct Limited {
    connections_max: AtomicUsize,
    open: AtomicUsize,
    refusals: AtomicUsize,
    connections: AtomicUsize,
    /// The recipients of the mails, in order, and the time that the server took for all of them.
    mails: Mutex<(Vec<String>, Duration)>,
}

impl Limited {
    async fn start(connections_max: usize) -> (Arc<Self>, u16) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = Arc::new(Self { connections_max: connections_max.into(), ..Self::default() });
        let started = server.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let server = server.clone();
                let connections_max = server.connections_max.load(Ordering::SeqCst);
                if server.open.fetch_add(1, Ordering::SeqCst) >= connections_max {
                    server.open.fetch_sub(1, Ordering::SeqCst);
                    server.refusals.fetch_add(1, Ordering::SeqCst);
                    let _ = stream.write_all(b"421 4.7.0 too many connections\r\n").await;
                    continue;
                }
                server.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    server.serve(stream).await;
                    server.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        (started, port)
    }

    async fn serve(&self, stream: TcpStream) {
        let mut stream = BufReader::new(stream);
        let _ = stream.write_all(b"220 hi\r\n").await;
        let mut recipient = String::new();
        let mut line = String::new();
        loop {
            line.clear();
            if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
                return;
            }
            let reply = match line.get(..4) {
                Some("RCPT") => {
                    recipient = line.trim_end().to_owned();
                    "250 ok\r\n"
                }
                Some("DATA") => {
                    let _ = stream.write_all(b"354 go on\r\n").await;
                    let started = Instant::now();
                    while line != ".\r\n" {
                        line.clear();
                        if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
                            return;
                        }
                    }
                    sleep(MAIL).await;
                    let mut mails = self.mails.lock().await;
                    mails.0.push(recipient.clone());
                    mails.1 += started.elapsed();
                    "250 taken\r\n"
                }
                Some("QUIT") => {
                    let _ = stream.write_all(b"221 bye\r\n").await;
                    return;
                }
                _ => "250 ok\r\n",
            };
            if stream.write_all(reply.as_bytes()).await.is_err() {
                return;
            }
        }
    }
}

fn notifier(recipient: &str, port: u16, context: &ChannelContext) -> Arc<dyn Notifier> {
    channel(own_server(&[recipient], port, json!({"tls": "none"})), context)
}

fn event_of(workspace: u8) -> Event {
    Event { workspace_id: WorkspaceId::from_bytes([workspace; 16]), ..event() }
}

/// Delivers as the queue does: what was not started is due again after a while. Returns the attempts that counted.
async fn deliver(notifier: &dyn Notifier, event: &Event) -> u32 {
    for attempts in 1.. {
        let result = loop {
            let timeout = Duration::from_secs(5);
            let result = notifier.deliver(&OutboundMessage { timeout, ..message(event, Severity::Warning) }).await;
            match result.outcome {
                Outcome::NotStarted { after_ms } => sleep(Duration::from_millis(after_ms)).await,
                _ => break result,
            }
        };
        if result.is_delivered() {
            return attempts;
        }
    }
    unreachable!()
}

/// 100 mails of 25 channels in 5 workspaces, 4 at once of each channel.
#[tokio::test]
async fn burst_arrives_at_the_pace_of_the_server_with_few_refusals() {
    for connections_max in [3, 2, 1] {
        let (server, port) = Limited::start(connections_max).await;
        let context = local_context(RootCertStore::empty());
        let started = Instant::now();
        let mut deliveries = JoinSet::new();
        for number in 0..25_u8 {
            let notifier = notifier(&format!("c{number}@example.com"), port, &context);
            for _ in 0..4 {
                let notifier = notifier.clone();
                deliveries.spawn(async move { deliver(&*notifier, &event_of(number % 5)).await });
            }
        }
        let attempts = deliveries.join_all().await;
        let elapsed = started.elapsed();
        let (mails, busy) = &*server.mails.lock().await;
        assert_eq!(mails.len(), 100, "each arrives once");
        assert!(attempts.iter().all(|attempts| *attempts == 1), "no delivery used up a retry: {attempts:?}");
        let pace = *busy / u32::try_from(connections_max).unwrap();
        let refusals = server.refusals.load(Ordering::SeqCst);
        println!("{connections_max} connections: {elapsed:?} at a pace of {pace:?}, {refusals} refusals");
        assert!(refusals <= 10, "{refusals} refusals");
        assert!(elapsed < pace.mul_f64(1.5), "{elapsed:?} at a pace of {pace:?} with {connections_max} connections");
        let connections = server.connections.load(Ordering::SeqCst);
        assert!(connections <= 10, "each connection carries several mails: {connections}");
    }
}

/// One tenant's burst does not delay another's mail by more than its turn.
#[tokio::test]
async fn connections_are_given_out_in_turns_between_workspaces_and_channels() {
    let (server, port) = Limited::start(3).await;
    let context = local_context(RootCertStore::empty());
    let mut deliveries = JoinSet::new();
    for number in 0..10 {
        let notifier = notifier(&format!("burst{number}@example.com"), port, &context);
        for _ in 0..4 {
            let notifier = notifier.clone();
            deliveries.spawn(async move { deliver(&*notifier, &event_of(1)).await });
        }
    }
    while server.mails.lock().await.0.len() < 3 {
        sleep(Duration::from_millis(5)).await;
    }
    let quiet = notifier("quiet@example.com", port, &context);
    deliver(&*quiet, &event_of(2)).await;
    let before = server.mails.lock().await.0.iter().position(|recipient| recipient.contains("quiet")).unwrap();
    assert!(before <= 3 + 6, "it waited for {before} mails of another workspace");
    deliveries.join_all().await;
}

/// A test is one attempt, whatever the server answers, and does not wait for the end of a pause.
#[tokio::test]
async fn test_is_sent_although_the_server_is_paused() {
    use tidings_domain::event::EventKind;
    let (server, port) = Limited::start(0).await;
    let context = local_context(RootCertStore::empty());
    let notifier = notifier("a@example.com", port, &context);
    let test = Event { kind: EventKind::ChannelTest, ..event() };
    let refused = notifier.deliver(&message(&test, Severity::Info)).await;
    assert_eq!((refused.outcome, refused.http_status), (Outcome::Retry { after_ms: None }, Some(421)), "{refused:?}");
    assert_eq!(server.refusals.load(Ordering::SeqCst), 1);
    // Each refusal makes the pause longer, until it outlasts what a delivery waits.
    let mut attempts = 0;
    while !matches!(
        notifier.deliver(&message(&event(), Severity::Warning)).await.outcome,
        Outcome::NotStarted { after_ms: 1_000.. }
    ) {
        attempts += 1;
        assert!(attempts < 5, "what cannot get a connection in time is no attempt");
    }

    server.connections_max.store(3, Ordering::SeqCst);
    let sent = notifier.deliver(&message(&test, Severity::Info)).await;
    assert_eq!(sent.outcome, Outcome::Delivered, "{sent:?}");
    let sent = notifier.deliver(&message(&event(), Severity::Warning)).await;
    assert_eq!(sent.outcome, Outcome::Delivered, "a mail that was taken ends the pause: {sent:?}");
}

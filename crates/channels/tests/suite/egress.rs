//! The way out against receivers that hang, drip, flood, lie, close and redirect.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::{
    self, Names, Receiver, SURELY, TIMEOUT, environment, failed, letter, loopback, read_request, stored,
};
use rustls::RootCertStore;
use serde_json::json;
use tidings_channels::egress::{Egress, Guard};
use tidings_channels::{AttemptResult, ChannelContext, ErrorClass, registry};
use tidings_domain::channel::ChannelType;
use tidings_domain::delivery::Outcome;
use tidings_domain::resource::ResourceType;
use tokio::io::AsyncWriteExt;
use tokio::sync::Notify;

/// One attempt of a webhook at this URL.
async fn attempt(url: &str, environment: &ChannelContext) -> AttemptResult {
    let stored = stored(ChannelType::Webhook, json!({"url": url}), environment);
    let destination = registry::plugin(ChannelType::Webhook).open(&stored, environment).unwrap();
    let event = failed(ResourceType::Flow);
    tokio::time::timeout(SURELY, destination.deliver(&letter(&event))).await.expect("within the timeout")
}

fn assert_failed(report: &AttemptResult, class: ErrorClass, words: &str) {
    assert_eq!(report.error_class, Some(class), "{report:?}");
    let error = report.error.as_deref().unwrap_or_default();
    assert!(error.contains(words), "{words:?} in {error:?}");
    assert!(matches!(report.outcome, Outcome::Retry { .. }), "{report:?}");
    assert!(!error.contains("/hook"), "no path: {error}");
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[tokio::test]
async fn what_receivers_say_is_classified() {
    let environment = environment(loopback());
    for (answer, class, words) in [
        ("HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n", ErrorClass::Status, "HTTP 502 Bad Gateway"),
        ("HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n", ErrorClass::Status, "HTTP 410 Gone"),
        (
            "HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/latest?token=x\r\ncontent-length: 0\r\n\r\n",
            ErrorClass::Redirect,
            "HTTP 302 Found: it redirects to 169.254.169.254; redirects are not followed",
        ),
        ("HTTP/1.1 301 Moved\r\nlocation: /x\r\ncontent-length: 0\r\n\r\n", ErrorClass::Redirect, "another path"),
        ("220 smtp.example.com ESMTP\r\n", ErrorClass::Protocol, "is no HTTP"),
        ("\u{1}\u{2}\u{3}\u{0}garbage\r\n\r\n", ErrorClass::Protocol, "is no HTTP"),
        ("HTTP/1.1 200 OK\r\ncontent-le", ErrorClass::Protocol, "closed the connection without an answer"),
        ("", ErrorClass::Protocol, "closed the connection without an answer"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nx", ErrorClass::Protocol, "is no HTTP"),
    ] {
        let receiver = Receiver::answering_once(answer).await;
        assert_failed(&attempt(&receiver.url(), &environment).await, class, words);
        assert_eq!(receiver.connections(), 1, "{answer}: nothing is tried twice, nowhere else is gone to");
    }
}

#[tokio::test]
async fn heads_are_bounded() {
    let environment = environment(loopback());
    let many = "x: y\r\n".repeat(101);
    let long = format!("x: {}\r\n", "y".repeat(100_000));
    for headers in [many, long] {
        let receiver = Receiver::answering(format!("HTTP/1.1 200 OK\r\n{headers}content-length: 0\r\n\r\n")).await;
        let report = attempt(&receiver.url(), &environment).await;
        assert_eq!(report.error_class, Some(ErrorClass::Protocol), "{report:?}");
    }
}

#[tokio::test]
async fn who_hangs_or_drips_ends_in_timeout() {
    let environment = environment(loopback());
    for receiver in [Receiver::hanging().await, Receiver::dripping("HTTP/1.1 200 OK\r\nx-slow: ").await] {
        assert_failed(&attempt(&receiver.url(), &environment).await, ErrorClass::Timeout, "no answer from 127.0.0.1");
    }
}

#[tokio::test]
async fn a_good_head_is_enough_whatever_becomes_of_the_body() {
    let environment = environment(loopback());
    let dripping = Receiver::dripping("HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n").await;
    let report = attempt(&dripping.url(), &environment).await;
    assert!(report.is_delivered(), "{report:?}");
    assert!(report.response_body.as_deref().is_some_and(|body| body.starts_with('x')), "what came of it is kept");

    let breaking = Receiver::answering_once("HTTP/1.1 204 No Content\r\ncontent-length: 50\r\n\r\nhalf").await;
    assert!(attempt(&breaking.url(), &environment).await.is_delivered());
    let half = Receiver::answering_once("HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nhalf").await;
    assert_eq!(attempt(&half.url(), &environment).await.response_body.as_deref(), Some("half"));
}

#[tokio::test]
async fn a_flood_is_read_to_a_cap() {
    let written = Arc::new(AtomicUsize::new(0));
    for head in ["HTTP/1.1 500 Oops\r\ncontent-length: 100000000\r\n\r\n", "HTTP/1.1 500 Oops\r\n\r\n"] {
        written.store(0, Ordering::SeqCst);
        let counter = written.clone();
        let receiver = Receiver::start(move |mut stream, _, _| {
            let counter = counter.clone();
            async move {
                read_request(&mut stream).await?;
                stream.write_all(head.as_bytes()).await?;
                for _ in 0..1_000 {
                    stream.write_all(&[b'z'; 100_000]).await?;
                    counter.fetch_add(100_000, Ordering::SeqCst);
                }
                Ok(())
            }
        })
        .await;
        let report = attempt(&receiver.url(), &environment(loopback())).await;
        assert_failed(&report, ErrorClass::Status, "HTTP 500");
        assert!(report.response_body.is_some_and(|body| body.len() <= 2_048 && body.ends_with('…')));
        assert!(written.load(Ordering::SeqCst) < 50_000_000, "the rest was not read");
    }
}

#[tokio::test]
async fn connections_are_kept_and_used_again() {
    let environment = environment(loopback());
    let receiver = Receiver::answering(OK).await;
    for _ in 0..3 {
        assert!(attempt(&receiver.url(), &environment).await.is_delivered());
    }
    assert_eq!(receiver.connections(), 3, "a destination that is gone takes its connections with it");

    let stored = stored(ChannelType::Webhook, json!({"url": receiver.url()}), &environment);
    let destination = registry::plugin(ChannelType::Webhook).open(&stored, &environment).unwrap();
    let event = failed(ResourceType::Flow);
    for _ in 0..5 {
        assert!(destination.deliver(&letter(&event)).await.is_delivered());
    }
    assert_eq!(receiver.connections(), 4, "one destination, one after the other: one connection");
}

#[tokio::test]
async fn a_kept_connection_that_was_closed_costs_nothing() {
    // Closed before the second request, and closed upon it: both go over a fresh connection.
    for answers_once in [true, false] {
        let closed = Arc::new(Notify::new());
        let told = closed.clone();
        let receiver = Receiver::start(move |mut stream, number, log| {
            let told = told.clone();
            async move {
                let request = read_request(&mut stream).await?;
                log.lock().unwrap().extend(request);
                stream.write_all(OK.as_bytes()).await?;
                if number == 1 && !answers_once {
                    read_request(&mut stream).await?;
                }
                drop(stream);
                told.notify_one();
                Ok(())
            }
        })
        .await;
        let environment = environment(loopback());
        let stored = stored(ChannelType::Webhook, json!({"url": receiver.url()}), &environment);
        let destination = registry::plugin(ChannelType::Webhook).open(&stored, &environment).unwrap();
        let event = failed(ResourceType::Flow);
        assert!(destination.deliver(&letter(&event)).await.is_delivered());
        if answers_once {
            closed.notified().await;
        }
        let report = destination.deliver(&letter(&event)).await;
        assert!(report.is_delivered(), "{report:?}");
        assert_eq!(receiver.connections(), 2);
    }
}

#[tokio::test]
async fn what_lies_idle_for_long_is_closed() {
    let gone = Arc::new(Notify::new());
    let told = gone.clone();
    let receiver = Receiver::start(move |mut stream, _, _| {
        let told = told.clone();
        async move {
            read_request(&mut stream).await?;
            stream.write_all(OK.as_bytes()).await?;
            // The next read ends when the peer closes.
            read_request(&mut stream).await?;
            told.notify_one();
            Ok(())
        }
    })
    .await;
    let environment = environment(loopback());
    let stored = stored(ChannelType::Webhook, json!({"url": receiver.url()}), &environment);
    let destination = registry::plugin(ChannelType::Webhook).open(&stored, &environment).unwrap();
    let event = failed(ResourceType::Flow);
    assert!(destination.deliver(&letter(&event)).await.is_delivered());
    // From here on time goes as fast as it can.
    tokio::time::pause();
    let begun = tokio::time::Instant::now();
    gone.notified().await;
    assert!(begun.elapsed() >= Duration::from_secs(30), "kept for a while: {:?}", begun.elapsed());
}

#[tokio::test]
async fn who_refuses_the_connection_is_named() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let report = attempt(&format!("http://{address}/hook"), &environment(loopback())).await;
    assert_failed(&report, ErrorClass::Connect, &format!("{address} refused the connection"));
}

fn with_names(guard: Guard, known: &[(&'static str, &[&str])]) -> (ChannelContext, Arc<Names>) {
    let parse = |list: &&[&str]| list.iter().map(|ip| std::net::SocketAddr::new(ip.parse().unwrap(), 0)).collect();
    let known = known.iter().map(|(name, list)| (*name, parse(list))).collect();
    let names = Arc::new(Names { known, asked: AtomicUsize::new(0) });
    (ChannelContext::new(Arc::new(Egress::with(guard, names.clone(), RootCertStore::empty()))), names)
}

#[tokio::test]
async fn names_are_judged_by_their_addresses() {
    let known: &[(&str, &[&str])] = &[
        ("metadata.example.com", &["169.254.169.254"]),
        ("mapped.example.com", &["::ffff:127.0.0.1"]),
        ("inside.example.com", &["10.0.0.1", "192.168.0.1"]),
        ("empty.example.com", &[]),
    ];
    let (environment, _) = with_names(Guard::default(), known);
    for (host, class, words) in [
        (
            "metadata.example.com",
            ErrorClass::TargetRefused,
            "metadata.example.com: 169.254.169.254 is the cloud metadata",
        ),
        ("mapped.example.com", ErrorClass::TargetRefused, "127.0.0.1 is a loopback address"),
        ("inside.example.com", ErrorClass::TargetRefused, "TIDINGS_ALLOW_TARGETS"),
        ("empty.example.com", ErrorClass::Dns, "has no address"),
        ("unknown.example.com", ErrorClass::Dns, "could not be resolved: name or service not known"),
    ] {
        assert_failed(&attempt(&format!("https://{host}/hook"), &environment).await, class, words);
    }
    let plain = Guard { allow: vec!["127.0.0.0/8".parse().unwrap()], allow_http: false };
    let (environment, _) = with_names(plain, &[("public.example.com", &["8.8.8.8"])]);
    let report = attempt("http://public.example.com/hook", &environment).await;
    assert_failed(&report, ErrorClass::TargetRefused, "no target for http without TLS");
}

#[tokio::test]
async fn a_name_is_asked_once_and_the_address_that_passed_is_connected_to() {
    let receiver = Receiver::answering(OK).await;
    let (environment, names) = with_names(loopback(), &[("mixed.example.com", &["10.0.0.1", "127.0.0.1"])]);
    let url = format!("http://mixed.example.com:{}/hook", receiver.address.port());
    assert!(attempt(&url, &environment).await.is_delivered(), "the address that is refused is passed over");
    assert_eq!(names.asked.load(Ordering::SeqCst), 1, "no second answer to rebind with");
    let (head, _) = receiver.request();
    assert_eq!(support::header(&head, "host"), Some(&*format!("mixed.example.com:{}", receiver.address.port())));
}

#[tokio::test]
async fn raw_connections_are_guarded_unless_trusted() {
    let receiver = Receiver::hanging().await;
    let (host, port) = ("127.0.0.1", receiver.address.port());
    let egress = Egress::with(Guard::default(), Arc::new(Names::default()), RootCertStore::empty());
    let refused = egress.connect(host, port, TIMEOUT).await.unwrap_err();
    assert_eq!(refused.class, ErrorClass::TargetRefused);
    assert!(egress.connect("[::1]", port, TIMEOUT).await.is_err_and(|e| e.class == ErrorClass::TargetRefused));
    assert!(egress.connect_trusted(host, port, TIMEOUT).await.is_ok());
}

#[tokio::test]
async fn a_resolver_that_hangs_ends_in_timeout() {
    struct Never;
    #[async_trait::async_trait]
    impl tidings_channels::egress::Resolve for Never {
        async fn resolve(&self, _: &str, _: u16) -> std::io::Result<Vec<std::net::SocketAddr>> {
            std::future::pending().await
        }
    }
    let egress = Egress::with(Guard::default(), Arc::new(Never), RootCertStore::empty());
    let error = egress.connect("example.com", 25, Duration::from_millis(50)).await.unwrap_err();
    assert_eq!((error.class, error.message.contains("not resolved in time")), (ErrorClass::Timeout, true), "{error}");
}

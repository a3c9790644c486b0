//! Egress against receivers that hang, trickle, flood, close, redirect or send garbage.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::{
    self, Names, Receiver, SURELY, TIMEOUT, context, failed, loopback, message, read_request, stored,
};
use rustls::RootCertStore;
use serde_json::json;
use tidings_channels::egress::{DialOptions, Egress, Guard};
use tidings_channels::{AttemptResult, ChannelContext, ErrorClass, OutboundMessage, registry};
use tidings_domain::channel::ChannelType;
use tidings_domain::delivery::Outcome;
use tidings_domain::resource::ResourceType;
use tokio::io::AsyncWriteExt;
use tokio::sync::Notify;

/// One attempt of a webhook to this URL.
async fn attempt(url: &str, context: &ChannelContext) -> AttemptResult {
    let stored = stored(ChannelType::Webhook, json!({"url": url}), context);
    let notifier = registry::plugin(ChannelType::Webhook).open(&stored, context).unwrap();
    let event = failed(ResourceType::Flow);
    tokio::time::timeout(SURELY, notifier.deliver(&message(&event))).await.expect("within the timeout")
}

fn assert_failed(result: &AttemptResult, class: ErrorClass, message: &str) {
    assert_eq!(result.error_class, Some(class), "{result:?}");
    let error = result.error.as_deref().unwrap_or_default();
    assert!(error.contains(message), "{message:?} in {error:?}");
    assert!(matches!(result.outcome, Outcome::Retry { .. }), "{result:?}");
    assert!(!error.contains("/hook"), "no path: {error}");
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[tokio::test]
async fn responses_are_classified() {
    let context = context(loopback());
    for (answer, class, message) in [
        ("HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n", ErrorClass::Status, "HTTP 502 Bad Gateway"),
        ("HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n", ErrorClass::Status, "HTTP 410 Gone"),
        (
            "HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/latest?token=x\r\ncontent-length: 0\r\n\r\n",
            ErrorClass::Redirect,
            "HTTP 302 Found: it redirects to 169.254.169.254; redirects are not followed",
        ),
        ("HTTP/1.1 301 Moved\r\nlocation: /x\r\ncontent-length: 0\r\n\r\n", ErrorClass::Redirect, "another path"),
        ("220 smtp.example.com ESMTP\r\n", ErrorClass::Protocol, "is not valid HTTP"),
        ("\u{1}\u{2}\u{3}\u{0}garbage\r\n\r\n", ErrorClass::Protocol, "is not valid HTTP"),
        ("", ErrorClass::Protocol, "closed the connection without a response"),
        ("HTTP/1.1 20", ErrorClass::Protocol, "closed the connection without a response"),
        // Of an error, too, the status line counts.
        ("HTTP/1.1 503 Busy\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nx", ErrorClass::Status, "HTTP 503"),
    ] {
        let receiver = Receiver::answering_once(answer).await;
        assert_failed(&attempt(&receiver.url(), &context).await, class, message);
        assert_eq!(receiver.connections(), 1, "{answer}: one attempt, no redirect followed");
    }
}

#[tokio::test]
async fn success_status_line_with_odd_headers_is_delivered_with_its_body() {
    let context = context(loopback());
    let many = "x: y\r\n".repeat(250);
    let long = format!("x: {}\r\n", "y".repeat(200_000));
    for headers in [
        "Server : device\r\n",
        "X-Long: a\r\n b\r\n",
        " X-First: folded\r\n",
        "X-Powered@By: x\r\n",
        "nonsense\r\n",
        ": empty\r\n",
        "X-Empty:\r\n",
        &many,
        &long,
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\n{headers}Content-Length : 2\r\n\r\nok");
        let receiver = Receiver::answering_once(answer).await;
        let result = attempt(&receiver.url(), &context).await;
        assert!(result.is_delivered(), "{headers:.100}: {result:?}");
        assert_eq!((result.http_status, result.response_body.as_deref()), (Some(200), Some("ok")), "{headers:.100}");
        assert_eq!(receiver.connections(), 1);
    }
    for answer in [
        &b"HTTP/1.1 200 OK\nServer: x\nContent-Length: 2\n\nok"[..],
        b"HTTP/1.1 200 OK\r\nX-Who: Andr\xe9\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 \xdcber\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ] {
        let receiver = Receiver::answering_once(answer).await;
        let result = attempt(&receiver.url(), &context).await;
        assert!(result.is_delivered(), "{}: {result:?}", String::from_utf8_lossy(answer));
        assert_eq!(result.response_body.as_deref(), Some("ok"));
    }
}

#[tokio::test]
async fn success_status_line_is_delivered_whatever_follows() {
    let context = context(loopback());
    let many = format!("HTTP/1.1 200 OK\r\n{}content-length: 0\r\n\r\n", "x: y\r\n".repeat(2_000));
    let long = format!("HTTP/1.1 200 OK\r\nx: {}\r\ncontent-length: 0\r\n\r\n", "y".repeat(1_000_000));
    for answer in [
        &b"HTTP/1.1 200 OK\r\ncontent-le"[..],
        b"HTTP/1.1 200 \r\n",
        b"HTTP/1.1 204\r\n",
        b"HTTP/1.1  200 OK\r\n\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999999\r\n\r\nx",
        b"HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nnonsense",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: a\0b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: a\rb\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 202 Accepted\r\ncontent-length: 1, 2\r\n\r\n",
        many.as_bytes(),
        long.as_bytes(),
    ] {
        let shown = String::from_utf8_lossy(&answer[..answer.len().min(100)]).into_owned();
        let receiver = Receiver::answering_once(answer).await;
        let result = attempt(&receiver.url(), &context).await;
        assert!(result.is_delivered(), "{shown:?}: {result:?}");
        assert!(result.http_status.is_some_and(|status| (200..300).contains(&status)), "{shown:?}: {result:?}");
        assert_eq!(receiver.connections(), 1, "{shown:?}: one attempt");
    }
    // The head never ends.
    let dripping = Receiver::dripping("HTTP/1.1 200 OK\r\nx-slow: ").await;
    let result = attempt(&dripping.url(), &context).await;
    assert_eq!((result.is_delivered(), result.http_status), (true, Some(200)), "{result:?}");
}

#[tokio::test]
async fn hanging_and_trickling_receivers_time_out() {
    let context = context(loopback());
    let hanging = Receiver::hanging().await;
    assert_failed(&attempt(&hanging.url(), &context).await, ErrorClass::Timeout, "no response from 127.0.0.1");
    let dripping = Receiver::dripping("HTTP/1.1 503 Busy\r\nx-slow: ").await;
    assert_failed(&attempt(&dripping.url(), &context).await, ErrorClass::Status, "HTTP 503");
}

#[tokio::test]
async fn success_head_with_incomplete_body_is_delivered() {
    let context = context(loopback());
    let dripping = Receiver::dripping("HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n").await;
    let result = attempt(&dripping.url(), &context).await;
    assert!(result.is_delivered(), "{result:?}");
    assert!(result.response_body.as_deref().is_some_and(|body| body.starts_with('x')), "the received part is kept");

    let breaking = Receiver::answering_once("HTTP/1.1 204 No Content\r\ncontent-length: 50\r\n\r\nhalf").await;
    assert!(attempt(&breaking.url(), &context).await.is_delivered());
    let half = Receiver::answering_once("HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nhalf").await;
    assert_eq!(attempt(&half.url(), &context).await.response_body.as_deref(), Some("half"));
}

#[tokio::test]
async fn flooding_receiver_is_read_up_to_the_limit() {
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
        let result = attempt(&receiver.url(), &context(loopback())).await;
        assert_failed(&result, ErrorClass::Status, "HTTP 500");
        assert!(result.response_body.is_some_and(|body| body.len() <= 2_048 && body.ends_with('…')));
        assert!(written.load(Ordering::SeqCst) < 50_000_000, "the rest was not read");
    }
}

#[tokio::test]
async fn connections_are_reused_while_the_channel_is_open() {
    let context = context(loopback());
    let receiver = Receiver::answering(OK).await;
    for _ in 0..3 {
        assert!(attempt(&receiver.url(), &context).await.is_delivered());
    }
    assert_eq!(receiver.connections(), 3, "closing a channel closes its idle connections");

    let stored = stored(ChannelType::Webhook, json!({"url": receiver.url()}), &context);
    let notifier = registry::plugin(ChannelType::Webhook).open(&stored, &context).unwrap();
    let event = failed(ResourceType::Flow);
    for _ in 0..5 {
        assert!(notifier.deliver(&message(&event)).await.is_delivered());
    }
    assert_eq!(receiver.connections(), 4, "sequential deliveries of one channel share a connection");
}

#[tokio::test]
async fn pooled_connection_closed_by_peer_is_replaced() {
    // Closed before the second request, or upon it: both are sent over a fresh connection.
    for answers_once in [true, false] {
        let closed = Arc::new(Notify::new());
        let signal = closed.clone();
        let receiver = Receiver::start(move |mut stream, number, log| {
            let signal = signal.clone();
            async move {
                let request = read_request(&mut stream).await?;
                log.lock().unwrap().extend(request);
                stream.write_all(OK.as_bytes()).await?;
                if number == 1 && !answers_once {
                    read_request(&mut stream).await?;
                }
                drop(stream);
                signal.notify_one();
                Ok(())
            }
        })
        .await;
        let context = context(loopback());
        let stored = stored(ChannelType::Webhook, json!({"url": receiver.url()}), &context);
        let notifier = registry::plugin(ChannelType::Webhook).open(&stored, &context).unwrap();
        let event = failed(ResourceType::Flow);
        assert!(notifier.deliver(&message(&event)).await.is_delivered());
        if answers_once {
            closed.notified().await;
        }
        let result = notifier.deliver(&message(&event)).await;
        assert!(result.is_delivered(), "{result:?}");
        assert_eq!(receiver.connections(), 2);
    }
}

/// Answers the requests of each connection with `answers` in turn, and the last one ever after.
async fn answering_in_turn(answers: &'static [&'static str]) -> Receiver {
    Receiver::start(move |mut stream, _, log| async move {
        let mut answers = answers.iter().copied();
        let mut next = answers.next().unwrap_or(OK);
        while let Some(request) = read_request(&mut stream).await? {
            log.lock().unwrap().push(request);
            stream.write_all(next.as_bytes()).await?;
            next = answers.next().unwrap_or(next);
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn connection_is_not_reused_after_an_error_and_not_for_retries() {
    let context = context(loopback());
    let receiver = answering_in_turn(&[OK, "HTTP/1.1 503 Draining\r\ncontent-length: 0\r\n\r\n", OK]).await;
    let stored = stored(ChannelType::Webhook, json!({"url": receiver.url()}), &context);
    let notifier = registry::plugin(ChannelType::Webhook).open(&stored, &context).unwrap();
    let event = failed(ResourceType::Flow);
    assert!(notifier.deliver(&message(&event)).await.is_delivered());
    assert_eq!(notifier.deliver(&message(&event)).await.http_status, Some(503));
    assert_eq!(receiver.connections(), 1, "kept after a success");
    assert!(notifier.deliver(&message(&event)).await.is_delivered());
    assert_eq!(receiver.connections(), 2, "closed after an error");
    let retry = OutboundMessage { fresh: true, ..message(&event) };
    assert!(notifier.deliver(&retry).await.is_delivered());
    assert_eq!(receiver.connections(), 3, "a retry dials although a connection is idle");
}

#[tokio::test]
async fn request_timeout_on_idle_connection_is_repeated_at_once() {
    let context = context(loopback());
    let receiver = answering_in_turn(&[OK, "HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n"]).await;
    let stored = stored(ChannelType::Webhook, json!({"url": receiver.url()}), &context);
    let notifier = registry::plugin(ChannelType::Webhook).open(&stored, &context).unwrap();
    let event = failed(ResourceType::Flow);
    for connections in [1, 2] {
        assert!(notifier.deliver(&message(&event)).await.is_delivered());
        assert_eq!(receiver.connections(), connections);
    }
}

#[tokio::test]
async fn connection_that_is_never_idle_is_given_up_within_ten_minutes() {
    let context = context(loopback());
    let receiver = Receiver::answering(OK).await;
    let stored = stored(ChannelType::Webhook, json!({"url": receiver.url()}), &context);
    let notifier = registry::plugin(ChannelType::Webhook).open(&stored, &context).unwrap();
    let event = failed(ResourceType::Flow);
    assert!(notifier.deliver(&message(&event)).await.is_delivered());
    for seconds in (10..=600).step_by(10) {
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(10)).await;
        tokio::time::resume();
        assert!(notifier.deliver(&message(&event)).await.is_delivered());
        if receiver.connections() > 1 {
            assert!(seconds > 300, "{seconds} s");
            return;
        }
    }
    panic!("the connection was kept for more than ten minutes");
}

#[tokio::test]
async fn idle_connection_is_closed_after_timeout() {
    let gone = Arc::new(Notify::new());
    let signal = gone.clone();
    let receiver = Receiver::start(move |mut stream, _, _| {
        let signal = signal.clone();
        async move {
            read_request(&mut stream).await?;
            stream.write_all(OK.as_bytes()).await?;
            // The next read ends when the peer closes.
            read_request(&mut stream).await?;
            signal.notify_one();
            Ok(())
        }
    })
    .await;
    let context = context(loopback());
    let stored = stored(ChannelType::Webhook, json!({"url": receiver.url()}), &context);
    let notifier = registry::plugin(ChannelType::Webhook).open(&stored, &context).unwrap();
    let event = failed(ResourceType::Flow);
    assert!(notifier.deliver(&message(&event)).await.is_delivered());
    // From here on the clock advances as fast as timers fire.
    tokio::time::pause();
    let begun = tokio::time::Instant::now();
    gone.notified().await;
    assert!(begun.elapsed() >= Duration::from_secs(30), "kept for at least 30 s: {:?}", begun.elapsed());
}

#[tokio::test]
async fn refused_connection_names_host_and_port() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let result = attempt(&format!("http://{address}/hook"), &context(loopback())).await;
    assert_failed(&result, ErrorClass::Connect, &format!("{address} refused the connection"));
}

fn with_names(guard: Guard, known: &[(&'static str, &[&str])]) -> (ChannelContext, Arc<Names>) {
    let parse = |list: &&[&str]| list.iter().map(|ip| std::net::SocketAddr::new(ip.parse().unwrap(), 0)).collect();
    let known = known.iter().map(|(name, list)| (*name, parse(list))).collect();
    let names = Arc::new(Names { known, lookups: AtomicUsize::new(0) });
    (ChannelContext::new(Arc::new(Egress::with(guard, names.clone(), RootCertStore::empty()))), names)
}

#[tokio::test]
async fn names_are_guarded_by_their_addresses() {
    let known: &[(&str, &[&str])] = &[
        ("metadata.example.com", &["169.254.169.254"]),
        ("mapped.example.com", &["::ffff:127.0.0.1"]),
        ("inside.example.com", &["10.0.0.1", "192.168.0.1"]),
        ("empty.example.com", &[]),
    ];
    let (context, _) = with_names(Guard::default(), known);
    for (host, class, message) in [
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
        assert_failed(&attempt(&format!("https://{host}/hook"), &context).await, class, message);
    }
    let plain = Guard { allow: vec!["127.0.0.0/8".parse().unwrap()], allow_http: false };
    let (context, _) = with_names(plain, &[("public.example.com", &["8.8.8.8"])]);
    let result = attempt("http://public.example.com/hook", &context).await;
    assert_failed(&result, ErrorClass::TargetRefused, "outside the networks allowed for http without TLS");
}

#[tokio::test]
async fn name_is_resolved_once_and_vetted_address_is_used() {
    let receiver = Receiver::answering(OK).await;
    let (context, names) = with_names(loopback(), &[("mixed.example.com", &["10.0.0.1", "127.0.0.1"])]);
    let url = format!("http://mixed.example.com:{}/hook", receiver.address.port());
    assert!(attempt(&url, &context).await.is_delivered(), "the refused address is skipped");
    assert_eq!(names.lookups.load(Ordering::SeqCst), 1, "no second lookup, so no rebinding");
    let (head, _) = receiver.request();
    assert_eq!(support::header(&head, "host"), Some(&*format!("mixed.example.com:{}", receiver.address.port())));
}

#[tokio::test]
async fn connect_is_guarded_and_connect_trusted_is_not() {
    let receiver = Receiver::hanging().await;
    let (host, port) = ("127.0.0.1", receiver.address.port());
    let egress = Egress::with(Guard::default(), Arc::new(Names::default()), RootCertStore::empty());
    let refused = egress.connect(host, port, DialOptions::default(), TIMEOUT).await.unwrap_err();
    assert_eq!(refused.class, ErrorClass::TargetRefused);
    assert!(
        egress
            .connect("[::1]", port, DialOptions::default(), TIMEOUT)
            .await
            .is_err_and(|e| e.class == ErrorClass::TargetRefused)
    );
    assert!(egress.connect_trusted(host, port, DialOptions::default(), TIMEOUT).await.is_ok());
}

#[tokio::test]
async fn hanging_resolver_times_out() {
    struct Never;
    #[async_trait::async_trait]
    impl tidings_channels::egress::Resolve for Never {
        async fn resolve(&self, _: &str, _: u16) -> std::io::Result<Vec<std::net::SocketAddr>> {
            std::future::pending().await
        }
    }
    let egress = Egress::with(Guard::default(), Arc::new(Never), RootCertStore::empty());
    let error = egress.connect("example.com", 25, DialOptions::default(), Duration::from_millis(50)).await.unwrap_err();
    assert_eq!((error.class, error.message.contains("not resolved in time")), (ErrorClass::Timeout, true), "{error}");
}

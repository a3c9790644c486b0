//! Servers that hang, trickle, flood, send garbage, close early and reset.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use socket2::SockRef;
use tidings_domain::check::{Answer, FailureClass, JSON_BYTES_MAX};
use tidings_domain::endpoint::Probe;
use tokio::io::AsyncWriteExt;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::support::{
    SHORT, Server, assert_failed, get, http_answer, observe_http, observe_within, prober, read_request,
};

#[tokio::test]
async fn malformed_or_missing_response_fails_with_protocol_error() {
    let prober = prober();
    for (answer, words) in [
        ("220 smtp.example.com ESMTP\r\n", "sent an invalid HTTP response"),
        ("\u{1}\u{2}\u{3}\u{0}garbage\r\n\r\n", "sent an invalid HTTP response"),
        ("SSH-2.0-OpenSSH_9.9\r\n", "sent an invalid HTTP response"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", "in the middle of its answer"),
        ("", "closed the connection without an answer"),
        ("HTTP/1.1 200 OK\r\ncontent-le", "closed the connection without an answer"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nhalf", "closed the connection in the middle of its answer"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n", "in the middle of its answer"),
    ] {
        let server = Server::answering_once(answer).await;
        let observation = observe_http(&prober, &get(server.url())).await;
        assert_failed(&observation, FailureClass::Protocol, words);
        assert_failed(&observation, FailureClass::Protocol, &server.address.to_string());
        assert_eq!(server.connections(), 1, "{answer}: it is not retried");
    }
}

#[tokio::test]
async fn odd_and_large_response_heads_are_read() {
    let (many, long) = ("x: y\r\n".repeat(250), format!("x: {}\r\n", "y".repeat(200_000)));
    for headers in ["Server : device\r\n", "X-Long: a\r\n b\r\n", "X-Powered@By: x\r\n", "nonsense\r\n", &many, &long] {
        let answer = format!("HTTP/1.1 200 OK\r\n{headers}content-length : 2\r\n\r\nok");
        let server = Server::answering_once(answer).await;
        let observation = observe_http(&prober(), &get(server.url())).await;
        let answer = http_answer(&observation);
        assert_eq!((answer.text().as_str(), answer.body.is_complete), ("ok", true), "{headers:.100}");
    }
}

#[tokio::test]
async fn response_that_cannot_be_read_has_the_status_of_its_first_line() {
    let (long, endless) = (format!("x: {}\r\n", "y".repeat(1_000_000)), "x: y\r\n".repeat(1_000_000));
    for (status, headers) in
        [(200, &*long), (503, &*endless), (204, "content-length: 1\r\ncontent-length: 2\r\nx: \0\r\n")]
    {
        let server = Server::answering(format!("HTTP/1.1 {status} x\r\n{headers}\r\n\r\n")).await;
        let observation = observe_http(&prober(), &get(server.url())).await;
        let Ok(Answer::Http { status: seen, body, .. }) = observation.outcome else { panic!("{observation:?}") };
        assert_eq!((seen, body.is_complete), (status, false));
    }
}

#[tokio::test]
async fn hanging_or_trickling_server_fails_with_timeout() {
    for (head, words) in [
        ("", "no answer from 127.0.0.1"),
        ("HTTP/1.1 200 OK\r\nx-slow: ", "no answer from 127.0.0.1"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n", "was incomplete after 400 ms"),
        ("HTTP/1.1 200 OK\r\n\r\n", "was incomplete after 400 ms"),
    ] {
        let server = Server::trickling(head).await;
        let started = Instant::now();
        let observation = observe_within(&prober(), &Probe::Http(get(server.url())), SHORT).await;
        assert_failed(&observation, FailureClass::Timeout, words);
        assert!((SHORT..SHORT * 10).contains(&started.elapsed()), "{:?}", started.elapsed());
        let timings = observation.timings;
        assert!(timings.connect_ms.is_some() && timings.total_ms >= SHORT.as_millis() as u32, "{timings:?}");
        assert_eq!(timings.first_byte_ms.is_some(), words.contains("incomplete"), "{timings:?}");
    }
}

#[tokio::test]
async fn endless_body_is_read_only_to_the_cap() {
    for (head, chunk) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n", false),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", true),
        ("HTTP/1.1 200 OK\r\n\r\n", false),
    ] {
        let (written, closed) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let (counter, on_close) = (written.clone(), closed.clone());
        let server = Server::start(move |mut stream, _, _| {
            let (counter, on_close) = (counter.clone(), on_close.clone());
            async move {
                read_request(&mut stream).await?;
                stream.write_all(head.as_bytes()).await?;
                let mut block = vec![b'z'; 100_000];
                if chunk {
                    block = [b"186a0\r\n", &block[..], b"\r\n"].concat();
                }
                for _ in 0..1_000 {
                    if stream.write_all(&block).await.is_err() {
                        on_close.notify_one();
                        break;
                    }
                    counter.fetch_add(block.len(), Ordering::SeqCst);
                }
                Ok(())
            }
        })
        .await;
        let prober = prober();
        let observation = observe_http(&prober, &get(server.url())).await;
        let page = http_answer(&observation);
        assert_eq!((page.body.text.len(), page.body.is_complete), (JSON_BYTES_MAX, false));
        assert!(page.body.text.capacity() <= 2 * JSON_BYTES_MAX);
        // The connection is closed; what the server had written by then was in the kernel's buffers.
        tokio::time::timeout(Duration::from_secs(10), closed.notified()).await.expect("the connection was closed");
        assert!(written.load(Ordering::SeqCst) < 50_000_000, "the rest is not read");
    }
}

#[tokio::test]
async fn connection_reset_is_named_in_the_message() {
    for (before, words) in [
        ("", "without an answer"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nhalf", "connection reset by 127.0.0.1"),
    ] {
        let server = Server::start(move |mut stream, _, _| async move {
            read_request(&mut stream).await?;
            stream.write_all(before.as_bytes()).await?;
            // Time for the prober to read what was written, as the message depends on it.
            tokio::time::sleep(Duration::from_millis(100)).await;
            SockRef::from(&stream).set_linger(Some(Duration::ZERO))
        })
        .await;
        let observation = observe_http(&prober(), &get(server.url())).await;
        assert_failed(&observation, FailureClass::Protocol, words);
        assert_failed(&observation, FailureClass::Protocol, "reset");
    }
}

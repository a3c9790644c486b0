//! Misbehaving mail servers: each failure is classified and described, and none outlasts the attempt's time limit.

use std::time::Duration;

use rustls::RootCertStore;
use serde_json::json;
use tidings_channels::{AttemptResult, ErrorClass};
use tidings_domain::delivery::Outcome;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};

use crate::support::{PASSWORD, channel, deliver_again, local_context, own_server};

const RETRY: Outcome = Outcome::Retry { after_ms: None };

/// How much longer than its limit an attempt may take on a busy machine.
const TOLERANCE: Duration = Duration::from_secs(5);

/// What the server does next.
#[derive(Clone)]
enum Step {
    Send(Vec<u8>),
    /// Reads until a line that starts with this.
    Expect(&'static str),
    /// Says nothing more, and keeps the connection.
    Hang,
}

use Step::{Expect, Hang, Send};

fn send(text: &str) -> Step {
    Send(text.into())
}

/// The steps of a successful greeting, and more.
fn greeted(more: &[Step]) -> Vec<Step> {
    [&[send("220 hi\r\n"), Expect("EHLO"), send("250-hi\r\n250 8BITMIME\r\n")][..], more].concat()
}

/// A server that plays these steps on its first connection and closes it.
async fn server(steps: Vec<Step>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        play(stream, steps).await;
    });
    port
}

async fn play(stream: TcpStream, steps: Vec<Step>) {
    let mut stream = BufReader::new(stream);
    for step in steps {
        match step {
            Send(bytes) => _ = stream.write_all(&bytes).await,
            Hang => std::future::pending().await,
            Expect(beginning) => {
                let mut line = Vec::new();
                while !line.starts_with(beginning.as_bytes()) {
                    line.clear();
                    if stream.read_until(b'\n', &mut line).await.unwrap_or(0) == 0 {
                        return;
                    }
                }
            }
        }
    }
}

async fn attempt_within(steps: Vec<Step>, limit: Duration) -> AttemptResult {
    let port = server(steps).await;
    let config = own_server(&["a@example.com", "b@example.com"], port, json!({"tls": "none"}));
    let channel = channel(config, &local_context(RootCertStore::empty()));
    let attempt = deliver_again(&*channel, None, limit);
    timeout(limit + TOLERANCE, attempt).await.expect("the attempt ends when its time is over")
}

async fn attempt(steps: Vec<Step>) -> AttemptResult {
    attempt_within(steps, Duration::from_secs(10)).await
}

/// The attempt failed in this class with this message, and is to be retried.
fn assert_retry(result: &AttemptResult, class: ErrorClass, message: &str) {
    assert_eq!((result.outcome, result.error_class), (RETRY, Some(class)), "{result:?}");
    assert!(result.error.as_ref().unwrap().contains(message), "{result:?}");
    assert!(result.attempt_state.is_some());
}

/// Up to the first recipient's mail.
fn into_data() -> Vec<Step> {
    let ok = || send("250 ok\r\n");
    vec![Expect("MAIL"), ok(), Expect("RCPT"), ok(), Expect("DATA"), send("354 go on\r\n")]
}

#[tokio::test]
async fn non_smtp_server_is_a_protocol_error() {
    for greeting in ["SSH-2.0-OpenSSH_9.6\r\n", "HTTP/1.1 400 Bad Request\r\n\r\n", "\0\0\0\r\n"] {
        assert_retry(&attempt(vec![send(greeting)]).await, ErrorClass::Protocol, "is not an SMTP reply");
    }
    assert_retry(&attempt(vec![]).await, ErrorClass::Protocol, "closed the connection");
}

#[tokio::test]
async fn oversized_replies_are_a_protocol_error() {
    let line = [b"220 ".as_slice(), &vec![b'x'; 1 << 20], b"\r\n"].concat();
    assert_retry(&attempt(vec![Send(line), Hang]).await, ErrorClass::Protocol, "longer than 4096 bytes");
    let lines = b"250-more\r\n".repeat(100_000);
    let endless = vec![send("220 hi\r\n"), Expect("EHLO"), Send(lines), Hang];
    assert_retry(&attempt(endless).await, ErrorClass::Protocol, "more than 100 lines");
}

#[tokio::test]
async fn hanging_server_times_out_at_the_limit() {
    let limit = Duration::from_millis(300);
    for (steps, message) in [
        (vec![Hang], "the connection"),
        (vec![send("220 hi\r\n"), Hang], "EHLO"),
        (greeted(&[Hang]), "MAIL FROM"),
        (greeted(&[into_data(), vec![Hang]].concat()), "the mail"),
    ] {
        let started = Instant::now();
        let result = attempt_within(steps, limit).await;
        assert_retry(&result, ErrorClass::Timeout, &format!("did not answer {message} in time"));
        assert!(started.elapsed() >= limit && started.elapsed() < limit + TOLERANCE);
    }
}

#[tokio::test]
async fn connection_lost_during_data_defers_the_recipient() {
    for steps in
        [into_data(), [into_data(), vec![Expect("Subject")]].concat(), [into_data(), vec![Expect(".\r\n")]].concat()]
    {
        let result = attempt(greeted(&steps)).await;
        assert_retry(&result, ErrorClass::Protocol, "closed the connection");
        let list = result.response_body.unwrap();
        assert!(list.contains("a@example.com: deferred") && list.contains("b@example.com: not tried"), "{list}");
    }
}

#[tokio::test]
async fn accepted_recipient_is_not_retried_after_connection_loss() {
    let taken = [into_data(), vec![Expect(".\r\n"), send("250 taken\r\n"), Expect("MAIL")]].concat();
    let first = attempt(greeted(&taken)).await;
    assert_retry(&first, ErrorClass::Protocol, "closed the connection");
    assert!(first.response_body.as_ref().unwrap().contains("a@example.com: accepted (250 taken)"));

    let port = server(greeted(&[
        Expect("MAIL"),
        send("250 ok\r\n"),
        Expect("RCPT TO:<b@example.com>"),
        send("250 ok\r\n"),
        Expect("DATA"),
        send("354 go on\r\n"),
        Expect(".\r\n"),
        send("250 taken too\r\n"),
        Expect("QUIT"),
        send("221 bye\r\n"),
    ]))
    .await;
    let config = own_server(&["a@example.com", "b@example.com"], port, json!({"tls": "none"}));
    let channel = channel(config, &local_context(RootCertStore::empty()));
    let second = deliver_again(&*channel, first.attempt_state.as_deref(), Duration::from_secs(10)).await;
    assert_eq!(second.outcome, Outcome::Delivered, "{second:?}");
}

#[tokio::test]
async fn server_shutting_down_with_421_defers_all() {
    let steps = greeted(&[Expect("MAIL"), send("250 ok\r\n"), Expect("RCPT"), send("421 4.3.2 shutting down\r\n")]);
    let result = attempt(steps).await;
    assert_retry(&result, ErrorClass::Status, "421 4.3.2 shutting down");
    assert_eq!(result.http_status, Some(421));
    for greeting in ["421 busy\r\n", "554 no service\r\n"] {
        assert_retry(&attempt(vec![send(greeting)]).await, ErrorClass::Status, greeting.trim_end());
    }
}

#[tokio::test]
async fn unexpected_reply_to_data_is_not_acceptance() {
    let begin = [Expect("MAIL"), send("250 ok\r\n"), Expect("RCPT"), send("250 ok\r\n"), Expect("DATA")];
    let result = attempt(greeted(&[&begin[..], &[send("250 ok\r\n"), Hang]].concat())).await;
    assert_retry(&result, ErrorClass::Protocol, "answered DATA with 250 ok");
    let result = attempt(greeted(&[into_data(), vec![Expect(".\r\n"), send("354 more\r\n")]].concat())).await;
    assert_retry(&result, ErrorClass::Protocol, "closed the connection");
    assert!(result.response_body.unwrap().contains("a@example.com: deferred (354 more)"));
}

#[tokio::test]
async fn unreachable_server_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    for (host, class) in [("localhost", ErrorClass::Connect), ("no-such-host.invalid", ErrorClass::Dns)] {
        let config = own_server(&["a@example.com"], port, json!({"tls": "none", "host": host}));
        let channel = channel(config, &local_context(RootCertStore::empty()));
        let result = deliver_again(&*channel, None, Duration::from_secs(10)).await;
        assert_retry(&result, class, host);
    }
}

#[tokio::test]
async fn data_sent_before_tls_handshake_is_refused() {
    let offer = "250-hi\r\n250 STARTTLS\r\n";
    let port = server(vec![
        send("220 hi\r\n"),
        Expect("EHLO"),
        send(offer),
        Expect("STARTTLS"),
        send("220 go\r\n250-hi\r\n250 AUTH PLAIN\r\n"),
        Hang,
    ])
    .await;
    let smtp = json!({"tls": "starttls", "username": "alerts", "password": PASSWORD});
    let channel = channel(own_server(&["a@example.com"], port, smtp), &local_context(RootCertStore::empty()));
    let result = deliver_again(&*channel, None, Duration::from_secs(10)).await;
    assert_retry(&result, ErrorClass::Protocol, "between STARTTLS and the TLS handshake");
}

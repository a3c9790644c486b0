//! Mail servers on their bad days: each is classified in words, and none holds a delivery beyond its time.

use std::time::Duration;

use rustls::RootCertStore;
use serde_json::json;
use tidings_channels::{AttemptResult, ErrorClass};
use tidings_domain::delivery::Outcome;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};

use crate::support::{PASSWORD, channel, deliver_again, open, own};

const RETRY: Outcome = Outcome::Retry { after_ms: None };

/// By this much an attempt may outlive its time on a machine that is busy.
const MOMENT: Duration = Duration::from_secs(5);

/// What the server does next.
#[derive(Clone)]
enum Act {
    /// Says this.
    Say(Vec<u8>),
    /// Waits for a line that begins with this.
    Hear(&'static str),
    /// Says nothing more, and keeps the connection.
    Hang,
}

use Act::{Hang, Hear, Say};

fn say(text: &str) -> Act {
    Say(text.into())
}

/// The first steps of a talk that goes well.
fn good(more: &[Act]) -> Vec<Act> {
    [&[say("220 hi\r\n"), Hear("EHLO"), say("250-hi\r\n250 8BITMIME\r\n")][..], more].concat()
}

/// A server that does this with its first connection, and then closes it.
async fn server(acts: Vec<Act>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        play(stream, acts).await;
    });
    port
}

async fn play(stream: TcpStream, acts: Vec<Act>) {
    let mut stream = BufReader::new(stream);
    for act in acts {
        match act {
            Say(bytes) => _ = stream.write_all(&bytes).await,
            Hang => std::future::pending().await,
            Hear(beginning) => {
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

async fn attempt_within(acts: Vec<Act>, limit: Duration) -> AttemptResult {
    let port = server(acts).await;
    let config = own(&["a@example.com", "b@example.com"], port, json!({"tls": "none"}));
    let channel = channel(config, &open(RootCertStore::empty()));
    let attempt = deliver_again(&*channel, None, limit);
    timeout(limit + MOMENT, attempt).await.expect("the attempt ends when its time is over")
}

async fn attempt(acts: Vec<Act>) -> AttemptResult {
    attempt_within(acts, Duration::from_secs(10)).await
}

/// The attempt fails in this class with these words, and may be tried again.
fn assert_retry(report: &AttemptResult, class: ErrorClass, words: &str) {
    assert_eq!((report.outcome, report.error_class), (RETRY, Some(class)), "{report:?}");
    assert!(report.error.as_ref().unwrap().contains(words), "{report:?}");
    assert!(report.attempt_state.is_some());
}

/// Up to the mail of the first recipient.
fn into_data() -> Vec<Act> {
    let ok = || say("250 ok\r\n");
    vec![Hear("MAIL"), ok(), Hear("RCPT"), ok(), Hear("DATA"), say("354 go on\r\n")]
}

#[tokio::test]
async fn what_is_no_smtp_server_is_named_so() {
    for greeting in ["SSH-2.0-OpenSSH_9.6\r\n", "HTTP/1.1 400 Bad Request\r\n\r\n", "\0\0\0\r\n"] {
        assert_retry(&attempt(vec![say(greeting)]).await, ErrorClass::Protocol, "no SMTP server");
    }
    assert_retry(&attempt(vec![]).await, ErrorClass::Protocol, "closed the connection");
}

#[tokio::test]
async fn a_huge_line_is_not_read() {
    let line = [b"220 ".as_slice(), &vec![b'x'; 1 << 20], b"\r\n"].concat();
    assert_retry(&attempt(vec![Say(line), Hang]).await, ErrorClass::Protocol, "longer than 4096 bytes");
    let lines = b"250-more\r\n".repeat(100_000);
    let endless = vec![say("220 hi\r\n"), Hear("EHLO"), Say(lines), Hang];
    assert_retry(&attempt(endless).await, ErrorClass::Protocol, "more than 100 lines");
}

#[tokio::test]
async fn one_who_hangs_costs_no_more_than_the_timeout() {
    let limit = Duration::from_millis(300);
    for (acts, words) in [
        (vec![Hang], "the connection"),
        (vec![say("220 hi\r\n"), Hang], "EHLO"),
        (good(&[Hang]), "MAIL FROM"),
        (good(&[into_data(), vec![Hang]].concat()), "the mail"),
    ] {
        let begun = Instant::now();
        let report = attempt_within(acts, limit).await;
        assert_retry(&report, ErrorClass::Timeout, &format!("did not answer {words} in time"));
        assert!(begun.elapsed() >= limit && begun.elapsed() < limit + MOMENT);
    }
}

#[tokio::test]
async fn a_connection_that_drops_within_the_mail_defers() {
    for acts in
        [into_data(), [into_data(), vec![Hear("Subject")]].concat(), [into_data(), vec![Hear(".\r\n")]].concat()]
    {
        let report = attempt(good(&acts)).await;
        assert_retry(&report, ErrorClass::Protocol, "closed the connection");
        let list = report.response_body.unwrap();
        assert!(list.contains("a@example.com: deferred") && list.contains("b@example.com: not tried"), "{list}");
    }
}

#[tokio::test]
async fn who_was_served_before_the_drop_is_not_served_again() {
    let taken = [into_data(), vec![Hear(".\r\n"), say("250 taken\r\n"), Hear("MAIL")]].concat();
    let first = attempt(good(&taken)).await;
    assert_retry(&first, ErrorClass::Protocol, "closed the connection");
    assert!(first.response_body.as_ref().unwrap().contains("a@example.com: accepted (250 taken)"));

    let port = server(good(&[
        Hear("MAIL"),
        say("250 ok\r\n"),
        Hear("RCPT TO:<b@example.com>"),
        say("250 ok\r\n"),
        Hear("DATA"),
        say("354 go on\r\n"),
        Hear(".\r\n"),
        say("250 taken too\r\n"),
        Hear("QUIT"),
        say("221 bye\r\n"),
    ]))
    .await;
    let config = own(&["a@example.com", "b@example.com"], port, json!({"tls": "none"}));
    let channel = channel(config, &open(RootCertStore::empty()));
    let second = deliver_again(&*channel, first.attempt_state.as_deref(), Duration::from_secs(10)).await;
    assert_eq!(second.outcome, Outcome::Delivered, "{second:?}");
}

#[tokio::test]
async fn a_server_that_is_shutting_down_defers_all() {
    let acts = good(&[Hear("MAIL"), say("250 ok\r\n"), Hear("RCPT"), say("421 4.3.2 shutting down\r\n")]);
    let report = attempt(acts).await;
    assert_retry(&report, ErrorClass::Status, "421 4.3.2 shutting down");
    assert_eq!(report.http_status, Some(421));
    for greeting in ["421 busy\r\n", "554 no service\r\n"] {
        assert_retry(&attempt(vec![say(greeting)]).await, ErrorClass::Status, greeting.trim_end());
    }
}

#[tokio::test]
async fn a_mail_that_was_not_asked_for_is_not_accepted() {
    let begin = [Hear("MAIL"), say("250 ok\r\n"), Hear("RCPT"), say("250 ok\r\n"), Hear("DATA")];
    let report = attempt(good(&[&begin[..], &[say("250 ok\r\n"), Hang]].concat())).await;
    assert_retry(&report, ErrorClass::Protocol, "answered DATA with 250 ok");
    let report = attempt(good(&[into_data(), vec![Hear(".\r\n"), say("354 more\r\n")]].concat())).await;
    assert_retry(&report, ErrorClass::Protocol, "closed the connection");
    assert!(report.response_body.unwrap().contains("a@example.com: deferred (354 more)"));
}

#[tokio::test]
async fn who_is_not_there_is_named_so() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    for (host, class) in [("localhost", ErrorClass::Connect), ("no-such-host.invalid", ErrorClass::Dns)] {
        let config = own(&["a@example.com"], port, json!({"tls": "none", "host": host}));
        let channel = channel(config, &open(RootCertStore::empty()));
        let report = deliver_again(&*channel, None, Duration::from_secs(10)).await;
        assert_retry(&report, class, host);
    }
}

#[tokio::test]
async fn a_server_that_speaks_ahead_of_tls_is_not_believed() {
    let offer = "250-hi\r\n250 STARTTLS\r\n";
    let port = server(vec![
        say("220 hi\r\n"),
        Hear("EHLO"),
        say(offer),
        Hear("STARTTLS"),
        say("220 go\r\n250-hi\r\n250 AUTH PLAIN\r\n"),
        Hang,
    ])
    .await;
    let smtp = json!({"tls": "starttls", "username": "alerts", "password": PASSWORD});
    let channel = channel(own(&["a@example.com"], port, smtp), &open(RootCertStore::empty()));
    let report = deliver_again(&*channel, None, Duration::from_secs(10)).await;
    assert_retry(&report, ErrorClass::Protocol, "before TLS");
}

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

/// A server that plays these steps on each connection and closes it.
async fn server(steps: Vec<Step>) -> u16 {
    server_in_turn(vec![steps]).await
}

/// A server that plays one of these lists of steps on each connection, the last one on all further connections.
async fn server_in_turn(mut plays: Vec<Vec<Step>>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let steps = if plays.len() > 1 { plays.remove(0) } else { plays[0].clone() };
            tokio::spawn(play(stream, steps));
        }
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

/// One accepted mail for this recipient.
fn accepted(recipient: &'static str) -> Vec<Step> {
    let ok = || send("250 ok\r\n");
    let data = [Expect("DATA"), send("354 go on\r\n"), Expect(".\r\n"), send("250 taken\r\n")];
    [&[Expect("MAIL"), ok(), Expect(recipient), ok()], &data[..]].concat()
}

/// The mail over a fresh connection, and the channel that has a kept one which plays `then`.
async fn after_a_first_mail(then: Vec<Step>, fresh: Vec<Step>) -> AttemptResult {
    let kept = greeted(&[accepted("RCPT TO:<a@example.com>"), then].concat());
    let port = server_in_turn(vec![kept, fresh]).await;
    let config = own_server(&["a@example.com"], port, json!({"tls": "none"}));
    let channel = channel(config, &local_context(RootCertStore::empty()));
    assert!(deliver_again(&*channel, None, Duration::from_secs(10)).await.is_delivered());
    deliver_again(&*channel, None, Duration::from_secs(10)).await
}

/// What a server answers over a connection that carried mail before may be about that connection.
#[tokio::test]
async fn verdict_over_a_kept_connection_is_confirmed_over_a_fresh_one() {
    let quit = || vec![Expect("QUIT"), send("221 bye\r\n")];
    for then in [
        vec![],
        vec![send("421 idle for too long\r\n")],
        vec![Expect("MAIL"), send("421 too many mails\r\n")],
        [vec![Expect("MAIL"), send("550 too many mails in this session\r\n")], quit()].concat(),
        [vec![Expect("MAIL"), send("250 ok\r\n"), Expect("RCPT"), send("452 too many\r\n")], quit()].concat(),
        [vec![Expect("MAIL"), send("250 ok\r\n"), Expect("RCPT"), send("550 no more\r\n")], quit()].concat(),
        vec![Expect("MAIL"), send("250 ok\r\n"), Expect("RCPT"), send("250 ok\r\n"), Expect("DATA")],
    ] {
        let delivered = greeted(&accepted("RCPT TO:<a@example.com>"));
        let result = after_a_first_mail(then.clone(), delivered).await;
        assert_eq!(result.outcome, Outcome::Delivered, "{result:?}");
    }
    let refused =
        [vec![Expect("MAIL"), send("250 ok\r\n"), Expect("RCPT"), send("550 no such user\r\n")], quit()].concat();
    let result = after_a_first_mail(refused.clone(), greeted(&refused)).await;
    assert_eq!(result.outcome, Outcome::PermanentFailure, "{result:?}");
}

/// The mail was sent whole and its reply lost: sending it again at once could make a duplicate.
#[tokio::test]
async fn mail_whose_reply_is_lost_over_a_kept_connection_is_not_sent_again_at_once() {
    let lost = vec![
        Expect("MAIL"),
        send("250 ok\r\n"),
        Expect("RCPT"),
        send("250 ok\r\n"),
        Expect("DATA"),
        send("354 go on\r\n"),
        Expect(".\r\n"),
    ];
    let result = after_a_first_mail(lost, greeted(&accepted("RCPT TO:<a@example.com>"))).await;
    assert_retry(&result, ErrorClass::Protocol, "closed the connection");
}

/// A server that refuses a connection is tried again within the attempt, and with one connection first.
#[tokio::test]
async fn connection_refused_with_421_is_tried_again_within_the_attempt() {
    let delivered = greeted(&[accepted("RCPT TO:<a@example.com>"), accepted("RCPT TO:<b@example.com>")].concat());
    for refusal in [vec![send("421 too many connections\r\n")], greeted(&[Expect("MAIL"), send("421 later\r\n")])] {
        let port = server_in_turn(vec![refusal, delivered.clone()]).await;
        let config = own_server(&["a@example.com", "b@example.com"], port, json!({"tls": "none"}));
        let channel = channel(config, &local_context(RootCertStore::empty()));
        let result = deliver_again(&*channel, None, Duration::from_secs(10)).await;
        assert_eq!(result.outcome, Outcome::Delivered, "{result:?}");
    }
}

/// Old and plain servers know neither EHLO nor extensions.
#[tokio::test]
async fn server_without_ehlo_is_greeted_with_helo() {
    let plain = |refusal: &str| {
        let hello = [send("220 hi\r\n"), Expect("EHLO"), send(refusal), Expect("HELO"), send("250 hello\r\n")];
        [&hello[..], &accepted("RCPT TO:<a@example.com>")].concat()
    };
    for refusal in ["500 what\r\n", "502 5.5.1 not implemented\r\n", "550 no\r\n"] {
        for tls in ["none", "opportunistic"] {
            let port = server(plain(refusal)).await;
            let config = own_server(&["a@example.com"], port, json!({"tls": tls}));
            let channel = channel(config, &local_context(RootCertStore::empty()));
            let result = deliver_again(&*channel, None, Duration::from_secs(10)).await;
            assert_eq!(result.outcome, Outcome::Delivered, "{tls} {refusal}: {result:?}");
        }
    }
    let port = server(plain("502 not implemented\r\n")).await;
    let channel = channel(own_server(&["a@example.com"], port, json!({})), &local_context(RootCertStore::empty()));
    let result = deliver_again(&*channel, None, Duration::from_secs(10)).await;
    assert_retry(&result, ErrorClass::Status, "refused EHLO: 502 not implemented");
}

/// The address literal of this connection, or this host's full name.
#[tokio::test]
async fn ehlo_names_this_host() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let hello = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = BufReader::new(stream);
        stream.write_all(b"220 hi\r\n").await.unwrap();
        let mut line = String::new();
        stream.read_line(&mut line).await.unwrap();
        line
    });
    let config = own_server(&["a@example.com"], port, json!({"tls": "none", "host": "127.0.0.1"}));
    let channel = channel(config, &local_context(RootCertStore::empty()));
    deliver_again(&*channel, None, Duration::from_secs(10)).await;
    let hello = hello.await.unwrap();
    let name = hello.trim_end().strip_prefix("EHLO ").unwrap();
    assert!(name == "[127.0.0.1]" || name.contains('.') && !name.contains("example"), "{hello}");
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

/// With optional TLS whatever fails about it leads to a delivery in the clear.
#[tokio::test]
async fn opportunistic_tls_falls_back_to_no_encryption() {
    let offer = |more: &[Step]| {
        let hello = [send("220 hi\r\n"), Expect("EHLO"), send("250-hi\r\n250 STARTTLS\r\n"), Expect("STARTTLS")];
        [&hello[..], more].concat()
    };
    let mail = || accepted("RCPT TO:<a@example.com>");
    for (plays, encrypts) in [
        (vec![offer(&[&[send("454 not now\r\n")][..], &mail()].concat())], "the refusal of STARTTLS"),
        (vec![offer(&[send("220 go\r\n")]), greeted(&mail())], "a connection that is closed in the handshake"),
    ] {
        let port = server_in_turn(plays).await;
        let config = own_server(&["a@example.com"], port, json!({"tls": "opportunistic"}));
        let channel = channel(config, &local_context(RootCertStore::empty()));
        let result = deliver_again(&*channel, None, Duration::from_secs(10)).await;
        assert_eq!(result.outcome, Outcome::Delivered, "{encrypts}: {result:?}");
    }
}

/// Lets this much time pass at once, for the program's timers.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

/// A connection that was idle for a while is tried before a mail depends on it.
#[tokio::test]
async fn idle_connection_is_checked_before_it_is_used() {
    let mail = || accepted("RCPT TO:<a@example.com>");
    let reset = |reply: &str| [mail(), vec![Expect("RSET"), send(reply)]].concat();
    for (kept, fresh) in [
        (greeted(&[reset("250 ok\r\n"), mail()].concat()), vec![send("554 no second connection\r\n")]),
        (greeted(&reset("421 idle for too long\r\n")), greeted(&mail())),
        (greeted(&mail()), greeted(&mail())),
    ] {
        let port = server_in_turn(vec![kept, fresh]).await;
        let config = own_server(&["a@example.com"], port, json!({"tls": "none"}));
        let channel = channel(config, &local_context(RootCertStore::empty()));
        assert!(deliver_again(&*channel, None, Duration::from_secs(10)).await.is_delivered());
        pass(Duration::from_secs(2)).await;
        let result = deliver_again(&*channel, None, Duration::from_secs(10)).await;
        assert_eq!(result.outcome, Outcome::Delivered, "{result:?}");
    }
}

/// Servers count idle connections, too.
#[tokio::test]
async fn idle_connection_is_closed_after_some_seconds() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let quit = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mail = accepted("RCPT TO:<a@example.com>");
        play(stream, greeted(&[mail, vec![Expect("QUIT"), send("221 bye\r\n")]].concat())).await;
    });
    let config = own_server(&["a@example.com"], port, json!({"tls": "none"}));
    let channel = channel(config, &local_context(RootCertStore::empty()));
    assert!(deliver_again(&*channel, None, Duration::from_secs(10)).await.is_delivered());
    tokio::task::yield_now().await;
    pass(Duration::from_secs(8)).await;
    assert!(!quit.is_finished());
    pass(Duration::from_secs(3)).await;
    timeout(TOLERANCE, quit).await.expect("the connection is closed").unwrap();
}

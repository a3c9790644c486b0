//! Pooled connections: reuse, detection of closed ones, and maximum age.

use std::sync::Arc;
use std::time::Duration;

use tidings_channels::egress::DialOptions;
use tidings_domain::check::{CheckStatus, Operator, judge};
use tidings_domain::endpoint::{Definition, HttpProbe, Probe};
use tidings_monitor::{CONNECTION_AGE_MAX, IDLE_TIMEOUT, Prober};
use tokio::io::AsyncWriteExt;
use tokio::sync::Notify;
use tokio::time::{advance, pause, resume};

use super::tls::{Authority, https_server};
use crate::support::{
    AGENT, NOW, OK, Server, body_assertion, get, http_answer, lenient, log_request, observe, observe_http, prober,
    read_request,
};

/// Advances the clock by this duration.
async fn wait(duration: Duration) {
    pause();
    advance(duration).await;
    resume();
}

#[tokio::test]
async fn reused_connection_has_no_connect_timings() {
    let (prober, server) = (prober(), Server::answering(OK).await);
    let first = observe_http(&prober, &get(server.url())).await;
    assert!(first.timings.connect_ms.is_some());
    for method in ["GET", "POST", "OPTIONS"] {
        let probe = HttpProbe { method: method.into(), ..get(server.url()) };
        let again = observe_http(&prober, &probe).await;
        assert_eq!(http_answer(&again).text(), "ok");
        assert_eq!((again.timings.dns_ms, again.timings.connect_ms, again.timings.tls_ms), (None, None, None));
        assert!(again.timings.first_byte_ms.is_some());
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn connection_that_cannot_be_reused_is_closed() {
    for answer in [
        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
        // Bytes beyond the response must not be taken for the next response.
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 500 Injected\r\ncontent-length: 0\r\n\r\n",
    ] {
        let (prober, server) = (prober(), Server::answering(answer).await);
        for number in 1..=3 {
            assert_eq!(http_answer(&observe_http(&prober, &get(server.url())).await).status, 200);
            assert_eq!(server.connections(), number, "{answer}");
        }
    }
}

#[tokio::test]
async fn pooled_connection_closed_by_the_server_is_retried() {
    let timeout_notice = "HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    // Closed before the second request; closed on it; closed on it after the 408 that some servers send.
    for (reads_on, last_bytes) in [(false, ""), (true, ""), (true, timeout_notice)] {
        let closed = Arc::new(Notify::new());
        let on_close = closed.clone();
        let server = Server::start(move |mut stream, number, log| {
            let on_close = on_close.clone();
            async move {
                log_request(&mut stream, &log).await?;
                stream.write_all(OK.as_bytes()).await?;
                if number == 1 && reads_on {
                    read_request(&mut stream).await?;
                    stream.write_all(last_bytes.as_bytes()).await?;
                }
                drop(stream);
                on_close.notify_one();
                Ok(())
            }
        })
        .await;
        let prober = prober();
        for method in ["GET", "POST"] {
            let probe = HttpProbe { method: method.into(), ..get(server.url()) };
            let observation = observe_http(&prober, &probe).await;
            assert_eq!(http_answer(&observation).status, 200, "{reads_on} {last_bytes}");
            assert!(observation.timings.connect_ms.is_some(), "over a new connection");
            if !reads_on {
                closed.notified().await;
            }
        }
        assert_eq!(server.connections(), 2);
    }
}

#[tokio::test]
async fn idle_connection_is_closed_after_the_timeout() {
    let closed = Arc::new(Notify::new());
    let on_close = closed.clone();
    let server = Server::start(move |mut stream, _, log| {
        let on_close = on_close.clone();
        async move {
            crate::support::answer_all(&mut stream, &log, OK.as_bytes()).await?;
            on_close.notify_one();
            Ok(())
        }
    })
    .await;
    let prober = prober();
    observe_http(&prober, &get(server.url())).await;
    // From here on time is simulated.
    pause();
    let started = tokio::time::Instant::now();
    closed.notified().await;
    let idle = started.elapsed();
    assert!(idle >= IDLE_TIMEOUT - Duration::from_secs(1) && idle < IDLE_TIMEOUT * 2, "{idle:?}");
}

/// How long a connection is used by one probe per minute.
async fn time_in_use(prober: &Prober, probe: &Probe, connections: impl Fn() -> usize) -> Duration {
    let mut used = Duration::ZERO;
    observe(prober, probe).await;
    while connections() == 1 {
        wait(Duration::from_secs(60)).await;
        used += Duration::from_secs(60);
        observe(prober, probe).await;
    }
    used
}

#[tokio::test]
async fn connection_is_replaced_at_its_maximum_age() {
    let (prober, plain) = (prober(), Server::answering(OK).await);
    let probe = Probe::Http(get(plain.url()));
    let used = time_in_use(&prober, &probe, || plain.connections()).await;
    assert!((CONNECTION_AGE_MAX / 2..=CONNECTION_AGE_MAX).contains(&used), "{used:?}");
    assert!(CONNECTION_AGE_MAX <= Duration::from_secs(3_600));
}

#[tokio::test]
async fn pooled_connection_reports_its_certificate() {
    let authority = Authority::new("ours");
    let server = https_server(authority.server("127.0.0.1", 2_000, 2_099)).await;
    let prober = authority.prober();
    let probe = Probe::Http(get(format!("https://{}/", server.address)));
    let first = observe(&prober, &probe).await;
    assert!(first.timings.tls_ms.is_some() && first.certificate.is_some());
    let again = observe(&prober, &probe).await;
    assert_eq!(again.timings.tls_ms, None);
    assert_eq!(again.certificate, first.certificate);
    let used = time_in_use(&prober, &probe, || server.connections()).await;
    assert!((CONNECTION_AGE_MAX / 2..=CONNECTION_AGE_MAX).contains(&used), "{used:?}");
}

#[tokio::test]
async fn connection_is_replaced_when_its_certificate_expires() {
    let authority = Authority::new("ours");
    let server = https_server(authority.server("127.0.0.1", 2_000, 2_099)).await;
    let prober = authority.prober();
    let probe = Probe::Http(get(format!("https://{}/", server.address)));
    let not_after = observe(&prober, &probe).await.certificate.unwrap().not_after;
    for (now, connections) in [(not_after.minus_ms(1), 1), (not_after, 2), (NOW, 2)] {
        http_answer(&prober.probe(&lenient(&probe), AGENT, now, DialOptions::default()).await);
        assert_eq!(server.connections(), connections);
    }
}

#[tokio::test]
async fn renewed_certificate_is_reported_on_the_next_connection() {
    let authority = Authority::new("ours");
    let acceptors = [2_080, 2_090].map(|until| authority.server("127.0.0.1", 2_000, until));
    let server = Server::start(move |stream, number, _| {
        let acceptor = acceptors[number - 1].clone();
        async move {
            let mut stream = acceptor.accept(stream).await?;
            read_request(&mut stream).await?;
            stream.write_all(OK.as_bytes()).await?;
            // Reads the next request and closes the connection without a response.
            read_request(&mut stream).await.map(|_| ())
        }
    })
    .await;
    let (prober, probe) = (authority.prober(), Probe::Http(get(format!("https://{}/", server.address))));
    for until in ["2080", "2090"] {
        let certificate = observe(&prober, &probe).await.certificate.unwrap();
        assert!(certificate.not_after.to_string().starts_with(until), "{certificate:?}");
    }
}

/// A server whose first connection answers with `first` and then `second`, and whose other connections with `fresh`.
async fn changing(first: &'static str, second: &'static str, fresh: &'static str) -> Server {
    Server::start(move |mut stream, number, log| async move {
        let answers = if number == 1 { [first, second] } else { [fresh, fresh] };
        for answer in answers {
            log_request(&mut stream, &log).await?;
            stream.write_all(answer.as_bytes()).await?;
        }
        read_request(&mut stream).await.map(|_| ())
    })
    .await
}

const BAD: &str = "HTTP/1.1 502 Bad Gateway\r\ncontent-length: 3\r\n\r\nbad";
const WRONG: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nwrong";

#[tokio::test]
async fn bad_verdict_over_a_kept_connection_is_confirmed_over_a_fresh_one() {
    for (second, fresh, status, connections) in [
        (BAD, OK, CheckStatus::Healthy, 2),
        (WRONG, OK, CheckStatus::Healthy, 2),
        ("garbage\r\n\r\n", OK, CheckStatus::Healthy, 2),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n", OK, CheckStatus::Healthy, 2),
        (BAD, BAD, CheckStatus::Down, 2),
        (OK, BAD, CheckStatus::Healthy, 1),
    ] {
        let (prober, server) = (prober(), changing(OK, second, fresh).await);
        let definition = Definition {
            assertions: vec![body_assertion(Operator::Equals, "ok")],
            timeout_ms: 300,
            ..Definition::new(Probe::Http(get(server.url())))
        };
        let observe = async || prober.probe(&definition, AGENT, NOW, DialOptions::default()).await;
        assert_eq!(judge(&definition, &observe().await).status, CheckStatus::Healthy);
        let observation = observe().await;
        let check = judge(&definition, &observation);
        assert_eq!((check.status, server.connections()), (status, connections), "{second:?} {:?}", check.reason);
        assert_eq!(observation.timings.connect_ms.is_some(), connections == 2, "the result is that of the fresh one");
    }
}

#[tokio::test]
async fn bad_verdict_over_a_fresh_connection_counts_at_once() {
    let (prober, server) = (prober(), Server::answering(BAD).await);
    let definition = Definition::new(Probe::Http(get(server.url())));
    for number in 1..=3 {
        let observation = prober.probe(&definition, AGENT, NOW, DialOptions::default()).await;
        assert_eq!(judge(&definition, &observation).status, CheckStatus::Down);
        assert_eq!(server.connections(), number, "no second request, and no connection is kept after it");
    }
}

#[tokio::test]
async fn fresh_probe_dials_and_shows_the_certificate_of_now() {
    let authority = Authority::new("ours");
    let acceptors = [2_080, 2_090].map(|until| authority.server("127.0.0.1", 2_000, until));
    let server = Server::start(move |stream, number, log| {
        let acceptor = acceptors[number - 1].clone();
        async move {
            let mut stream = acceptor.accept(stream).await?;
            while let Some(request) = read_request(&mut stream).await? {
                log.lock().unwrap().push(request);
                stream.write_all(OK.as_bytes()).await?;
            }
            Ok(())
        }
    })
    .await;
    let (prober, probe) = (authority.prober(), Probe::Http(get(format!("https://{}/", server.address))));
    for (fresh, until, count) in [(false, "2080", 1), (false, "2080", 1), (true, "2090", 2)] {
        let certificate = prober
            .probe(&lenient(&probe), AGENT, NOW, DialOptions { fresh, ..DialOptions::default() })
            .await
            .certificate
            .unwrap();
        assert!(certificate.not_after.to_string().starts_with(until), "{certificate:?}");
        assert_eq!(server.connections(), count);
    }
}

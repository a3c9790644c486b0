//! Connections between probes: used again, found to be closed, and not used for too long.

use std::sync::Arc;
use std::time::Duration;

use tidings_domain::endpoint::{HttpProbe, Probe};
use tidings_monitor::{IDLE_TIMEOUT, KEPT_AGE_MAX, Prober};
use tokio::io::AsyncWriteExt;
use tokio::sync::Notify;
use tokio::time::{advance, pause, resume};

use crate::support::{AGENT, LONG, NOW, OK, Server, get, log_request, look, look_at, page, prober, read_request};
use crate::tls::{Authority, serving};

/// Lets so much time pass.
async fn wait(duration: Duration) {
    pause();
    advance(duration).await;
    resume();
}

#[tokio::test]
async fn a_connection_is_used_again_and_its_timings_have_no_connecting() {
    let (prober, server) = (prober(), Server::answering(OK).await);
    let first = look_at(&prober, &get(server.url())).await;
    assert!(first.timings.connect_ms.is_some());
    for method in ["GET", "POST", "OPTIONS"] {
        let probe = HttpProbe { method: method.into(), ..get(server.url()) };
        let again = look_at(&prober, &probe).await;
        assert_eq!(page(&again).text(), "ok");
        assert_eq!((again.timings.dns_ms, again.timings.connect_ms, again.timings.tls_ms), (None, None, None));
        assert!(again.timings.first_byte_ms.is_some());
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn who_does_not_want_it_kept_gets_fresh_ones() {
    for answer in [
        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
        // More than was asked for: whatever it is, it is no answer to the next request.
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 500 Injected\r\ncontent-length: 0\r\n\r\n",
    ] {
        let (prober, server) = (prober(), Server::answering(answer).await);
        for number in 1..=3 {
            assert_eq!(page(&look_at(&prober, &get(server.url())).await).status, 200);
            assert_eq!(server.connections(), number, "{answer}");
        }
    }
}

#[tokio::test]
async fn a_kept_connection_that_was_closed_is_no_failure() {
    let farewell = "HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    // Closed before the second request; closed upon it; closed upon it with what servers say to idle connections.
    for (reads_on, last_words) in [(false, ""), (true, ""), (true, farewell)] {
        let closed = Arc::new(Notify::new());
        let told = closed.clone();
        let server = Server::start(move |mut stream, number, log| {
            let told = told.clone();
            async move {
                log_request(&mut stream, &log).await?;
                stream.write_all(OK.as_bytes()).await?;
                if number == 1 && reads_on {
                    read_request(&mut stream).await?;
                    stream.write_all(last_words.as_bytes()).await?;
                }
                drop(stream);
                told.notify_one();
                Ok(())
            }
        })
        .await;
        let prober = prober();
        for method in ["GET", "POST"] {
            let probe = HttpProbe { method: method.into(), ..get(server.url()) };
            let observation = look_at(&prober, &probe).await;
            assert_eq!(page(&observation).status, 200, "{reads_on} {last_words}");
            assert!(observation.timings.connect_ms.is_some(), "over a fresh one");
            if !reads_on {
                closed.notified().await;
            }
        }
        assert_eq!(server.connections(), 2);
    }
}

#[tokio::test]
async fn what_lies_idle_for_long_is_closed() {
    let gone = Arc::new(Notify::new());
    let told = gone.clone();
    let server = Server::start(move |mut stream, _, log| {
        let told = told.clone();
        async move {
            crate::support::answer_all(&mut stream, &log, OK.as_bytes()).await?;
            told.notify_one();
            Ok(())
        }
    })
    .await;
    let prober = prober();
    look_at(&prober, &get(server.url())).await;
    // From here on time goes as fast as it can.
    pause();
    let begun = tokio::time::Instant::now();
    gone.notified().await;
    let lay = begun.elapsed();
    assert!(lay >= IDLE_TIMEOUT - Duration::from_secs(1) && lay < IDLE_TIMEOUT * 2, "{lay:?}");
}

/// How long a connection is used by probes that come every minute.
async fn used_for(prober: &Prober, probe: &Probe, connections: impl Fn() -> usize) -> Duration {
    let mut used = Duration::ZERO;
    look(prober, probe).await;
    while connections() == 1 {
        wait(Duration::from_secs(60)).await;
        used += Duration::from_secs(60);
        look(prober, probe).await;
    }
    used
}

#[tokio::test]
async fn no_connection_is_used_for_longer_than_it_should() {
    let (prober, plain) = (prober(), Server::answering(OK).await);
    let probe = Probe::Http(get(plain.url()));
    let used = used_for(&prober, &probe, || plain.connections()).await;
    assert!((KEPT_AGE_MAX / 2..=KEPT_AGE_MAX).contains(&used), "{used:?}");
    assert!(KEPT_AGE_MAX <= Duration::from_secs(3_600));
}

#[tokio::test]
async fn a_certificate_is_reported_from_the_kept_connection_and_read_again_now_and_then() {
    let authority = Authority::new("ours");
    let server = serving(authority.server("127.0.0.1", 2_000, 2_099)).await;
    let prober = authority.prober();
    let probe = Probe::Http(get(format!("https://{}/", server.address)));
    let first = look(&prober, &probe).await;
    assert!(first.timings.tls_ms.is_some() && first.certificate.is_some());
    let again = look(&prober, &probe).await;
    assert_eq!(again.timings.tls_ms, None);
    assert_eq!(again.certificate, first.certificate);
    let used = used_for(&prober, &probe, || server.connections()).await;
    assert!((KEPT_AGE_MAX / 2..=KEPT_AGE_MAX).contains(&used), "{used:?}");
}

#[tokio::test]
async fn a_connection_does_not_outlive_its_certificate() {
    let authority = Authority::new("ours");
    let server = serving(authority.server("127.0.0.1", 2_000, 2_099)).await;
    let prober = authority.prober();
    let probe = Probe::Http(get(format!("https://{}/", server.address)));
    let not_after = look(&prober, &probe).await.certificate.unwrap().not_after;
    for (now, connections) in [(not_after.minus_ms(1), 1), (not_after, 2), (NOW, 2)] {
        page(&prober.probe(&probe, None, LONG, AGENT, now).await);
        assert_eq!(server.connections(), connections);
    }
}

#[tokio::test]
async fn a_certificate_that_was_renewed_is_reported_as_soon_as_the_server_closes_old_connections() {
    let authority = Authority::new("ours");
    let acceptors = [2_080, 2_090].map(|until| authority.server("127.0.0.1", 2_000, until));
    let server = Server::start(move |stream, number, _| {
        let acceptor = acceptors[number - 1].clone();
        async move {
            let mut stream = acceptor.accept(stream).await?;
            read_request(&mut stream).await?;
            stream.write_all(OK.as_bytes()).await?;
            // The next request comes, and is not answered.
            read_request(&mut stream).await.map(|_| ())
        }
    })
    .await;
    let (prober, probe) = (authority.prober(), Probe::Http(get(format!("https://{}/", server.address))));
    for until in ["2080", "2090"] {
        let certificate = look(&prober, &probe).await.certificate.unwrap();
        assert!(certificate.not_after.to_string().starts_with(until), "{certificate:?}");
    }
}

//! A burst of mails to a server that allows three connections: all arrive, at its own pace, and no retry is used up.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::api::failed;
use crate::support::observed::Observed;
use crate::support::{Setup, now};

const CONNECTIONS_MAX: usize = 3;
const MAIL: Duration = Duration::from_millis(120);
const MAILS: usize = 100;

#[derive(Default)]
struct Log {
    recipients: Vec<String>,
    first: Option<Instant>,
    last: Option<Instant>,
    /// The time that the server took for all mails.
    busy: Duration,
    refusals: usize,
}

/// A server that takes its time for a mail, and answers a connection beyond its limit with 421.
fn start() -> (Arc<Observed<Log>>, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let log: Arc<Observed<Log>> = Arc::default();
    let started = Arc::clone(&log);
    std::thread::spawn(move || {
        let open = Arc::new(AtomicUsize::new(0));
        for stream in listener.incoming() {
            let (mut stream, log, open) = (stream.unwrap(), Arc::clone(&log), Arc::clone(&open));
            if open.load(Ordering::SeqCst) >= CONNECTIONS_MAX {
                log.change(|log| log.refusals += 1);
                let _ = stream.write_all(b"421 4.7.0 too many connections\r\n");
                continue;
            }
            open.fetch_add(1, Ordering::SeqCst);
            std::thread::spawn(move || {
                let _ = serve(stream, &log);
                open.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
    (started, port)
}

fn serve(mut stream: TcpStream, log: &Observed<Log>) -> std::io::Result<()> {
    stream.write_all(b"220 hi\r\n")?;
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let mut recipient = String::new();
    while let Some(line) = lines.next().transpose()? {
        let reply: &[u8] = match line.get(..4) {
            Some("RCPT") => {
                recipient = line;
                b"250 ok\r\n"
            }
            Some("DATA") => {
                stream.write_all(b"354 go on\r\n")?;
                let started = now();
                while lines.next().transpose()?.is_some_and(|line| line != ".") {}
                std::thread::sleep(MAIL);
                log.change(|log| {
                    log.recipients.push(recipient.clone());
                    log.first.get_or_insert(started);
                    log.last = Some(now());
                    log.busy += started.elapsed();
                });
                b"250 taken\r\n"
            }
            Some("QUIT") => return stream.write_all(b"221 bye\r\n"),
            _ => b"250 ok\r\n",
        };
        stream.write_all(reply)?;
    }
    Ok(())
}

#[test]
fn burst_of_mails_arrives_at_the_pace_of_the_server() {
    let (log, port) = start();
    let setup = Setup::new()
        .with("TIDINGS_SMTP_URL", &format!("smtp://127.0.0.1:{port}?tls=opportunistic"))
        .with("TIDINGS_MAIL_FROM", "Tidings <tidings@example.com>");
    let server = setup.start();
    let api = server.api();
    for job in ["a", "b"] {
        let recipients = [format!("{job}@example.com")];
        let channel = api.make_channel(json!({"name": job, "type": "email", "config": {"recipients": recipients}}));
        api.make_rule(job, &channel);
    }
    let runs = (0..MAILS).map(|run| failed(["a", "b"][run % 2], &run.to_string())).collect::<Vec<Value>>();
    api.post("/runs", Value::from(runs)).expect(202);
    let arrived = log.wait_longer_for(Duration::from_secs(60), |log| (log.recipients.len() >= MAILS).then_some(()));
    assert!(arrived.is_some(), "{} mails arrived", log.read(|log| log.recipients.len()));
    api.wait_until_settled();
    let deliveries = api.deliveries("");
    assert_eq!(deliveries.len(), MAILS);
    for delivery in deliveries {
        assert_eq!((&delivery["status"], &delivery["attemptCount"]), (&json!("sent"), &json!(1)), "{delivery}");
    }
    log.read(|log| {
        assert_eq!(log.recipients.len(), MAILS, "each arrives once");
        let elapsed = log.last.unwrap() - log.first.unwrap();
        let pace = log.busy / u32::try_from(CONNECTIONS_MAX).unwrap();
        println!("{MAILS} mails in {elapsed:?} at a pace of {pace:?}, {} refusals", log.refusals);
        assert!(log.refusals <= 10, "{} refusals", log.refusals);
        assert!(elapsed < pace.mul_f64(1.5), "{elapsed:?} at a pace of {pace:?}");
    });
}

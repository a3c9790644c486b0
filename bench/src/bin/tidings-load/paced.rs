//! At a steady rate, whatever the answers do: the latency that a caller feels at moderate load.
//!
//! A thread for each connection, because the runtime's timers count in milliseconds and the kernel's in fractions of
//! one. A request begins when its thread wakes up for it; one whose connection was still busy at its instant began at
//! that instant, so that a stall is charged to everything that it delayed.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    thread,
    time::Duration,
};

use anyhow::Context as _;
use tidings_bench::{clock, inbox::Inbox};

use crate::{
    Plan,
    closed::{ANSWER_BYTES_MAX, Answer},
    report::Report,
    request::Template,
};

/// How long an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// The first request leaves so much later than the threads start.
const LEAD_NANOS: u64 = 50_000_000;

/// Sends everything at `rate` requests per second.
pub fn run(address: SocketAddr, template: &Template, plan: Plan, rate: u64) -> anyhow::Result<Report> {
    let requests = plan.requests.min(plan.limit.as_secs() * rate);
    let interval_nanos = 1_000_000_000 / rate;
    let mut streams = Vec::new();
    for _ in 0..plan.connections {
        streams.push(connect(address).with_context(|| format!("cannot connect to {address}"))?);
    }
    let start_nanos = clock::now_nanos() + LEAD_NANOS;
    let mut report = Report { start_nanos, ..Report::default() };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..)
            .zip(streams)
            .map(|(first, stream)| {
                let numbers = (first..requests).step_by(plan.connections as usize);
                let planned = numbers.map(move |number| (number, start_nanos + number * interval_nanos));
                let template = template.clone();
                scope.spawn(move || send(stream, template, planned, plan.batch))
            })
            .collect();
        for thread in threads {
            report.merge(thread.join().map_err(|_| anyhow::anyhow!("a connection's thread failed"))?);
        }
        Ok(report)
    })
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    Ok(stream)
}

/// Sends each number at its instant. The first failure of the connection ends it.
fn send(
    mut stream: TcpStream,
    mut template: Template,
    planned: impl Iterator<Item = (u64, u64)>,
    batch: u64,
) -> Report {
    let mut report = Report::default();
    let mut inbox = Inbox::new(ANSWER_BYTES_MAX);
    for (number, planned_nanos) in planned {
        let wait_nanos = planned_nanos.saturating_sub(clock::now_nanos());
        thread::sleep(Duration::from_nanos(wait_nanos));
        let awake_nanos = clock::now_nanos();
        let begun_nanos = if wait_nanos > 0 { awake_nanos } else { planned_nanos };
        report.late.record(awake_nanos.saturating_sub(planned_nanos));
        match exchange(&mut stream, template.request(number, begun_nanos), &mut inbox) {
            Ok(Answer { status: 200..=299, .. }) => {
                report.end_nanos = clock::now_nanos();
                report.answered.record(report.end_nanos.saturating_sub(begun_nanos));
                report.requests += 1;
                report.events += batch;
            }
            Ok(answer) => report.failed(|| answer.to_string()),
            Err(error) => {
                report.failed(|| error.to_string());
                break;
            }
        }
    }
    report
}

fn exchange(stream: &mut TcpStream, request: &[u8], inbox: &mut Inbox) -> io::Result<Answer> {
    stream.write_all(request)?;
    loop {
        let length = stream.read(inbox.space()?)?;
        if length == 0 {
            return Err(io::Error::other("the connection was closed before the answer"));
        }
        inbox.filled(length);
        if let Some(answer) = Answer::take(inbox)? {
            return Ok(answer);
        }
    }
}

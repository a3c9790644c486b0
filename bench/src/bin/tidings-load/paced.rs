//! Open loop at a constant rate: the latency that a caller sees at moderate load.
//!
//! Each connection has a thread, because tokio's timers have a resolution of a millisecond and the kernel's a finer
//! one. A request starts when its thread wakes up. If the connection was still busy at the planned time, it counts from
//! that time, so that a stall is charged to every request that it delayed (no coordinated omission).

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    thread,
    time::Duration,
};

use anyhow::Context as _;
use tidings_bench::{clock, read_buffer::ReadBuffer};

use crate::{
    Plan,
    closed::{ANSWER_BYTES_MAX, Answer},
    report::Report,
    request::Template,
};

/// Timeout of a response.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Time from the start of the threads to the first request.
const LEAD_NANOS: u64 = 50_000_000;

/// Sends all requests at `rate` per second.
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

/// Sends each request at its planned time. Stops at the first I/O error.
fn send(
    mut stream: TcpStream,
    mut template: Template,
    planned: impl Iterator<Item = (u64, u64)>,
    batch: u64,
) -> Report {
    let mut report = Report::default();
    let mut buffer = ReadBuffer::new(ANSWER_BYTES_MAX);
    for (number, planned_nanos) in planned {
        let wait_nanos = planned_nanos.saturating_sub(clock::now_nanos());
        thread::sleep(Duration::from_nanos(wait_nanos));
        let awake_nanos = clock::now_nanos();
        let start_nanos = if wait_nanos > 0 { awake_nanos } else { planned_nanos };
        report.late.record(awake_nanos.saturating_sub(planned_nanos));
        match exchange(&mut stream, template.request(number, start_nanos), &mut buffer) {
            Ok(Answer { status: 200..=299, .. }) => {
                report.end_nanos = clock::now_nanos();
                report.answered.record(report.end_nanos.saturating_sub(start_nanos));
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

fn exchange(stream: &mut TcpStream, request: &[u8], buffer: &mut ReadBuffer) -> io::Result<Answer> {
    stream.write_all(request)?;
    loop {
        let length = stream.read(buffer.space()?)?;
        if length == 0 {
            return Err(io::Error::other("the connection was closed before the response"));
        }
        buffer.filled(length);
        if let Some(answer) = Answer::take(buffer)? {
            return Ok(answer);
        }
    }
}

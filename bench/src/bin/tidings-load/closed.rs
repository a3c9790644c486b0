//! Closed loop: each connection sends the next request after the previous response.

use std::{cell::Cell, io, net::SocketAddr, rc::Rc, time::Duration};

use anyhow::Context as _;
use tidings_bench::{clock, read_buffer::ReadBuffer, wire};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::{JoinSet, LocalSet},
};

use crate::{Plan, report::Report, request::Template};

/// A connection stops after this many failures in a row.
const FAILURES_IN_A_ROW_MAX: u32 = 20;
/// Delay before the retry after a failure.
const AFTER_FAILURE: Duration = Duration::from_millis(20);
/// Timeout of a response.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// The largest response in bytes. Responses to batches have about a hundred bytes per event.
pub const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// Sends all requests, or stops at the time limit.
pub fn run(address: SocketAddr, template: &Template, plan: Plan) -> anyhow::Result<Report> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, send_all(address, template, plan))
}

async fn send_all(address: SocketAddr, template: &Template, plan: Plan) -> anyhow::Result<Report> {
    let mut streams = Vec::new();
    for _ in 0..plan.connections {
        streams.push(connect(address).await.with_context(|| format!("cannot connect to {address}"))?);
    }
    let next = Rc::new(Cell::new(0));
    let mut report = Report { start_nanos: clock::now_nanos(), ..Report::default() };
    let deadline_nanos = report.start_nanos + plan.limit.as_nanos() as u64;
    let mut connections = JoinSet::new();
    for stream in streams {
        let template = template.clone();
        let share = Share { address, next: Rc::clone(&next), plan, deadline_nanos };
        connections.spawn_local(share.send(stream, template));
    }
    while let Some(connection) = connections.join_next().await {
        report.merge(connection.context("a connection's task failed")?);
    }
    Ok(report)
}

async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// What the connections share.
struct Share {
    address: SocketAddr,
    next: Rc<Cell<u64>>,
    plan: Plan,
    deadline_nanos: u64,
}

impl Share {
    /// Sends requests until none is left.
    async fn send(self, mut stream: TcpStream, mut template: Template) -> Report {
        let mut report = Report::default();
        let mut buffer = ReadBuffer::new(ANSWER_BYTES_MAX);
        let mut failures_in_a_row = 0;
        while self.next.get() < self.plan.requests && failures_in_a_row < FAILURES_IN_A_ROW_MAX {
            let number = self.next.replace(self.next.get() + 1);
            let start_nanos = clock::now_nanos();
            if start_nanos > self.deadline_nanos {
                break;
            }
            let exchange = exchange(&mut stream, template.request(number, start_nanos), &mut buffer);
            let error = match tokio::time::timeout(ANSWER_TIMEOUT, exchange).await {
                Ok(Ok(Answer { status: 200..=299, .. })) => {
                    report.end_nanos = clock::now_nanos();
                    report.answered.record(report.end_nanos.saturating_sub(start_nanos));
                    report.requests += 1;
                    report.events += self.plan.batch;
                    failures_in_a_row = 0;
                    continue;
                }
                Ok(Ok(answer)) => {
                    report.failed(|| answer.to_string());
                    None
                }
                Ok(Err(error)) => Some(error),
                Err(_) => Some(io::Error::other("response timeout")),
            };
            failures_in_a_row += 1;
            tokio::time::sleep(AFTER_FAILURE).await;
            if let Some(error) = error {
                report.failed(|| error.to_string());
                buffer = ReadBuffer::new(ANSWER_BYTES_MAX);
                match connect(self.address).await {
                    Ok(fresh) => stream = fresh,
                    Err(_) => break,
                }
            }
        }
        report
    }
}

async fn exchange(stream: &mut TcpStream, request: &[u8], buffer: &mut ReadBuffer) -> io::Result<Answer> {
    stream.write_all(request).await?;
    loop {
        let length = stream.read(buffer.space()?).await?;
        if length == 0 {
            return Err(io::Error::other("the connection was closed before the response"));
        }
        buffer.filled(length);
        if let Some(answer) = Answer::take(buffer)? {
            return Ok(answer);
        }
    }
}

/// A response.
pub struct Answer {
    pub status: u16,
    /// The body, unless the status is 2xx.
    pub problem: String,
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "answered {}: {}", self.status, self.problem)
    }
}

impl Answer {
    /// Takes a response from the buffer; `None` if it is incomplete.
    pub fn take(buffer: &mut ReadBuffer) -> io::Result<Option<Self>> {
        let Some(response) = wire::response(buffer.bytes()).map_err(io::Error::other)? else { return Ok(None) };
        let is_fine = (200..300).contains(&response.status);
        let problem = if is_fine { String::new() } else { String::from_utf8_lossy(response.body).into_owned() };
        let (status, length) = (response.status, response.length);
        buffer.consume(length);
        Ok(Some(Self { status, problem }))
    }
}

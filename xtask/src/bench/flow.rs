//! Throughput of the server or the baseline pipeline: from the first request until every delivery is settled.

use std::{thread, time::Duration};

use super::{Bench, clock, load::Load, sink::Sink};
use crate::shell::Stopwatch;

/// After this time without progress the missing deliveries are lost. Longer than the delay of the first retry.
const STALLED: Duration = Duration::from_secs(45);
/// Limit of one measurement.
const DRAINED_WITHIN: Duration = Duration::from_secs(300);

/// A system that accepts events, sends them to the sink and settles them.
pub trait Serves {
    /// Fails with the end of its log if it has exited.
    fn check(&mut self) -> anyhow::Result<()>;
    /// Processor time in seconds.
    fn cpu_seconds(&self) -> anyhow::Result<f64>;
    /// Deliveries sent and settled since the start.
    fn settled(&self) -> anyhow::Result<u64>;
}

/// The result of one measurement.
#[derive(Debug, Clone, Copy)]
pub struct Flow {
    /// Events per second, from the first request until the last was settled.
    pub events_per_second: f64,
    /// Processor time per event, in milliseconds.
    pub cpu_ms_per_event: f64,
    /// Distinct deliveries that the sink received, which are all.
    pub delivered: u64,
    /// Duplicates that it received.
    pub repeats: u64,
}

/// Sends the load and waits until all deliveries, `fan_out` per event, are settled.
pub fn measure(
    bench: &Bench,
    load: &Load<'_>,
    fan_out: u64,
    sink: &Sink,
    server: &mut dyn Serves,
) -> anyhow::Result<Flow> {
    sink.reset()?;
    let (settled_before, cpu_before) = (server.settled()?, server.cpu_seconds()?);
    let sent = load.send(bench);
    server.check()?;
    let sent = sent?;
    let expected = sent.events * fan_out;
    let end_nanos = wait_until_settled(server, sink, settled_before, expected)?;
    let cpu_seconds = server.cpu_seconds()? - cpu_before;

    let arrived = sink.arrived("/ok/", true)?;
    anyhow::ensure!(arrived.with_id == arrived.requests, "webhooks arrived without a webhook-id");
    let distinct = arrived.distinct;
    anyhow::ensure!(distinct == expected, "{expected} deliveries were accepted, {distinct} distinct ones received");
    let accepted = sent.events as f64;
    Ok(Flow {
        events_per_second: accepted / clock::seconds_between(sent.start_nanos, end_nanos),
        cpu_ms_per_event: cpu_seconds * 1e3 / accepted,
        delivered: distinct,
        repeats: arrived.requests - distinct,
    })
}

/// Waits until the sink has received and the server has settled everything. Returns the time of that.
fn wait_until_settled(server: &mut dyn Serves, sink: &Sink, settled_before: u64, expected: u64) -> anyhow::Result<u64> {
    let watch = Stopwatch::start();
    let (mut seen, mut seen_at) = ((0, 0), Duration::ZERO);
    loop {
        server.check()?;
        let arrived = sink.arrived("/ok/", false)?;
        let is_all_there = arrived.requests >= expected;
        // Reading metrics costs the server a little, so only when it can matter.
        let settled = if is_all_there || watch.read().0.saturating_sub(seen_at) > Duration::from_secs(1) {
            server.settled()?.saturating_sub(settled_before)
        } else {
            seen.1
        };
        if is_all_there && settled >= expected {
            return Ok(clock::now_nanos());
        }
        let now = watch.read().0;
        if (arrived.requests, settled) != seen {
            (seen, seen_at) = ((arrived.requests, settled), now);
        }
        let is_over = now - seen_at > STALLED || now > DRAINED_WITHIN;
        let requests = arrived.requests;
        anyhow::ensure!(
            !is_over,
            "of {expected} deliveries {requests} were received and {settled} settled, then nothing more"
        );
        thread::sleep(Duration::from_millis(if is_all_there { 3 } else { 10 }));
    }
}

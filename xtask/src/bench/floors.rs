//! What this machine does without the server: the generator straight into the sink, rows, signatures.
//!
//! One more floor, the bare way of an event, takes turns with the server that it is compared with: see `way.rs`.

use std::{fs, time::Duration};

use anyhow::Context as _;
use serde_json::Value;

use super::{
    Bench,
    load::{Load, Quantiles},
    median,
    process::Process,
    sink::Sink,
    table::{Figure, Table, Target, Unit},
};

/// Every floor of one run.
pub struct Floors {
    /// Requests per second from the generator straight into the sink over 64 connections.
    pub requests_per_second: f64,
    /// What such a request costs the sink, in milliseconds of processor time.
    pub request_cpu_ms: f64,
    /// From the beginning of a request to the sink, at 200 per second.
    pub latency: Quantiles,
    /// Rows with 20 operations in a commit.
    pub rows: Rows,
    /// Rows with 200 operations in a commit, as they gather when requests bring many.
    pub rows_in_batches: Rows,
    /// Signatures per second on one core.
    pub hmacs_per_second: f64,
}

/// Events accepted and settled in SQLite and nothing else.
#[derive(Clone, Copy)]
pub struct Rows {
    /// Events per second: a key, an event, a delivery, and then an attempt and the delivery's new state.
    pub events_per_second: f64,
    /// Milliseconds of processor time for each.
    pub event_cpu_ms: f64,
    /// Commits per second.
    pub commits_per_second: f64,
}

/// Signatures of each webhook: that of Standard Webhooks, and the vendor's.
const SIGNATURES: f64 = 2.0;

impl Floors {
    /// What an event costs at least: HTTP in and out, its rows and its signatures.
    pub fn event_cpu_ms(&self) -> f64 {
        self.request_cpu_ms * 2.0 + self.rows.event_cpu_ms + SIGNATURES * 1e3 / self.hmacs_per_second
    }

    /// Puts them into the table.
    pub fn tell(&self, table: &mut Table) {
        let mut add = |name, value, unit| table.add(Figure { name, value, unit, target: Target::None, floor: None });
        add("floor: generator straight into sink", self.requests_per_second, Unit::PerSecond);
        add("floor: events as rows, 20 operations a commit", self.rows.events_per_second, Unit::PerSecond);
        add("floor: commits of 20 operations", self.rows.commits_per_second, Unit::PerSecond);
        add("floor: events as rows, 200 operations a commit", self.rows_in_batches.events_per_second, Unit::PerSecond);
        add("floor: HMAC-SHA256 of 600 bytes, one core", self.hmacs_per_second, Unit::PerSecond);
    }
}

/// Measures all of them.
pub fn measure(bench: &Bench) -> anyhow::Result<Floors> {
    let sink = Sink::start(bench)?;
    let events = bench.pick(400_000, 100_000);
    let limit = Duration::from_secs(30);
    let load = Load { resource_id: "floor", connections: 64, events, limit, ..Load::one(sink.address, "/ok/floor") };
    let (mut rates, mut cpu_seconds, mut sent) = (Vec::new(), 0.0, 0);
    for _ in 0..bench.repeats() {
        let before = sink.cpu_seconds()?;
        let report = load.send(bench)?;
        cpu_seconds += sink.cpu_seconds()? - before;
        sent += report.events;
        rates.push(report.requests_per_second);
    }
    let arrived = sink.arrived("/ok/floor", false)?.requests;
    anyhow::ensure!(arrived == sent, "the generator sent {sent} requests and the sink received {arrived}");

    let seconds = bench.pick(10, 3);
    let paced = Load {
        path: "/ok/paced".to_owned(),
        connections: 16,
        events: 200 * seconds,
        rate: Some(200),
        limit: Duration::from_secs(seconds),
        ..load
    };
    paced.send(bench)?;

    let hmac = floor(bench, &["hmac", "--seconds", "1"])?;
    Ok(Floors {
        requests_per_second: median(rates),
        request_cpu_ms: cpu_seconds * 1e3 / sent as f64,
        latency: sink.latency("/ok/paced")?,
        rows: rows(bench, 20)?,
        rows_in_batches: rows(bench, 200)?,
        hmacs_per_second: number(&hmac, "perSecond")?,
    })
}

fn rows(bench: &Bench, operations: u64) -> anyhow::Result<Rows> {
    let mut measured = Vec::new();
    let seconds = bench.pick("3", "2");
    for _ in 0..bench.repeats() {
        let dir = bench.scratch.dir("floor")?;
        let dir = dir.to_str().context("the target directory's name is not text")?;
        let operations = operations.to_string();
        measured.push(floor(bench, &["rows", "--dir", dir, "--operations", &operations, "--seconds", seconds])?);
        // Not left for the end: their pages would still be on their way to the disk when the server is measured.
        fs::remove_dir_all(dir)?;
    }
    let middle = |name| -> anyhow::Result<f64> {
        let values: Vec<f64> = measured.iter().map(|rows| number(rows, name)).collect::<anyhow::Result<_>>()?;
        Ok(median(values))
    };
    Ok(Rows {
        events_per_second: middle("eventsPerSecond")?,
        event_cpu_ms: middle("cpuMsPerEvent")?,
        commits_per_second: middle("commitsPerSecond")?,
    })
}

fn floor(bench: &Bench, args: &[&str]) -> anyhow::Result<Value> {
    let dir = bench.scratch.dir("floor")?;
    let mut process = Process::start(&bench.binaries.join("tidings-floor"), &dir, "tidings-floor", |command| {
        command.args(args);
    })?;
    process.wait(Duration::from_secs(60))?;
    let said = process.last_words();
    serde_json::from_str(&said).with_context(|| format!("tidings-floor said: {said}"))
}

fn number(value: &Value, name: &str) -> anyhow::Result<f64> {
    value[name].as_f64().with_context(|| format!("there is no {name} in {value}"))
}

//! What this machine does without the server: generator to sink, rows, signatures.
//!
//! One more baseline alternates with the server: see `pipeline.rs`.

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

/// The baselines of one run.
pub struct Baselines {
    /// Requests per second from generator to sink over 64 connections.
    pub requests_per_second: f64,
    /// Processor time of the sink per request, in milliseconds.
    pub request_cpu_ms: f64,
    /// Latency from request to sink at 200 per second.
    pub latency: Quantiles,
    /// Rows at 20 operations per commit.
    pub rows: Rows,
    /// Rows at 200 operations per commit, as with batched requests.
    pub rows_in_batches: Rows,
    /// Signatures per second on one core.
    pub hmacs_per_second: f64,
}

/// Events accepted and settled in SQLite only.
#[derive(Clone, Copy)]
pub struct Rows {
    /// Events per second: a key, an event, a delivery, an attempt, and the delivery's update.
    pub events_per_second: f64,
    /// Processor time per event, in milliseconds.
    pub event_cpu_ms: f64,
    pub commits_per_second: f64,
}

/// Signatures per webhook: Standard Webhooks and the vendor's.
const SIGNATURES: f64 = 2.0;

impl Baselines {
    /// Processor time of an event at least: HTTP in and out, rows and signatures.
    pub fn event_cpu_ms(&self) -> f64 {
        self.request_cpu_ms * 2.0 + self.rows.event_cpu_ms + SIGNATURES * 1e3 / self.hmacs_per_second
    }

    /// Adds them to the table.
    pub fn add_to(&self, table: &mut Table) {
        let mut add = |name, value, unit| table.add(Figure { name, value, unit, target: Target::None, baseline: None });
        add("baseline: generator to sink", self.requests_per_second, Unit::PerSecond);
        add("baseline: events as rows, 20 operations a commit", self.rows.events_per_second, Unit::PerSecond);
        add("baseline: commits of 20 operations", self.rows.commits_per_second, Unit::PerSecond);
        add(
            "baseline: events as rows, 200 operations a commit",
            self.rows_in_batches.events_per_second,
            Unit::PerSecond,
        );
        add("baseline: HMAC-SHA256 of 600 bytes, one core", self.hmacs_per_second, Unit::PerSecond);
    }
}

/// Measures all of them.
pub fn measure(bench: &Bench) -> anyhow::Result<Baselines> {
    let sink = Sink::start(bench)?;
    let events = bench.pick(400_000, 100_000);
    let limit = Duration::from_secs(30);
    let load =
        Load { resource_id: "baseline", connections: 64, events, limit, ..Load::one(sink.address, "/ok/baseline") };
    let (mut rates, mut cpu_seconds, mut sent) = (Vec::new(), 0.0, 0);
    for _ in 0..bench.repeats() {
        let before = sink.cpu_seconds()?;
        let report = load.send(bench)?;
        cpu_seconds += sink.cpu_seconds()? - before;
        sent += report.events;
        rates.push(report.requests_per_second);
    }
    let arrived = sink.arrived("/ok/baseline", false)?.requests;
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

    let hmac = run_baseline(bench, &["hmac", "--seconds", "1"])?;
    Ok(Baselines {
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
        let dir = bench.scratch.dir("baseline")?;
        let dir = dir.to_str().context("the target directory's name is not text")?;
        let operations = operations.to_string();
        measured.push(run_baseline(bench, &["rows", "--dir", dir, "--operations", &operations, "--seconds", seconds])?);
        // Delete now: otherwise dirty pages would still be written while the server is measured.
        fs::remove_dir_all(dir)?;
    }
    let median_of = |name| -> anyhow::Result<f64> {
        let values: Vec<f64> = measured.iter().map(|rows| number(rows, name)).collect::<anyhow::Result<_>>()?;
        Ok(median(values))
    };
    Ok(Rows {
        events_per_second: median_of("eventsPerSecond")?,
        event_cpu_ms: median_of("cpuMsPerEvent")?,
        commits_per_second: median_of("commitsPerSecond")?,
    })
}

fn run_baseline(bench: &Bench, args: &[&str]) -> anyhow::Result<Value> {
    let dir = bench.scratch.dir("baseline")?;
    let mut process = Process::start(&bench.binaries.join("tidings-baseline"), &dir, "tidings-baseline", |command| {
        command.args(args);
    })?;
    process.wait(Duration::from_secs(60))?;
    let output = process.log_tail();
    serde_json::from_str(&output).with_context(|| format!("tidings-baseline printed: {output}"))
}

fn number(value: &Value, name: &str) -> anyhow::Result<f64> {
    value[name].as_f64().with_context(|| format!("there is no {name} in {value}"))
}

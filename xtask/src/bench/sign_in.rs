//! What sign-ins cost others: latency of `POST /runs` while people sign in, against without, alternating on one server.

use std::{
    io::Write as _,
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Duration,
};

use anyhow::Context as _;
use serde_json::json;

use super::{
    Bench, http, median, progress,
    server::{DEFAULT_RUNS_PATH, KEY, Server},
    spread::Spread,
    table::{Figure, Table, Target, Unit},
};
use crate::shell::Stopwatch;

/// Reports per second, far below the server's maximum.
const RATE: u64 = 200;
/// Connections that report, each at its share of the rate.
const REPORTERS: u64 = 4;
/// People who sign in at once, again and again.
const PEOPLE: u64 = 20;
const PASSWORD: &str = "correct horse battery staple";
/// The pause of a person whom the server asked to wait, much shorter than what it asks for.
const IMPATIENCE: Duration = Duration::from_millis(100);

/// What happened in one phase.
struct Phase {
    p50_ms: f64,
    p99_ms: f64,
    signed_in: u64,
    asked_to_wait: u64,
}

/// Measures it and adds it to the table.
pub fn measure(bench: &Bench, table: &mut Table) -> anyhow::Result<()> {
    let dir = bench.scratch.dir("data")?;
    let mut server = Server::start(bench, &dir)?;
    let address = server.workspace().address;
    for person in 0..PEOPLE {
        create(bench, &dir, person)?;
    }
    let seconds = bench.pick(10, 3);
    // The first requests and the first hash allocate what later ones use.
    phase(address, true, 1)?;
    let (mut quiet, mut busy) = (Vec::new(), Vec::new());
    for turn in 0..bench.turns() {
        for signing_in in super::alternately(turn, [false, true]) {
            let phase = phase(address, signing_in, seconds)?;
            server.check()?;
            let (name, phases) = if signing_in { ("signing in", &mut busy) } else { ("quiet", &mut quiet) };
            progress(&format!(
                "  turn {}, {name}: p50 {:.3} ms, p99 {:.3} ms, {} signed in, {} asked to wait",
                turn + 1,
                phase.p50_ms,
                phase.p99_ms,
                phase.signed_in,
                phase.asked_to_wait
            ));
            phases.push(phase);
        }
    }
    let p99 = |phases: &[Phase]| median(phases.iter().map(|phase| phase.p99_ms).collect());
    let (quiet_ms, busy_ms) = (p99(&quiet), p99(&busy));
    let signed_in =
        busy.iter().map(|phase| phase.signed_in).sum::<u64>() as f64 / (seconds * bench.turns() as u64) as f64;
    let mut add = |name, value, unit, target, baseline| table.add(Figure { name, value, unit, target, baseline });
    let without = Some((quiet_ms, "without sign-ins"));
    add("POST /runs at 200/s, 20 people signing in: p99", busy_ms, Unit::Ms, Target::None, without);
    add("POST /runs: p99 with sign-ins to without", busy_ms / quiet_ms, Unit::Times, Target::AtMost(1.5), None);
    add("sign-ins of 20 people at once", signed_in, Unit::PerSecond, Target::None, None);
    add("memory, peak, with sign-ins", server.memory_peak_mib()?, Unit::MiB, Target::Below(256.0), None);
    let ratios = Spread::new(busy.iter().zip(&quiet).map(|(busy, quiet)| busy.p99_ms / quiet.p99_ms));
    table.remark(format!("sign-in, by turn: ratio of the p99 with sign-ins to without {ratios}."));
    server.discard()
}

/// Creates a user beside the running server.
fn create(bench: &Bench, dir: &Path, person: u64) -> anyhow::Result<()> {
    let mut command = Command::new(&bench.tidings);
    command.args(["user", "create", &email(person), "--data-dir"]).arg(dir);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
    child.stdin.take().context("no standard input")?.write_all(PASSWORD.as_bytes())?;
    let status = child.wait()?;
    anyhow::ensure!(status.success(), "`tidings user create` failed: {status}");
    Ok(())
}

fn email(person: u64) -> String {
    format!("person{person}@example.com")
}

/// Reports runs for so long, meanwhile people sign in or do not.
fn phase(address: SocketAddr, signing_in: bool, seconds: u64) -> anyhow::Result<Phase> {
    let (is_over, signed_in, asked_to_wait) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let latencies = thread::scope(|scope| {
        let counts = (&signed_in, &asked_to_wait);
        let is_over = &is_over;
        let people: Vec<_> = (0..if signing_in { PEOPLE } else { 0 })
            .map(|person| scope.spawn(move || sign_in_again_and_again(address, person, is_over, counts)))
            .collect();
        let reporters: Vec<_> =
            (0..REPORTERS).map(|number| scope.spawn(move || report(address, number, seconds))).collect();
        let mut latencies = Vec::new();
        let mut outcome = Ok(());
        for reporter in reporters {
            match reporter.join() {
                Ok(Ok(of_one)) => latencies.extend(of_one),
                Ok(Err(error)) => outcome = Err(error),
                Err(_) => outcome = Err(anyhow::anyhow!("a reporter panicked")),
            }
        }
        is_over.store(true, Ordering::Relaxed);
        for person in people {
            person.join().map_err(|_| anyhow::anyhow!("a person panicked"))??;
        }
        outcome.map(|()| latencies)
    })?;
    let mut latencies = latencies;
    latencies.sort_by(f64::total_cmp);
    let quantile = |part: f64| latencies[((latencies.len() - 1) as f64 * part).round() as usize];
    Ok(Phase {
        p50_ms: quantile(0.5),
        p99_ms: quantile(0.99),
        signed_in: signed_in.into_inner(),
        asked_to_wait: asked_to_wait.into_inner(),
    })
}

/// Reports at a constant rate. Returns the latencies in ms, each from when its request was due: a server that stalls delays
/// those behind it, too.
fn report(address: SocketAddr, number: u64, seconds: u64) -> anyhow::Result<Vec<f64>> {
    let interval = Duration::from_nanos(1_000_000_000 * REPORTERS / RATE);
    let mut connection = http::Connection::open(address)?;
    let watch = Stopwatch::start();
    let count = seconds * RATE / REPORTERS;
    let mut latencies = Vec::with_capacity(count as usize);
    for turn in 0..count {
        // The reporters take turns.
        let due = interval * turn as u32 + interval / REPORTERS as u32 * number as u32;
        thread::sleep(due.saturating_sub(watch.read().0));
        let run_id = format!("{:?}-{number}-{turn}", thread::current().id());
        let run = json!({"resourceType": "flow", "resourceId": "bench", "runId": run_id, "status": "success"});
        let answer = connection.call("POST", DEFAULT_RUNS_PATH, KEY, &run.to_string())?;
        anyhow::ensure!(answer.status == 202, "a run was answered {}: {}", answer.status, answer.body);
        latencies.push((watch.read().0 - due).as_secs_f64() * 1e3);
    }
    Ok(latencies)
}

fn sign_in_again_and_again(
    address: SocketAddr,
    person: u64,
    is_over: &AtomicBool,
    (signed_in, asked_to_wait): (&AtomicU64, &AtomicU64),
) -> anyhow::Result<()> {
    let mut connection = http::Connection::open(address)?;
    let body = json!({"email": email(person), "password": PASSWORD}).to_string();
    while !is_over.load(Ordering::Relaxed) {
        let answer = connection.call("POST", "/api/session", "", &body)?;
        match answer.status {
            200 => signed_in.fetch_add(1, Ordering::Relaxed),
            429 => {
                thread::sleep(IMPATIENCE);
                asked_to_wait.fetch_add(1, Ordering::Relaxed)
            }
            other => anyhow::bail!("a sign-in was answered {other}: {}", answer.body),
        };
    }
    Ok(())
}

//! `cargo xtask bench`: how fast, how cheap and how fair the release build is, beside what this machine could do.
//!
//! ```text
//! tidings-load ──runs──▶ tidings serve ──webhooks──▶ tidings-sink        (loopback, free ports, a scratch directory)
//!       │                   └──probes──▶ tidings-target     ▲
//!       ├───────▶ the bare way: tidings-floor ──────────────┤
//!       └────────────── the floor: straight into it ────────┘
//! ```
//!
//! What is measured is never an error, however slow: the table says what misses its target. Lost events, failed
//! deliveries and a server that dies are errors.

mod clock;
mod floors;
mod flow;
mod http;
mod isolation;
mod latency;
mod load;
mod machine;
mod metrics;
mod process;
mod server;
mod sink;
mod table;
mod throughput;
mod watch;
mod way;

use std::path::PathBuf;

use anyhow::Context as _;

use self::{
    machine::{Machine, Scratch},
    table::Table,
};
use crate::shell::{self, Repo, Stopwatch};

const HELP: &str = "\
How fast, how cheap and how fair Tidings is on this machine, beside what the machine could do at best.

Usage: cargo xtask bench [SCENARIO]… [OPTIONS]

Builds release binaries, starts server, load generator and sink on free ports of loopback and in a directory below
`target`, and prints one table: what was measured, the target, and the floor: what this machine does in the same run
without the server. A missed target is told, not an error. Lost events are an error.

Options:
  --quick         Fewer events, shorter, once instead of three times: to see that it runs, not what it does
  --only NAME     Only this scenario, as if named without it; may be given more than once. The floors of
                  what is measured are measured with it.
                    throughput  one run per request over 64 connections, one webhook each; memory; cost;
                                in turns with the bare way: an event's commits and requests, and no server
                    batches     100 runs per request, one webhook each
                    fan-out     one run per request, ten webhooks each
                    latency     200 runs per second
                    isolation   the same beside channels that refuse, hang, and have 100,000 waiting
                    watch       what a check costs, over HTTP and TLS; a server with 10,000 endpoints every
                                10 seconds; from a failing check to the receiver
  --tidings PATH  Measure this server instead of the one that was built (to compare two builds)
  --no-build      Take the binaries that are there
  -h, --help      This text

All of it takes about thirteen minutes, `--quick` about three. Leave the machine alone meanwhile.";

/// The scenarios, in the order of the table.
const SCENARIOS: [&str; 6] = ["throughput", "batches", "fan-out", "latency", "isolation", WATCH];
/// The one that brings its own floors.
const WATCH: &str = "watch";

/// What all scenarios work with.
pub struct Bench {
    /// Where the release binaries are.
    binaries: PathBuf,
    /// The server that is measured.
    tidings: PathBuf,
    /// Where everything that is started keeps its files.
    scratch: Scratch,
    /// Whether to look only if it runs.
    quick: bool,
}

impl Bench {
    /// How often a measurement is repeated; the median is told.
    fn repeats(&self) -> usize {
        if self.quick { 1 } else { 3 }
    }

    /// One of two values.
    fn pick<T>(&self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }
}

#[derive(Default)]
struct Options {
    quick: bool,
    no_build: bool,
    help: bool,
    only: Vec<String>,
    tidings: Option<PathBuf>,
}

impl Options {
    fn parse(args: &[String]) -> anyhow::Result<Self> {
        let mut options = Self::default();
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().with_context(|| format!("`{arg}` needs a value"));
            match arg.as_str() {
                "--quick" => options.quick = true,
                "--no-build" => options.no_build = true,
                "--help" | "-h" => options.help = true,
                "--tidings" => options.tidings = Some(PathBuf::from(value()?)),
                "--only" => {
                    let name = value()?;
                    let is_known = SCENARIOS.contains(&name.as_str());
                    anyhow::ensure!(is_known, "there is no scenario `{name}`; there are {}", SCENARIOS.join(", "));
                    options.only.push(name.clone());
                }
                name if SCENARIOS.contains(&name) => options.only.push(name.to_owned()),
                unknown => anyhow::bail!("`cargo xtask bench` takes no `{unknown}`; see `cargo xtask bench --help`"),
            }
        }
        Ok(options)
    }

    fn wants(&self, scenario: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == scenario)
    }

    /// Whether anything is measured whose floors are measured beforehand.
    fn wants_floors(&self) -> bool {
        SCENARIOS.into_iter().any(|scenario| scenario != WATCH && self.wants(scenario))
    }
}

/// Runs the benchmark with the words behind `cargo xtask bench`.
pub fn run(args: &[String]) -> anyhow::Result<()> {
    let options = Options::parse(args)?;
    if options.help {
        println!("{HELP}");
        return Ok(());
    }
    let repo = Repo::find()?;
    if !options.no_build {
        shell::run(&mut repo.cargo(&["build", "--release", "--package", "tidings-bench", "--package", "tidings"]))?;
    }
    let bench = Bench {
        binaries: repo.target.join("release"),
        tidings: options.tidings.clone().unwrap_or_else(|| repo.tidings_bin()),
        scratch: Scratch::new(&repo.target)?,
        quick: options.quick,
    };
    let watch = Stopwatch::start();
    let machine = Machine::look()?;
    let mut table = Table::default();
    measure(&bench, &options, &mut table)?;
    println!("\n{table}");
    println!("{machine}\nTook {}.", watch.read());
    if options.quick {
        println!("Quick: measured once and briefly; the full run says more.");
    }
    Ok(())
}

fn measure(bench: &Bench, options: &Options, table: &mut Table) -> anyhow::Result<()> {
    if options.wants_floors() {
        measure_runs(bench, options, table)?;
    }
    if options.wants(WATCH) {
        say(WATCH);
        watch::measure(bench, table).with_context(|| format!("in the scenario `{WATCH}`"))?;
    }
    Ok(())
}

fn measure_runs(bench: &Bench, options: &Options, table: &mut Table) -> anyhow::Result<()> {
    say("floors");
    let floors = floors::measure(bench)?;
    floors.tell(table);
    for scenario in SCENARIOS.into_iter().filter(|scenario| *scenario != WATCH && options.wants(scenario)) {
        say(scenario);
        match scenario {
            "throughput" => throughput::one_by_one(bench, &floors, table),
            "batches" => throughput::batches(bench, &floors, table),
            "fan-out" => throughput::fan_out(bench, &floors, table),
            "latency" => latency::measure(bench, &floors, table),
            _ => isolation::measure(bench, &floors, table),
        }
        .with_context(|| format!("in the scenario `{scenario}`"))?;
    }
    Ok(())
}

/// Tells what is going on, beside the table and not in it.
fn say(what: &str) {
    eprintln!("bench: {what}");
}

/// The middle one; of an even number the mean of the two in the middle.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match (values.len(), values.len() / 2) {
        (0, _) => f64::NAN,
        (count, middle) if count % 2 == 1 => values[middle],
        (_, middle) => f64::midpoint(values[middle - 1], values[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(args: &[&str]) -> anyhow::Result<Options> {
        Options::parse(&args.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn only_what_was_asked_for_is_wanted() {
        let only = options(&["--quick", "--only", "latency", "--only", "isolation"]).unwrap();
        assert!(only.quick && only.wants("latency") && only.wants("isolation") && !only.wants("batches"));
        assert!(options(&[]).unwrap().wants("batches"));
        let watch = options(&["watch", "--quick"]).unwrap();
        assert!(watch.wants(WATCH) && !watch.wants_floors() && options(&[]).unwrap().wants_floors());
    }

    #[test]
    fn words_that_mean_nothing_are_refused() {
        for args in [&["--fast"][..], &["--only"], &["--only", "speed"], &["--tidings"]] {
            assert!(options(args).is_err(), "{args:?}");
        }
    }

    #[test]
    fn every_scenario_is_in_the_help() {
        assert!(SCENARIOS.iter().all(|scenario| HELP.contains(scenario)));
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(vec![9.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 9.0]), 3.0);
        assert!(median(Vec::new()).is_nan());
    }
}

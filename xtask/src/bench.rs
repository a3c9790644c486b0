//! `cargo xtask bench`: performance of a release (profile `dist`), compared with what this machine can do at best.
//!
//! ```text
//! tidings-load ──runs──▶ tidings serve ──webhooks──▶ tidings-sink        (loopback, free ports, a scratch directory)
//!       │                   └──probes──▶ tidings-target     ▲
//!       ├───────▶ baseline pipeline: tidings-baseline ──────┤
//!       └────────────── baseline: directly ─────────────────┘
//! ```
//!
//! A slow result is not an error: the table marks missed targets. Lost events, failed deliveries and a crash of the
//! server are errors. They end their scenario; the other scenarios still run.

mod baselines;
mod clock;
mod flow;
mod http;
mod isolation;
mod latency;
mod load;
mod machine;
mod metrics;
mod monitor;
mod pipeline;
mod process;
mod queries;
mod server;
mod sign_in;
mod sink;
mod spread;
mod table;
mod throughput;

use std::path::PathBuf;

use anyhow::Context as _;

use self::{
    machine::{Machine, Scratch},
    table::Table,
};
use crate::shell::{self, Repo, Stopwatch, program};

const HELP: &str = "\
Measures Tidings on this machine, compared with what the machine can do at best.

Usage: cargo xtask bench [SCENARIO]… [OPTIONS]

Builds with the profile `dist`, like releases, starts server, load generator and sink on free ports of loopback and in a directory below
`target`, and prints one table with results, targets and baselines: what this machine does in the same run without the
server. A missed target is reported, but is not an error. Lost events are an error, which ends its scenario only.

The baseline pipeline makes the same commits and requests with the server's libraries, but without the server. It
alternates with the server, five turns each. On a machine that is slower or busier than the one that the targets are
for, the ratio to it is the meaningful figure. Results of turns and scenarios are printed as they finish.

Options:
  --quick         Fewer events, shorter, without repetition: to check that it runs, not for results
  --only NAME     Only this scenario, same as the plain name; may be repeated. Its baselines are included.
                    throughput  one run per request over 64 connections, one webhook each; memory; cost;
                                alternating with the baseline pipeline
                    batches     100 runs per request, one webhook each; alternating with the baseline pipeline
                    fan-out     one run per request, ten webhooks each; alternating with the baseline pipeline
                    latency     200 runs per second; alternating with the baseline pipeline
                    isolation   the same without neighbours, and next to channels that refuse, hang, and have a
                                backlog of 100,000: the median of at least five pairs
                    monitor     cost of a check over HTTP and TLS; a server with 10,000 endpoints every
                                10 seconds; latency from a failing check to the receiver
                    queries     lists and text searches of a history of a million deliveries
                    sign-in     latency of reports while 20 people sign in, and without; memory
  --tidings PATH  Measure this server instead of the one that was built, to compare two builds
  --no-build      Use existing binaries
  -h, --help      Print this text

Takes about fifteen minutes, with `--quick` about three. Do not use the machine meanwhile.";

/// The scenarios, in the order of the table.
const SCENARIOS: [&str; 8] = ["throughput", "batches", "fan-out", "latency", "isolation", MONITOR, SIGN_IN, QUERIES];
/// The scenario that measures its own baselines.
const MONITOR: &str = "monitor";
/// The scenario that compares the server with itself.
const SIGN_IN: &str = "sign-in";
/// The scenario that measures the store alone.
const QUERIES: &str = "queries";

/// Settings of all scenarios.
pub struct Bench {
    /// Where what was built is.
    binaries: PathBuf,
    /// The server that is measured.
    tidings: PathBuf,
    /// Directory for the files of all processes.
    scratch: Scratch,
    /// Only check that it runs.
    quick: bool,
}

impl Bench {
    /// Repetitions of a single measurement, of which the median is reported.
    fn repeats(&self) -> usize {
        self.pick(3, 1)
    }

    /// Turns of two systems that are compared by their medians.
    fn turns(&self) -> usize {
        self.pick(5, 1)
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
                    anyhow::ensure!(is_known, "unknown scenario `{name}`; known are {}", SCENARIOS.join(", "));
                    options.only.push(name.clone());
                }
                name if SCENARIOS.contains(&name) => options.only.push(name.to_owned()),
                unknown => anyhow::bail!("unknown argument `{unknown}`; see `cargo xtask bench --help`"),
            }
        }
        Ok(options)
    }

    fn wants(&self, scenario: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == scenario)
    }

    /// Whether any scenario needs the common baselines.
    fn wants_baselines(&self) -> bool {
        SCENARIOS.into_iter().any(|scenario| ![MONITOR, SIGN_IN, QUERIES].contains(&scenario) && self.wants(scenario))
    }
}

/// Runs the benchmark with the arguments of `cargo xtask bench`.
pub fn run(args: &[String]) -> anyhow::Result<()> {
    let options = Options::parse(args)?;
    if options.help {
        println!("{HELP}");
        return Ok(());
    }
    let repo = Repo::find()?;
    if !options.no_build {
        let packages = ["--package", "tidings-bench", "--package", "tidings"];
        shell::run(repo.cargo(&["build", "--profile", "dist"]).args(packages))?;
    }
    let bench = Bench {
        binaries: repo.dist(),
        tidings: options.tidings.clone().unwrap_or_else(|| program(&repo.dist())),
        scratch: Scratch::new(&repo.target)?,
        quick: options.quick,
    };
    let watch = Stopwatch::start();
    let machine = Machine::observe()?;
    let (table, failures) = measure(&bench, &options);
    println!("\n{table}");
    println!("{machine}\nTook {}.", watch.read());
    if options.quick {
        println!("Quick run: measured once and briefly, not meaningful as a result.");
    }
    anyhow::ensure!(failures.is_empty(), failures.join("\n"));
    Ok(())
}

/// Runs the selected scenarios. Returns the table and the failures.
fn measure(bench: &Bench, options: &Options) -> (Table, Vec<String>) {
    let mut run = Run::default();
    let baselines = options.wants_baselines().then(|| {
        run.scenario("baselines", |part| {
            let baselines = baselines::measure(bench)?;
            baselines.add_to(part);
            Ok(baselines)
        })
    });
    for name in SCENARIOS.into_iter().filter(|name| options.wants(name)) {
        run.scenario(name, |part| {
            match name {
                MONITOR => return monitor::measure(bench, part),
                QUERIES => return queries::measure(bench, part),
                SIGN_IN => return sign_in::measure(bench, part),
                _ => {}
            }
            let baselines = baselines.as_ref().and_then(Option::as_ref).context("the baselines are missing")?;
            match name {
                "throughput" => throughput::one_by_one(bench, baselines, part),
                "batches" => throughput::batches(bench, baselines, part),
                "fan-out" => throughput::fan_out(bench, baselines, part),
                "latency" => latency::measure(bench, baselines, part),
                _ => isolation::measure(bench, baselines, part),
            }
        });
    }
    (run.table, run.failures)
}

/// Results so far. A failed scenario does not affect the others.
#[derive(Default)]
struct Run {
    table: Table,
    failures: Vec<String>,
}

impl Run {
    /// Runs a scenario and prints its results at once, in case the run is interrupted.
    fn scenario<T>(&mut self, name: &str, measure: impl FnOnce(&mut Table) -> anyhow::Result<T>) -> Option<T> {
        progress(name);
        let mut part = Table::default();
        let result = measure(&mut part).with_context(|| format!("in the scenario `{name}`"));
        let measured = match result {
            Ok(measured) => Some(measured),
            Err(error) => {
                let failure = format!("{error:#}");
                progress(&failure);
                self.failures.push(failure);
                part.remark(format!("`{name}` failed: its figures are incomplete."));
                None
            }
        };
        if !part.is_empty() {
            eprintln!("\n{part}");
        }
        self.table.append(part);
        measured
    }
}

/// Prints progress to standard error.
fn progress(what: &str) {
    eprintln!("bench: {what}");
}

/// Two systems in the order of this turn, so that neither is always first.
fn alternately<T>(turn: usize, [first, second]: [T; 2]) -> [T; 2] {
    if turn.is_multiple_of(2) { [first, second] } else { [second, first] }
}

/// The median; of an even number of values the mean of the two in the middle.
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
    fn options_select_scenarios() {
        let only = options(&["--quick", "--only", "latency", "--only", "isolation"]).unwrap();
        assert!(only.quick && only.wants("latency") && only.wants("isolation") && !only.wants("batches"));
        assert!(options(&[]).unwrap().wants("batches"));
        let monitor = options(&["monitor", "--quick"]).unwrap();
        assert!(monitor.wants(MONITOR) && !monitor.wants_baselines() && options(&[]).unwrap().wants_baselines());
    }

    #[test]
    fn options_unknown_arguments_fail() {
        for args in [&["--fast"][..], &["--only"], &["--only", "speed"], &["--tidings"]] {
            assert!(options(args).is_err(), "{args:?}");
        }
    }

    #[test]
    fn help_lists_every_scenario() {
        assert!(SCENARIOS.iter().all(|scenario| HELP.contains(scenario)));
    }

    #[test]
    fn failed_scenario_does_not_affect_the_others() {
        let mut run = Run::default();
        let figure = |name| table::Figure {
            name,
            value: 1.0,
            unit: table::Unit::Count,
            target: table::Target::None,
            baseline: None,
        };
        let first = run.scenario("first", |part| {
            part.add(figure("half a figure"));
            anyhow::bail!("it broke")
        });
        let second = run.scenario("second", |part| {
            part.add(figure("a figure"));
            Ok(2)
        });
        assert_eq!((first, second), (None::<u32>, Some(2)));
        assert_eq!(run.failures, ["in the scenario `first`: it broke"]);
        let text = run.table.to_string();
        assert!(
            text.contains("half a figure") && text.contains("a figure") && text.contains("`first` failed"),
            "{text}"
        );
    }

    #[test]
    fn alternately_swaps_every_turn() {
        assert_eq!([0, 1, 2].map(|turn| alternately(turn, ['a', 'b'])), [['a', 'b'], ['b', 'a'], ['a', 'b']]);
    }

    #[test]
    fn median_of_odd_even_and_empty() {
        assert_eq!(median(vec![9.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 9.0]), 3.0);
        assert!(median(Vec::new()).is_nan());
    }
}

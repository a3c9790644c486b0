//! `cargo xtask bench`: how fast, how cheap and how fair a release is, beside what this machine could do.
//!
//! ```text
//! tidings-load ──runs──▶ tidings serve ──webhooks──▶ tidings-sink        (loopback, free ports, a scratch directory)
//!       │                   └──probes──▶ tidings-target     ▲
//!       ├───────▶ the bare way: tidings-floor ──────────────┤
//!       └────────────── the floor: straight into it ────────┘
//! ```
//!
//! What is measured is never an error, however slow: the table says what misses its target. Lost events, failed
//! deliveries and a server that dies are errors. They end their scenario; the others are measured and told all the same.

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
mod spread;
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
use crate::shell::{self, Repo, Stopwatch, program};

const HELP: &str = "\
How fast, how cheap and how fair Tidings is on this machine, beside what the machine could do at best.

Usage: cargo xtask bench [SCENARIO]… [OPTIONS]

Builds with the profile `dist`, as releases are built, starts server, load generator and sink on free ports of loopback
and in a directory below `target`, and prints one table: what was measured, the target, and the floor: what this machine
does in the same run without the server. A missed target is told, not an error. Lost events are an error: it ends its scenario, and is told
below the table of the others.

The bare way of an event is commits and requests with the server's libraries, and no server. It takes turns with the
server, five each. On a machine that is slower or busier than the one that targets are for, the ratio to it is the
figure that says something. Each turn is told when it is over, each scenario's part of the table when that is done.

Options:
  --quick         Fewer events, shorter, once instead of several times: to see that it runs, not what it does
  --only NAME     Only this scenario, as if named without it; may be given more than once. The floors of
                  what is measured are measured with it.
                    throughput  one run per request over 64 connections, one webhook each; memory; cost;
                                in turns with the bare way
                    batches     100 runs per request, one webhook each; in turns with the bare way
                    fan-out     one run per request, ten webhooks each; in turns with the bare way
                    latency     200 runs per second; in turns with the bare way
                    isolation   the same alone, and beside channels that refuse, hang, and have 100,000
                                waiting: in pairs, at least five, and the middle of what they say
                    watch       what a check costs, over HTTP and TLS; a server with 10,000 endpoints every
                                10 seconds; from a failing check to the receiver
  --tidings PATH  Measure this server instead of the one that was built (to compare two builds)
  --no-build      Take the binaries that are there
  -h, --help      This text

All of it takes about fifteen minutes, `--quick` about three. Leave the machine alone meanwhile.";

/// The scenarios, in the order of the table.
const SCENARIOS: [&str; 6] = ["throughput", "batches", "fan-out", "latency", "isolation", WATCH];
/// The one that brings its own floors.
const WATCH: &str = "watch";

/// What all scenarios work with.
pub struct Bench {
    /// Where what was built is.
    binaries: PathBuf,
    /// The server that is measured.
    tidings: PathBuf,
    /// Where everything that is started keeps its files.
    scratch: Scratch,
    /// Whether to look only if it runs.
    quick: bool,
}

impl Bench {
    /// How often a measurement is repeated that stands alone; the median is told.
    fn repeats(&self) -> usize {
        self.pick(3, 1)
    }

    /// How often two take turns that are compared: the medians are told.
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
    let machine = Machine::look()?;
    let (table, failures) = measure(&bench, &options);
    println!("\n{table}");
    println!("{machine}\nTook {}.", watch.read());
    if options.quick {
        println!("Quick: measured once and briefly; the full run says more.");
    }
    anyhow::ensure!(failures.is_empty(), failures.join("\n"));
    Ok(())
}

/// Everything that is wanted, and what failed.
fn measure(bench: &Bench, options: &Options) -> (Table, Vec<String>) {
    let mut run = Run::default();
    let floors = options.wants_floors().then(|| {
        run.scenario("floors", |part| {
            let floors = floors::measure(bench)?;
            floors.tell(part);
            Ok(floors)
        })
    });
    for name in SCENARIOS.into_iter().filter(|name| options.wants(name)) {
        run.scenario(name, |part| {
            if name == WATCH {
                return watch::measure(bench, part);
            }
            let floors = floors.as_ref().and_then(Option::as_ref).context("it needs the floors")?;
            match name {
                "throughput" => throughput::one_by_one(bench, floors, part),
                "batches" => throughput::batches(bench, floors, part),
                "fan-out" => throughput::fan_out(bench, floors, part),
                "latency" => latency::measure(bench, floors, part),
                _ => isolation::measure(bench, floors, part),
            }
        });
    }
    (run.table, run.failures)
}

/// What the scenarios came to so far. One that fails takes nothing away from the others.
#[derive(Default)]
struct Run {
    table: Table,
    failures: Vec<String>,
}

impl Run {
    /// Measures one, and tells at once what it came to: the run may yet be cut off.
    fn scenario<T>(&mut self, name: &str, measure: impl FnOnce(&mut Table) -> anyhow::Result<T>) -> Option<T> {
        say(name);
        let mut part = Table::default();
        let result = measure(&mut part).with_context(|| format!("in the scenario `{name}`"));
        let measured = match result {
            Ok(measured) => Some(measured),
            Err(error) => {
                let failure = format!("{error:#}");
                say(&failure);
                self.failures.push(failure);
                part.remark(format!("`{name}` failed: its figures are missing or not all there."));
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

/// Tells what is going on, beside the table and not in it.
fn say(what: &str) {
    eprintln!("bench: {what}");
}

/// Two that are compared, in the order of this turn: neither always comes first.
fn alternately<T>(turn: usize, [first, second]: [T; 2]) -> [T; 2] {
    if turn.is_multiple_of(2) { [first, second] } else { [second, first] }
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
    fn a_scenario_that_fails_takes_nothing_from_the_others() {
        let mut run = Run::default();
        let figure = |name| table::Figure {
            name,
            value: 1.0,
            unit: table::Unit::Count,
            target: table::Target::None,
            floor: None,
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
        let told = run.table.to_string();
        assert!(
            told.contains("half a figure") && told.contains("a figure") && told.contains("`first` failed"),
            "{told}"
        );
    }

    #[test]
    fn neither_of_two_always_comes_first() {
        assert_eq!([0, 1, 2].map(|turn| alternately(turn, ['a', 'b'])), [['a', 'b'], ['b', 'a'], ['a', 'b']]);
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(vec![9.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 9.0]), 3.0);
        assert!(median(Vec::new()).is_nan());
    }
}

//! `cargo xtask`: the repository's tasks. Each is safe to repeat and prints what it does.
//!
//! Arguments are parsed by hand: fewer dependencies make every task start sooner.

mod bench;
mod openapi;
mod shell;
mod steps;
mod tidy;
mod tools;

use std::process::ExitCode;

use crate::{shell::Repo, steps::Step};

const HELP: &str = "\
Tasks of the Tidings repository.

Usage: cargo xtask <COMMAND>

Commands:
  test         Everything that must pass before a change is merged; what CI runs. Installs what it
               needs first (and says what), then: format, lints, licences and bans, tidy checks,
               documentation tests, release build, tests. Stops at the first step that fails.
  check        The quick part of it, for while you work: format, lints, tidy checks
  tidy         Only the repository checks: file headers and sizes, test layout, doc comments, crate
               layers, decision records, banned words
  tools        Only install what the tests need
  openapi      Write docs/openapi.json, the committed copy of the API's description
  advisories   Known vulnerabilities in dependencies. Reads the advisory database from its git
               host, and its answer changes without any change here, so it is not part of `test`
  bench        How fast, how cheap and how fair a release is; `cargo xtask bench --help`
  help         This text

A step that fails says how to run it alone. `cargo xtask test` needs a Rust toolchain with rustfmt
and clippy and a C compiler, and reaches package registries only (crates, PyPI, Debian).
CONTRIBUTING.md has more.";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[String]) -> anyhow::Result<()> {
    if let [task, options @ ..] = args
        && task == "bench"
    {
        return bench::run(options);
    }
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["test"] => steps::run("test", &Step::TEST, &Repo::find()?),
        ["check"] => steps::run("check", &Step::CHECK, &Repo::find()?),
        ["tidy"] => tidy::run(&Repo::find()?),
        ["tools"] => tools::run(&Repo::find()?),
        ["openapi"] => openapi::run(&Repo::find()?),
        ["advisories"] => steps::advisories(&Repo::find()?),
        [] | ["help" | "--help" | "-h"] | [_, "--help" | "-h"] => {
            println!("{HELP}");
            Ok(())
        }
        _ => anyhow::bail!("unknown task `{}`; see `cargo xtask help`", args.join(" ")),
    }
}

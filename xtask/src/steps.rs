//! The steps of `cargo xtask test` and `cargo xtask check`: an explicit list, run in order up to the first failure.

use std::process::Command;

use crate::{
    shell::{self, Repo, Shown, Stopwatch, Took},
    tidy, tools,
};

/// One thing that is done, or has to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Install what the other steps need.
    Tools,
    /// The code is formatted.
    Format,
    /// The lints are silent.
    Lints,
    /// Licences, banned crates and sources of the dependencies.
    Dependencies,
    /// Checks of the repository that no compiler makes.
    Tidy,
    /// The examples in the documentation.
    DocTests,
    /// The program that some tests start.
    Release,
    /// The tests.
    Tests,
}

impl Step {
    /// All of them: what has to pass before a change is merged.
    pub const TEST: [Self; 8] = [
        Self::Tools,
        Self::Format,
        Self::Lints,
        Self::Dependencies,
        Self::Tidy,
        Self::DocTests,
        Self::Release,
        Self::Tests,
    ];

    /// Those that are quick enough to run while one works.
    pub const CHECK: [Self; 3] = [Self::Format, Self::Lints, Self::Tidy];

    fn name(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Format => "format",
            Self::Lints => "lints",
            Self::Dependencies => "dependencies",
            Self::Tidy => "tidy",
            Self::Release => "release build",
            Self::Tests => "tests",
            Self::DocTests => "doc tests",
        }
    }

    fn why(self) -> &'static str {
        match self {
            Self::Tools => "find what the other steps need, and install what is missing",
            Self::Format => "the code is formatted",
            Self::Lints => "no warning from the compiler or clippy, tests included",
            Self::Dependencies => "licences, banned crates and sources, as deny.toml says",
            Self::Tidy => "checks of the repository that no compiler makes",
            Self::Release => "the program that the tests start, kill and start again",
            Self::Tests => "every test of every crate",
            Self::DocTests => "the examples in the documentation compile and hold",
        }
    }

    /// The command behind the step, unless this program does the work itself.
    fn command(self, repo: &Repo) -> Option<Command> {
        let command = match self {
            Self::Tools | Self::Tidy => return None,
            Self::Format => repo.cargo(&["fmt", "--all", "--check"]),
            Self::Lints => repo.cargo(&["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]),
            Self::Dependencies => repo.cargo(&["deny", "--locked", "check", "licenses", "bans", "sources"]),
            Self::Release => repo.cargo(&["build", "--release", "--locked", "--package", "tidings"]),
            Self::Tests => {
                let mut command = repo.cargo(&["nextest", "run", "--workspace", "--locked", "--profile", "ci"]);
                command.env("TIDINGS_BIN", repo.tidings_bin()).env("TIDINGS_TEST_PYTHON", repo.python());
                command
            }
            Self::DocTests => repo.cargo(&["test", "--doc", "--workspace", "--locked"]),
        };
        Some(command)
    }

    fn run(self, repo: &Repo) -> anyhow::Result<()> {
        match self {
            Self::Tools => tools::run(repo),
            Self::Tidy => tidy::run(repo),
            Self::Format => tools::ensure("rustfmt", repo),
            Self::Lints => tools::ensure("clippy", repo),
            _ => Ok(()),
        }?;
        self.command(repo).map_or(Ok(()), |mut command| shell::run(&mut command))
    }

    /// What to type to run this step and no other.
    fn alone(self, repo: &Repo) -> String {
        match self.command(repo) {
            Some(command) => Shown(&command).to_string(),
            None => format!("cargo xtask {}", self.name()),
        }
    }
}

/// Says what will happen, does it, and says how long each step took.
pub fn run(chore: &str, steps: &[Step], repo: &Repo) -> anyhow::Result<()> {
    println!("cargo xtask {chore} will, one after the other:");
    for (number, step) in (1..).zip(steps) {
        println!("  {number}. {:<14} {}", step.name(), step.why());
    }
    let whole = Stopwatch::start();
    let mut took: Vec<(Step, Took)> = Vec::new();
    for (number, step) in (1..).zip(steps) {
        println!("\n==> {number}/{} {}: {}", steps.len(), step.name(), step.alone(repo));
        let watch = Stopwatch::start();
        step.run(repo).map_err(|error| {
            let (name, alone) = (step.name(), step.alone(repo));
            anyhow::anyhow!("step `{name}` failed after {}: {error:#}\nTo run it alone: {alone}", watch.read())
        })?;
        println!("==> {}: ok, {}", step.name(), watch.read());
        took.push((*step, watch.read()));
    }
    println!("\ncargo xtask {chore}: all {} steps passed in {}", steps.len(), whole.read());
    for (step, took) in took {
        println!("  {:<14} {took}", step.name());
    }
    Ok(())
}

/// Known vulnerabilities and abandoned crates among the dependencies.
pub fn advisories(repo: &Repo) -> anyhow::Result<()> {
    tools::ensure("cargo-deny", repo)?;
    shell::run(&mut repo.cargo(&["deny", "--locked", "check", "advisories"]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_is_a_part_of_test() {
        assert!(Step::CHECK.iter().all(|step| Step::TEST.contains(step)));
    }

    #[test]
    fn every_step_can_be_run_alone() {
        let repo = Repo { root: "/repo".into(), target: "/repo/target".into() };
        let alone = Step::TEST.map(|step| step.alone(&repo));
        assert_eq!(
            alone,
            [
                "cargo xtask tools",
                "cargo fmt --all --check",
                "cargo clippy --workspace --all-targets --locked -- -D warnings",
                "cargo deny --locked check licenses bans sources",
                "cargo xtask tidy",
                "cargo test --doc --workspace --locked",
                "cargo build --release --locked --package tidings",
                "TIDINGS_BIN=/repo/target/release/tidings TIDINGS_TEST_PYTHON=/repo/target/test-python/bin/python \
                 cargo nextest run --workspace --locked --profile ci",
            ]
        );
    }
}

//! Where the repository is, and how other programs are started: no shell, no standard input, output passed through.

use std::{
    env, fmt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::Context as _;

/// The directories that the chores work in.
pub struct Repo {
    /// The root of the workspace.
    pub root: PathBuf,
    /// Where Cargo puts what it builds.
    pub target: PathBuf,
}

impl Repo {
    /// From this crate's place in the workspace, and from where Cargo put this program.
    pub fn find() -> anyhow::Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask is in no workspace")?;
        // <target>/debug/xtask. Asked before anything is built: a rebuild replaces the file under our feet.
        let own = env::current_exe().context("cannot find the path of this program")?;
        let target = own.ancestors().nth(2).context("this program is in no target directory")?;
        Ok(Self { root: root.to_owned(), target: target.to_owned() })
    }

    /// The program that the tests of crashes and restarts start and kill: the one that is built soonest.
    pub fn tidings_bin(&self) -> PathBuf {
        program(&self.target.join("release"))
    }

    /// Where Cargo puts what it builds with the profile `dist`: what is released, and what is measured.
    pub fn dist(&self) -> PathBuf {
        self.target.join("dist")
    }

    /// The Python of the tests' own environment.
    pub fn python(&self) -> PathBuf {
        self.python_env().join("bin/python")
    }

    /// The tests' own Python environment.
    pub fn python_env(&self) -> PathBuf {
        self.target.join("test-python")
    }

    /// A program, to be run in the root of the workspace.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command.current_dir(&self.root).stdin(Stdio::null());
        command
    }

    /// Cargo, as if it had been called by hand.
    ///
    /// `cargo run` sets variables about the package that it runs, and some build scripts (ring's, for
    /// one) rebuild when those variables change: without this, every turn between `cargo xtask` and `cargo build`
    /// would compile them again.
    pub fn cargo(&self, args: &[&str]) -> Command {
        let mut command = self.command("cargo");
        for (name, _) in env::vars_os() {
            if name.to_str().is_some_and(is_about_this_package) {
                command.env_remove(name);
            }
        }
        command.args(args);
        command
    }
}

/// The program in this directory of a profile.
pub fn program(directory: &Path) -> PathBuf {
    directory.join(format!("tidings{}", env::consts::EXE_SUFFIX))
}

fn is_about_this_package(variable: &str) -> bool {
    variable.starts_with("CARGO_PKG_") || variable.starts_with("CARGO_MANIFEST_")
}

/// Runs a command to its end, with its output where ours goes.
pub fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("cannot start `{}`", Shown(command)))?;
    anyhow::ensure!(status.success(), "`{}` ended with {status}", Shown(command));
    Ok(())
}

/// Whether a command can be started and succeeds. Its output is dropped.
pub fn succeeds(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// A command as one would type it, with the variables that were set for it.
pub struct Shown<'a>(pub &'a Command);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in self.0.get_envs() {
            if let Some(value) = value {
                write!(f, "{}={} ", name.display(), value.display())?;
            }
        }
        write!(f, "{}", self.0.get_program().display())?;
        self.0.get_args().try_for_each(|arg| write!(f, " {}", arg.display()))
    }
}

/// How long something took. The chores have no injected clock: nothing is decided by what this says.
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts it.
    #[expect(clippy::disallowed_methods, reason = "a chore says how long it took; no behaviour depends on it")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// The time since the start.
    pub fn read(&self) -> Took {
        Took(self.0.elapsed())
    }
}

/// A duration as a reader of a log wants it.
#[derive(Clone, Copy)]
pub struct Took(pub Duration);

impl fmt::Display for Took {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_secs() {
            seconds @ 60.. => write!(f, "{} min {:02} s", seconds / 60, seconds % 60),
            _ => write!(f, "{:.1} s", self.0.as_secs_f64()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_as_one_would_type_it() {
        let mut command = Command::new("cargo");
        command.env_remove("CARGO_PKG_NAME").env("TIDINGS_BIN", "target/release/tidings").args(["nextest", "run"]);
        assert_eq!(Shown(&command).to_string(), "TIDINGS_BIN=target/release/tidings cargo nextest run");
    }

    #[test]
    fn durations_read_well() {
        assert_eq!(Took(Duration::from_millis(840)).to_string(), "0.8 s");
        assert_eq!(Took(Duration::from_secs(605)).to_string(), "10 min 05 s");
    }

    #[test]
    fn a_command_that_fails_or_is_missing_is_an_error_that_names_it() {
        let error = run(Command::new("cargo").arg("no-such-subcommand-here").stderr(Stdio::null())).unwrap_err();
        assert!(error.to_string().contains("`cargo no-such-subcommand-here` ended with"), "{error}");
        let error = run(&mut Command::new("no-such-program-here")).unwrap_err();
        assert!(error.to_string().contains("cannot start `no-such-program-here`"), "{error}");
    }

    #[test]
    fn only_what_cargo_says_about_this_package_is_forgotten() {
        assert!(is_about_this_package("CARGO_PKG_NAME"));
        assert!(is_about_this_package("CARGO_MANIFEST_DIR"));
        assert!(!is_about_this_package("CARGO_TARGET_DIR"));
        assert!(!is_about_this_package("CARGO_HOME"));
    }
}

//! What the tests need besides Cargo: an explicit list. A new tool is one more entry in [`TOOLS`].

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use anyhow::Context as _;

use crate::shell::{self, Repo, Stopwatch};

/// Something that a step needs and a fresh machine may lack.
struct Tool {
    name: &'static str,
    why: &'static str,
    /// Whether it is there, and fit for use.
    present: fn(&Repo) -> bool,
    /// How it gets there; or, where that is not for us to do, an error that says what to run.
    install: fn(&Repo) -> anyhow::Result<()>,
}

/// In the order in which they are looked for: a later one may need an earlier one.
const TOOLS: &[Tool] = &[
    Tool {
        name: "rustfmt",
        why: "the format of the code",
        present: |repo| shell::succeeds(&mut repo.cargo(&["fmt", "--version"])),
        install: |_| missing_component("rustfmt"),
    },
    Tool {
        name: "clippy",
        why: "the lints",
        present: |repo| shell::succeeds(&mut repo.cargo(&["clippy", "--version"])),
        install: |_| missing_component("clippy"),
    },
    Tool {
        name: "curl",
        why: "the command that a first start prints is pasted into a shell",
        present: |repo| shell::succeeds(repo.command("curl").arg("--version")),
        install: |repo| apt_install(repo, &["curl"]),
    },
    Tool {
        name: "python3 with venv",
        why: "runs the servers that are not ours, against which the tests check what we send",
        present: |repo| shell::succeeds(repo.command("python3").args(["-c", "import ensurepip, venv"])),
        install: |repo| apt_install(repo, &["python3", "python3-venv"]),
    },
    Tool {
        name: "Python packages",
        why: "an SMTP server, a library that verifies webhooks, checks and a client generator for the OpenAPI description \
              (tests/python/requirements.txt, into target/test-python)",
        present: python_packages_are_current,
        install: install_python_packages,
    },
    Tool {
        name: "Prometheus and Alertmanager",
        why: "send alerts to an inbound webhook, as in production",
        present: |repo| {
            shell::succeeds(repo.command("prometheus").arg("--version"))
                && shell::succeeds(repo.command("prometheus-alertmanager").arg("--version"))
        },
        // Debian runs both as services, too; the tests start their own, on ports of their own.
        install: |repo| apt_install(repo, &["prometheus", "prometheus-alertmanager"]),
    },
    Tool {
        name: "Node.js with npm",
        why: "runs the JavaScript examples of the documentation",
        present: |repo| {
            shell::succeeds(repo.command("node").arg("--version"))
                && shell::succeeds(repo.command("npm").arg("--version"))
        },
        install: |repo| apt_install(repo, &["nodejs", "npm"]),
    },
    Tool {
        name: "Node packages",
        why: "libraries that verify webhooks, a linter of OpenAPI descriptions (tests/node/package-lock.json, into \
              target/test-node)",
        present: |repo| same_contents(&repo.root.join(NODE_LOCK), &node_packages(repo).join("installed-lock.json")),
        install: install_node_packages,
    },
    Tool {
        name: "Go",
        why: "compiles the Go examples of the documentation",
        present: |repo| {
            shell::succeeds(repo.command("go").arg("version")) && shell::succeeds(repo.command("gofmt").arg("-l"))
        },
        install: |repo| apt_install(repo, &["golang-go"]),
    },
    Tool {
        name: "PHP",
        why: "runs the PHP examples of the documentation",
        present: |repo| shell::succeeds(repo.command("php").arg("--version")),
        install: |repo| apt_install(repo, &["php-cli"]),
    },
    Tool {
        name: "Ruby with openssl",
        why: "runs the Ruby examples of the documentation",
        present: |repo| shell::succeeds(repo.command("ruby").args(["-r", "openssl", "-e", ""])),
        install: |repo| apt_install(repo, &["ruby"]),
    },
    Tool {
        name: "jq",
        why: "the shell examples of the documentation read answers with it",
        present: |repo| shell::succeeds(repo.command("jq").arg("--version")),
        install: |repo| apt_install(repo, &["jq"]),
    },
    Tool {
        name: "sqlite3",
        why: "the documentation's backup command",
        present: |repo| shell::succeeds(repo.command("sqlite3").arg("--version")),
        install: |repo| apt_install(repo, &["sqlite3"]),
    },
    Tool {
        name: "systemd-analyze",
        why: "checks the units of the documentation; systemd does not have to run",
        present: |repo| shell::succeeds(repo.command("systemd-analyze").arg("--version")),
        install: |repo| apt_install(repo, &["systemd"]),
    },
    Tool {
        name: "openssl",
        why: "the shell examples of the documentation verify signatures with it",
        present: |repo| shell::succeeds(repo.command("openssl").arg("version")),
        install: |repo| apt_install(repo, &["openssl"]),
    },
    Tool {
        name: "cargo-nextest",
        why: "runs each test in a process of its own, and ends those that hang",
        present: |repo| shell::succeeds(&mut repo.cargo(&["nextest", "--version"])),
        install: |repo| cargo_install(repo, "cargo-nextest@0.9.143"),
    },
    Tool {
        name: "cargo-deny",
        why: "licences, banned crates and sources of the dependencies",
        present: |repo| shell::succeeds(&mut repo.cargo(&["deny", "--version"])),
        install: |repo| cargo_install(repo, "cargo-deny@0.20.2"),
    },
];

/// Looks for every tool, and installs those that are missing.
pub fn run(repo: &Repo) -> anyhow::Result<()> {
    TOOLS.iter().try_for_each(|tool| tool.ensure(repo))
}

/// Looks for one tool, and installs it if it is missing; silent if it is there.
pub fn ensure(name: &str, repo: &Repo) -> anyhow::Result<()> {
    let tool = find(name)?;
    if (tool.present)(repo) { Ok(()) } else { tool.ensure(repo) }
}

fn find(name: &str) -> anyhow::Result<&'static Tool> {
    TOOLS.iter().find(|tool| tool.name == name).with_context(|| format!("there is no tool `{name}` in the list"))
}

impl Tool {
    fn ensure(&self, repo: &Repo) -> anyhow::Result<()> {
        let Self { name, why, present, install } = self;
        if present(repo) {
            println!("{name}: there");
            return Ok(());
        }
        println!("{name}: missing; {why}");
        let watch = Stopwatch::start();
        install(repo).with_context(|| format!("cannot install {name}"))?;
        anyhow::ensure!(present(repo), "{name} was installed and still does not work");
        println!("{name}: installed, {}", watch.read());
        Ok(())
    }
}

/// Which toolchain is installed, and with what, is for its owner to decide.
fn missing_component(component: &str) -> anyhow::Result<()> {
    anyhow::bail!("it is a part of the Rust toolchain; run `rustup component add {component}`")
}

/// Into Cargo's own directory, where it outlives the target directory. Not optimised: these programs wait for others
/// most of the time, and their build delays the first run on a fresh machine (cargo-deny compiles in 50 s and checks in 2 s).
fn cargo_install(repo: &Repo, package: &str) -> anyhow::Result<()> {
    let mut command = repo.cargo(&["install", "--locked", package]);
    command
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0");
    println!("compiling {package}; on two cores this takes a minute or two, once");
    shell::run(&mut command)
}

fn requirements(repo: &Repo) -> PathBuf {
    repo.root.join("tests/python/requirements.txt")
}

/// A copy of the requirements that the environment was made from; the last thing to be written into it.
fn installed_requirements(repo: &Repo) -> PathBuf {
    repo.python_env().join("requirements.txt")
}

/// Whether what the tests use of Python works. Schemathesis is found, but not imported: that alone takes a second.
const PYTHON_IMPORTS: &str = "import aiosmtpd, standardwebhooks, importlib.util as util
assert all(map(util.find_spec, ['schemathesis', 'openapi_spec_validator', 'openapi_python_client']))";

fn python_packages_are_current(repo: &Repo) -> bool {
    same_contents(&requirements(repo), &installed_requirements(repo))
        && shell::succeeds(repo.command(repo.python()).args(["-c", PYTHON_IMPORTS]))
}

fn same_contents(left: &Path, right: &Path) -> bool {
    matches!((fs::read(left), fs::read(right)), (Ok(left), Ok(right)) if left == right)
}

fn install_python_packages(repo: &Repo) -> anyhow::Result<()> {
    shell::run(repo.command("python3").args(["-m", "venv", "--clear"]).arg(repo.python_env()))?;
    shell::run(
        repo.command(repo.python())
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"])
            .args(["--only-binary", ":all:", "--require-hashes", "--requirement"])
            .arg(requirements(repo)),
    )?;
    fs::copy(requirements(repo), installed_requirements(repo)).context("cannot note which packages are installed")?;
    Ok(())
}

/// Pins the Node packages.
const NODE_LOCK: &str = "tests/node/package-lock.json";

fn node_packages(repo: &Repo) -> PathBuf {
    repo.target.join("test-node")
}

fn install_node_packages(repo: &Repo) -> anyhow::Result<()> {
    let directory = node_packages(repo);
    fs::create_dir_all(&directory)?;
    for name in ["package.json", "package-lock.json"] {
        fs::copy(repo.root.join("tests/node").join(name), directory.join(name)).context("cannot copy the lock file")?;
    }
    shell::run(
        repo.command("npm")
            .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"])
            .current_dir(&directory),
    )?;
    // Written last: only a complete installation has it.
    fs::copy(repo.root.join(NODE_LOCK), directory.join("installed-lock.json"))
        .context("cannot note which packages are installed")?;
    Ok(())
}

/// Debian's packages, as root or through a sudo that asks nothing.
fn apt_install(repo: &Repo, packages: &[&str]) -> anyhow::Result<()> {
    static UPDATED: OnceLock<()> = OnceLock::new();
    let by_hand = format!("apt-get update && apt-get install {}", packages.join(" "));
    let as_root: &[&str] = if is_root() {
        &[]
    } else if shell::succeeds(repo.command("sudo").args(["-n", "true"])) {
        &["sudo", "-n"]
    } else {
        anyhow::bail!("only root may do that, and sudo is not there or asks for a password; run, as root: {by_hand}");
    };
    let apt_get = |args: &[&str]| {
        let words = [as_root, &["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "--quiet", "--yes"], args].concat();
        let mut command = repo.command(words[0]);
        println!("{}", words.join(" "));
        shell::run(command.args(&words[1..]))
            .with_context(|| format!("where apt-get is not at hand, see to: {by_hand}"))
    };
    if UPDATED.get().is_none() {
        apt_get(&["update"])?;
        UPDATED.get_or_init(|| ());
    }
    apt_get(&[&["install", "--no-install-recommends", "--no-upgrade"], packages].concat())
}

/// Whether this program may install packages: its own entry in /proc belongs to whom it runs as.
fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_are_found_by_name() {
        assert!(find("cargo-deny").is_ok());
        assert!(find("a hammer").is_err());
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = TOOLS.iter().map(|tool| tool.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), TOOLS.len());
    }

    #[test]
    fn a_missing_component_says_what_to_run() {
        let error = missing_component("clippy").unwrap_err().to_string();
        assert!(error.ends_with("run `rustup component add clippy`"), "{error}");
    }

    #[test]
    fn two_missing_files_are_not_the_same() {
        let (there, missing) = (Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"), Path::new("no-such-file"));
        assert!(same_contents(&there, &there));
        assert!(!same_contents(&there, missing));
        assert!(!same_contents(missing, missing));
    }
}

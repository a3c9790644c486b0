//! The OpenAPI description, held against its specification, a linter, a generated client, a fuzzer and its own examples. The
//! programs are those that `cargo xtask tools` installs.

mod client;
mod fuzz;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Server, Setup};

/// The description that a server serves, as a file in a directory of its own.
struct Description {
    directory: TempDir,
    document: Value,
}

impl Description {
    #[track_caller]
    fn of(server: &Server) -> Self {
        let answer = server.api().get_root("/api/openapi.json");
        let document = answer.expect(200);
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("openapi.json"), answer.text()).unwrap();
        Self { directory, document }
    }

    fn directory(&self) -> &Path {
        self.directory.path()
    }

    fn path(&self) -> PathBuf {
        self.directory().join("openapi.json")
    }

    /// Runs the command in the description's directory.
    #[track_caller]
    fn run(&self, mut command: Command) -> Output {
        let program = command.get_program().to_owned();
        let output = command.current_dir(self.directory()).output();
        output.unwrap_or_else(|error| panic!("{program:?}: {error}; `cargo xtask tools` installs it"))
    }
}

/// What a program printed.
fn printed(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|it| String::from_utf8_lossy(it).into_owned()).join("\n")
}

/// The Python of the tests' own environment.
fn python() -> OsString {
    std::env::var_os("TIDINGS_TEST_PYTHON").expect("TIDINGS_TEST_PYTHON: `cargo xtask test` sets it")
}

#[test]
fn openapi_description_is_valid() {
    let server = Setup::new().start();
    let description = Description::of(&server);
    assert_eq!(description.document["openapi"], "3.1.0");
    let mut command = Command::new(python());
    command.args(["-m", "openapi_spec_validator", "--subschema-errors", "all"]).arg(description.path());
    let output = description.run(command);
    assert!(output.status.success(), "{}", printed(&output));
}

#[test]
fn openapi_description_passes_recommended_lint_rules() {
    let server = Setup::new().start();
    let description = Description::of(&server);
    let program =
        Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("test-node/node_modules/@redocly/cli/bin/cli.js");
    assert!(program.is_file(), "no {program:?}: run `cargo xtask tools`");
    let mut command = Command::new("node");
    command.arg(program).args(["lint", "--extends", "recommended", "--format", "json"]).arg(description.path());
    // It would report its use to its maker, and ask for newer versions of itself.
    command.env("REDOCLY_TELEMETRY", "off").env("REDOCLY_SUPPRESS_UPDATE_NOTICE", "true");
    let output = description.run(command);
    let report: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", printed(&output)));
    let (errors, warnings) = (&report["totals"]["errors"], &report["totals"]["warnings"]);
    assert!(output.status.success() && errors == 0 && warnings == 0, "{:#}", report["problems"]);
}

//! The recipes of `docs/COMING_FROM.md` that report runs, and its ways to move, as their readers run them.

mod airflow;
mod cron;
mod dbt;
mod github_actions;
mod moving;
mod systemd;
mod unreachable;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::snippets::{self, Snippet};
use crate::support::{Api, Receiver, Server, Setup};

const DOCUMENT: &str = "docs/COMING_FROM.md";

/// The program, a receiver, and a directory for the files of a recipe.
struct World {
    setup: Setup,
    server: Server,
    api: Api,
    receiver: Receiver,
}

/// How a command ended.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl World {
    fn start() -> Self {
        let setup = Setup::new();
        let server = setup.start();
        let api = server.api();
        Self { setup, server, api, receiver: Receiver::good() }
    }

    fn url(&self) -> String {
        format!("http://{}", self.server.address)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.setup.directory().join(name)
    }

    /// A command in that directory, with the variables that the recipes read.
    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = self.setup.command(program);
        command.args(arguments).env("TIDINGS_URL", self.url()).env("HOOK_URL", self.receiver.url());
        command.stdin(Stdio::null());
        command
    }

    /// Saves a snippet as an executable file of this name.
    fn install(&self, title: &str, name: &str) -> Snippet {
        let snippet = snippets::titled(DOCUMENT, title);
        self.write_script(name, &snippet.text);
        snippet
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Writes an executable file.
    fn write_script(&self, name: &str, text: &str) {
        self.write(name, text);
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Runs the snippet `setup`, some lines, and this snippet in one shell, and then prints `$channel`.
    fn run_after_setup(&self, lines: &str, title: &str) -> String {
        let (setup, snippet) = (snippets::titled(DOCUMENT, "setup"), snippets::titled(DOCUMENT, title));
        let script = format!("set -eu\n{}{lines}\n{}\necho \"channel=${{channel-}}\"", setup.text, snippet.text);
        snippet.output_of(self.command("sh", &["-c", &script]))
    }

    /// Makes the page's first channel and its rules for jobs and flows that fail; returns the channel's id.
    fn make_first_channel(&self) -> String {
        channel_in(&self.run_after_setup("", "first-channel"))
    }

    /// The runs of a resource, newest first.
    fn runs(&self, resource_type: &str, id: &str) -> Vec<Value> {
        let id: String = id.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let page = self.api.get(&format!("/runs?limit=200&resourceType={resource_type}&resourceId={id}")).expect(200);
        page["data"].as_array().unwrap().clone()
    }

    #[track_caller]
    fn newest(&self, resource_type: &str, id: &str) -> Value {
        self.runs(resource_type, id).into_iter().next().unwrap_or_else(|| panic!("no run of {resource_type} {id}"))
    }

    #[track_caller]
    fn newest_job(&self, id: &str) -> Value {
        self.newest("job", id)
    }
}

/// The id that a script printed last, as `channel=ch_…`.
fn channel_in(stdout: &str) -> String {
    stdout.rsplit_once("channel=").expect("a channel").1.trim().to_owned()
}

/// Runs a command to its end.
fn run(mut command: Command) -> Ended {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; run `cargo xtask tools`"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ended { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
}

/// Both shells that the scripts are written for: the one of `#!/bin/sh`, and the strictest of the others.
const SHELLS: [&[&str]; 2] = [&["sh"], &["bash", "--posix"]];

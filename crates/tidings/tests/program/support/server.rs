//! The program under test: its setup, start, output and end.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tempfile::TempDir;

use super::api::Api;
use super::now;
use super::observed::Observed;

/// The API key of the workspace `default`, unless a test has the program generate one.
pub const API_KEY: &str = "tdg_of-a-test-0123456789abcdef0123456789";

/// A working directory and a complete environment for the program.
pub struct Setup {
    directory: TempDir,
    environment: Vec<(String, String)>,
}

/// The result of a program that has ended.
#[derive(Debug)]
pub struct Finished {
    /// None if a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    /// From its start, or from [`Server::terminate`].
    pub took: Duration,
}

impl Setup {
    /// An empty directory, a free port, [`API_KEY`], and targets in 127.0.0.0/8 allowed.
    pub fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), environment: Vec::new() }
            .with("PATH", &std::env::var("PATH").unwrap_or_default())
            .with("TIDINGS_LISTEN", "127.0.0.1:0")
            .with("TIDINGS_DATA_DIR", "data")
            .with("TIDINGS_API_KEY", API_KEY)
            .with("TIDINGS_ALLOW_TARGETS", "127.0.0.0/8")
    }

    /// The same with this variable set.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self = self.without(name);
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same with this variable not set.
    pub fn without(mut self, name: &str) -> Self {
        self.environment.retain(|(other, _)| other != name);
        self
    }

    /// The directory that the program runs in.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The data directory in it.
    pub fn data_dir(&self) -> PathBuf {
        self.directory().join("data")
    }

    /// A command with this directory and environment.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env_clear().envs(self.environment.iter().cloned()).current_dir(self.directory());
        command
    }

    /// Runs the program to its end.
    pub fn run(&self, arguments: &[&str]) -> Finished {
        let mut command = self.command(&program());
        command.args(arguments);
        Process::start(command).finish()
    }

    /// Starts the service.
    pub fn start(&self) -> Server {
        let mut command = self.command(&program());
        command.arg("serve");
        self.start_as(command)
    }

    /// Starts the service by a command that finally replaces itself by it (`exec`).
    pub fn start_as(&self, command: Command) -> Server {
        let began = now();
        let process = Process::start(command);
        let listening = process.stdout.wait_for(|output| match output.text.split_once("listens on http://") {
            Some((_, rest)) => rest.split_once('\n').map(|(address, _)| Some(address.to_owned())),
            None => output.ended.then_some(None),
        });
        let Some(Some(address)) = listening else { panic!("the service did not start: {}", process.stderr_text()) };
        Server { process, address: address.parse().unwrap(), ready_after: began.elapsed() }
    }
}

/// The program's path.
pub fn program() -> String {
    std::env::var("TIDINGS_BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_tidings").to_owned())
}

/// The output of a process so far.
#[derive(Default)]
pub(super) struct Output {
    pub(super) text: String,
    pub(super) ended: bool,
}

/// A running process. It is killed when this is dropped.
pub(super) struct Process {
    pub(super) child: Child,
    stdout: Arc<Observed<Output>>,
    pub(super) stderr: Arc<Observed<Output>>,
    followers: Vec<JoinHandle<()>>,
    began: std::time::Instant,
}

impl Process {
    pub(super) fn start(mut command: Command) -> Self {
        let began = now();
        let spawned = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = spawned.unwrap_or_else(|error| panic!("{command:?} cannot be started: {error}"));
        let (stdout, stderr) = (Arc::default(), Arc::default());
        let followers = vec![
            follow(child.stdout.take().unwrap(), Arc::clone(&stdout)),
            follow(child.stderr.take().unwrap(), Arc::clone(&stderr)),
        ];
        Self { child, stdout, stderr, followers, began }
    }

    /// Waits until it ends by itself.
    fn finish(mut self) -> Finished {
        // `Child::wait` has no timeout, but standard output ends with the process.
        let ended = self.stdout.wait_for(|output| output.ended.then_some(()));
        assert!(ended.is_some(), "it does not end; its log is {}", self.stderr_text());
        let code = self.child.wait().unwrap().code();
        let took = self.began.elapsed();
        self.followers.drain(..).for_each(|follower| follower.join().unwrap());
        Finished { code, stdout: self.stdout.read(|output| output.text.clone()), stderr: self.stderr_text(), took }
    }

    pub(super) fn stderr_text(&self) -> String {
        self.stderr.read(|output| output.text.clone())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn follow(pipe: impl Read + Send + 'static, output: Arc<Observed<Output>>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut lines = BufReader::new(pipe);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
            output.change(|output| output.text.push_str(&String::from_utf8_lossy(&line)));
            line.clear();
        }
        output.change(|output| output.ended = true);
    })
}

/// The service, listening.
pub struct Server {
    process: Process,
    pub address: SocketAddr,
    /// From its start to the startup banner.
    pub ready_after: Duration,
}

impl Server {
    /// A client in the workspace `default`, with [`API_KEY`].
    pub fn api(&self) -> Api {
        Api::new(self.address, API_KEY)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.child.id()
    }

    /// Waits until `read` finds something in standard output.
    #[track_caller]
    pub fn wait_for_stdout<R>(&self, read: impl Fn(&str) -> Option<R>) -> R {
        let seen = self.process.stdout.wait_for(|output| read(&output.text));
        seen.unwrap_or_else(|| panic!("not found in {:?}", self.process.stdout.read(|output| output.text.clone())))
    }

    /// Its log.
    pub fn stderr(&self) -> String {
        self.process.stderr_text()
    }

    /// Waits until its log contains the text.
    #[track_caller]
    pub fn wait_for_log(&self, expected: &str) {
        let seen = self.process.stderr.wait_for(|output| output.text.contains(expected).then_some(()));
        assert!(seen.is_some(), "the log does not contain {expected:?}: {}", self.stderr());
    }

    /// Sends SIGTERM.
    pub fn terminate(&mut self) {
        let signalled = Command::new("sh").arg("-c").arg(format!("kill -TERM {}", self.pid())).status();
        assert!(signalled.is_ok_and(|status| status.success()), "the signal is sent");
        self.process.began = now();
    }

    /// Waits until it has ended.
    pub fn finish(self) -> Finished {
        self.process.finish()
    }

    /// Sends SIGTERM and waits until it has ended with exit code 0.
    pub fn stop(mut self) -> Finished {
        self.terminate();
        let finished = self.finish();
        assert_eq!(finished.code, Some(0), "{}", finished.stderr);
        finished
    }

    /// Kills it with SIGKILL. Its files stay.
    pub fn kill(mut self) -> Finished {
        self.process.child.kill().unwrap();
        self.process.finish()
    }
}

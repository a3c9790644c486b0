//! The program under test: how it is set up, started, spoken to and ended.

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
use super::watch::MonitoredEndpoint;

/// The API key of the workspace `default`, where the test does not let the program choose.
pub const API_KEY: &str = "tdg_of-a-test-0123456789abcdef0123456789";

/// How the program is started: a directory of its own and an environment with nothing else in it.
pub struct Setup {
    directory: TempDir,
    environment: Vec<(String, String)>,
}

/// What a program that ended by itself left.
pub struct Finished {
    /// Its exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// All of its standard output.
    pub stdout: String,
    /// All of its standard error.
    pub stderr: String,
    /// How long it took.
    pub took: Duration,
}

impl Setup {
    /// A fresh directory, a free port, a known API key, and receivers on this machine allowed.
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

    /// A command in the program's place and environment.
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

    /// Starts the service by a command that in the end becomes it.
    pub fn start_as(&self, command: Command) -> Server {
        let began = now();
        let process = Process::start(command);
        let said = process.stdout.wait_for(|output| match output.text.split_once("listens on http://") {
            Some((_, rest)) => rest.split_once('\n').map(|(address, _)| Some(address.to_owned())),
            None => output.ended.then_some(None),
        });
        let Some(Some(address)) = said else { panic!("the service did not start: {}", process.stderr_text()) };
        Server { process, address: address.parse().unwrap(), ready_after: began.elapsed() }
    }
}

/// The program's path.
pub fn program() -> String {
    std::env::var("TIDINGS_BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_tidings").to_owned())
}

/// What came out of a process so far.
#[derive(Default)]
pub(super) struct Output {
    pub(super) text: String,
    pub(super) ended: bool,
}

/// A running process. It is killed when this is dropped.
pub(super) struct Process {
    pub(super) child: Child,
    stdout: Arc<MonitoredEndpoint<Output>>,
    pub(super) stderr: Arc<MonitoredEndpoint<Output>>,
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
        // Its outputs end with it; a process cannot be waited for with a bound.
        let ended = self.stdout.wait_for(|output| output.ended.then_some(()));
        assert!(ended.is_some(), "it does not end; it said {}", self.stderr_text());
        let code = self.child.wait().unwrap().code();
        let took = self.began.elapsed();
        self.followers.drain(..).for_each(|follower| follower.join().unwrap());
        Finished { code, stdout: self.stdout.look(|output| output.text.clone()), stderr: self.stderr_text(), took }
    }

    pub(super) fn stderr_text(&self) -> String {
        self.stderr.look(|output| output.text.clone())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn follow(pipe: impl Read + Send + 'static, output: Arc<MonitoredEndpoint<Output>>) -> JoinHandle<()> {
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
    /// Where it listens.
    pub address: SocketAddr,
    /// How long it took from its start to saying so.
    pub ready_after: Duration,
}

impl Server {
    /// A client in the workspace `default`, with the test's own key.
    pub fn api(&self) -> Api {
        Api::new(self.address, API_KEY)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.child.id()
    }

    /// Waits until there is something to see in what it wrote to standard output.
    #[track_caller]
    pub fn wait_for_stdout<R>(&self, read: impl Fn(&str) -> Option<R>) -> R {
        let seen = self.process.stdout.wait_for(|output| read(&output.text));
        seen.unwrap_or_else(|| panic!("not to be seen in {:?}", self.process.stdout.look(|output| output.text.clone())))
    }

    /// What it wrote to standard error: its log.
    pub fn stderr(&self) -> String {
        self.process.stderr_text()
    }

    /// Waits until its log holds these words.
    #[track_caller]
    pub fn wait_for_log(&self, words: &str) {
        let seen = self.process.stderr.wait_for(|output| output.text.contains(words).then_some(()));
        assert!(seen.is_some(), "the log never held {words:?}: {}", self.stderr());
    }

    /// Asks it to end, as a service manager would.
    pub fn tell_to_end(&mut self) {
        let told = Command::new("sh").arg("-c").arg(format!("kill -TERM {}", self.pid())).status();
        assert!(told.is_ok_and(|status| status.success()), "the signal is sent");
        self.process.began = now();
    }

    /// Waits until it has ended; how long it took counts from when it was told to.
    pub fn finish(self) -> Finished {
        self.process.finish()
    }

    /// Asks it to end and waits until it has, in order.
    pub fn stop(mut self) -> Finished {
        self.tell_to_end();
        let finished = self.finish();
        assert_eq!(finished.code, Some(0), "{}", finished.stderr);
        finished
    }

    /// Kills it in the middle of whatever it does, as `kill -9` would. What it wrote stays.
    pub fn kill(mut self) -> Finished {
        self.process.child.kill().unwrap();
        self.process.finish()
    }
}

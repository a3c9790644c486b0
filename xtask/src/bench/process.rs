//! A program that runs beside this one, and does not outlive it: dropped, it is killed and waited for.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use anyhow::Context as _;

use crate::shell::{Shown, Stopwatch};

const LOG_LINES_SHOWN: usize = 20;

/// Seconds and memory are counted in these by the kernel: see proc(5).
const TICKS_PER_SECOND: f64 = 100.0;

/// A running program.
pub struct Process {
    child: Child,
    name: String,
    dir: PathBuf,
    log: PathBuf,
}

impl Process {
    /// Starts a program. What it says on standard error goes to `<name>.log` in `dir`, and on standard output too unless
    /// the command says otherwise.
    pub fn start(program: &Path, dir: &Path, name: &str, set_up: impl FnOnce(&mut Command)) -> anyhow::Result<Self> {
        let log = dir.join(format!("{name}.log"));
        let output = File::create(&log).with_context(|| format!("cannot create {}", log.display()))?;
        let mut command = Command::new(program);
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        set_up(&mut command);
        let child = command.spawn().with_context(|| format!("cannot start `{}`", Shown(&command)))?;
        Ok(Self { child, name: name.to_owned(), dir: dir.to_owned(), log })
    }

    /// The address that it listens on: the first line of its standard output, which is a pipe and says nothing else.
    pub fn address(&mut self, limit: Duration) -> anyhow::Result<SocketAddr> {
        let output = self.child.stdout.take().with_context(|| format!("the output of {} is no pipe", self.name))?;
        let (line, first) = mpsc::channel();
        // It ends with the line or with the program, which dies with this value at the latest.
        thread::spawn(move || {
            let mut text = String::new();
            let _ = BufReader::new(output).read_line(&mut text);
            let _ = line.send(text);
        });
        let said = first.recv_timeout(limit).unwrap_or_default();
        said.trim().parse().with_context(|| format!("{} did not start; it said:\n{}", self.name, self.last_words()))
    }

    /// An error, with the last it said, if it has ended.
    pub fn check(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => anyhow::bail!("{} ended with {status}; it said last:\n{}", self.name, self.last_words()),
        }
    }

    /// The last lines of its log.
    pub fn last_words(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n")
    }

    /// Waits until it ends by itself.
    pub fn wait(&mut self, limit: Duration) -> anyhow::Result<()> {
        let watch = Stopwatch::start();
        while watch.read().0 < limit {
            if let Some(status) = self.child.try_wait()? {
                anyhow::ensure!(status.success(), "{} ended with {status}:\n{}", self.name, self.last_words());
                return Ok(());
            }
            thread::sleep(Duration::from_millis(5));
        }
        anyhow::bail!("{} did not end within {} s", self.name, limit.as_secs())
    }

    /// Kills it and removes the directory that it was started on. Not left for the end: pages of its files would still
    /// be on their way to the disk while the next is measured.
    pub fn discard(self) -> anyhow::Result<()> {
        let dir = self.dir.clone();
        drop(self);
        fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))
    }

    /// Asks it to end (SIGTERM) and waits until it has.
    pub fn terminate(mut self, limit: Duration) -> anyhow::Result<()> {
        let status = Command::new("kill").args(["-s", "TERM", &self.child.id().to_string()]).status();
        anyhow::ensure!(status.context("cannot start `kill`")?.success(), "cannot signal {}", self.name);
        self.wait(limit)
    }

    /// Seconds of processor time that it has used, its own and the kernel's on its behalf.
    pub fn cpu_seconds(&self) -> anyhow::Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))
            .with_context(|| format!("cannot tell the processor time of {}", self.name))?;
        cpu_seconds(&stat).context("/proc/PID/stat is not of the form that proc(5) tells")
    }

    /// MiB from `/proc/PID/status`: `VmRSS` is resident now, `VmHWM` is the most that ever was.
    pub fn memory_mib(&self, field: &str) -> anyhow::Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))
            .with_context(|| format!("cannot tell the memory of {}", self.name))?;
        memory_mib(&status, field).with_context(|| format!("/proc/PID/status has no {field}"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The second field is a name in brackets that may hold anything: counting starts behind it.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some((user + system) as f64 / TICKS_PER_SECOND)
}

fn memory_mib(status: &str, field: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    let kib: f64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_an_odd_name() {
        assert_eq!(cpu_seconds("4711 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 3 0 100"), Some(3.0));
    }

    #[test]
    fn memory_is_found_by_its_name() {
        let status = "Name:\tx\nVmHWM:\t   2048 kB\nVmRSS:\t    512 kB\n";
        assert_eq!((memory_mib(status, "VmHWM"), memory_mib(status, "VmRSS")), (Some(2.0), Some(0.5)));
        assert_eq!(memory_mib(status, "VmSwap"), None);
    }
}

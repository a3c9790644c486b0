//! A child process that is killed and waited for when dropped.

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

/// Unit of times in `/proc`: see proc(5).
const TICKS_PER_SECOND: f64 = 100.0;

/// A running program.
pub struct Process {
    child: Child,
    name: String,
    dir: PathBuf,
    log: PathBuf,
}

impl Process {
    /// Starts a program. Standard error goes to `<name>.log` in `dir`, and standard output as well unless `set_up`
    /// changes that.
    pub fn start(program: &Path, dir: &Path, name: &str, set_up: impl FnOnce(&mut Command)) -> anyhow::Result<Self> {
        let log = dir.join(format!("{name}.log"));
        let output = File::create(&log).with_context(|| format!("cannot create {}", log.display()))?;
        let mut command = Command::new(program);
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        set_up(&mut command);
        let child = command.spawn().with_context(|| format!("cannot start `{}`", Shown(&command)))?;
        Ok(Self { child, name: name.to_owned(), dir: dir.to_owned(), log })
    }

    /// The address that it listens on, which is the first line of its piped standard output.
    pub fn address(&mut self, limit: Duration) -> anyhow::Result<SocketAddr> {
        let output = self.child.stdout.take().with_context(|| format!("the output of {} is no pipe", self.name))?;
        let (line, first) = mpsc::channel();
        // The thread ends with the line or with the process, which is killed when this value is dropped.
        thread::spawn(move || {
            let mut text = String::new();
            let _ = BufReader::new(output).read_line(&mut text);
            let _ = line.send(text);
        });
        let text = first.recv_timeout(limit).unwrap_or_default();
        text.trim()
            .parse()
            .with_context(|| format!("{} did not start; its log ends with:\n{}", self.name, self.log_tail()))
    }

    /// Fails with the end of its log if it has exited.
    pub fn check(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => {
                anyhow::bail!("{} exited with {status}; its log ends with:\n{}", self.name, self.log_tail())
            }
        }
    }

    /// The last lines of its log.
    pub fn log_tail(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n")
    }

    /// Waits until it exits successfully.
    pub fn wait(&mut self, limit: Duration) -> anyhow::Result<()> {
        let watch = Stopwatch::start();
        while watch.read().0 < limit {
            if let Some(status) = self.child.try_wait()? {
                anyhow::ensure!(
                    status.success(),
                    "{} exited with {status}; its log ends with:\n{}",
                    self.name,
                    self.log_tail()
                );
                return Ok(());
            }
            thread::sleep(Duration::from_millis(5));
        }
        anyhow::bail!("{} did not exit within {} s", self.name, limit.as_secs())
    }

    /// Kills it and deletes its directory now: otherwise dirty pages would still be written during the next
    /// measurement.
    pub fn discard(self) -> anyhow::Result<()> {
        let dir = self.dir.clone();
        drop(self);
        fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))
    }

    /// Sends SIGTERM and waits until it exits.
    pub fn terminate(mut self, limit: Duration) -> anyhow::Result<()> {
        let status = Command::new("kill").args(["-s", "TERM", &self.child.id().to_string()]).status();
        anyhow::ensure!(status.context("cannot start `kill`")?.success(), "cannot signal {}", self.name);
        self.wait(limit)
    }

    /// Processor time in seconds, user and system.
    pub fn cpu_seconds(&self) -> anyhow::Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))
            .with_context(|| format!("cannot read the processor time of {}", self.name))?;
        cpu_seconds(&stat).context("/proc/PID/stat has an unexpected format")
    }

    /// MiB from `/proc/PID/status`: `VmRSS` is the resident memory, `VmHWM` its peak.
    pub fn memory_mib(&self, field: &str) -> anyhow::Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))
            .with_context(|| format!("cannot read the memory of {}", self.name))?;
        memory_mib(&status, field).with_context(|| format!("/proc/PID/status has no {field}"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The second field is the process name in parentheses, which may hold anything: fields are counted after it.
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
    fn cpu_seconds_skips_a_name_with_spaces_and_parentheses() {
        assert_eq!(cpu_seconds("4711 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 3 0 100"), Some(3.0));
    }

    #[test]
    fn memory_mib_finds_the_field() {
        let status = "Name:\tx\nVmHWM:\t   2048 kB\nVmRSS:\t    512 kB\n";
        assert_eq!((memory_mib(status, "VmHWM"), memory_mib(status, "VmRSS")), (Some(2.0), Some(0.5)));
        assert_eq!(memory_mib(status, "VmSwap"), None);
    }
}

//! The endpoints: `tidings-target` processes with many hosts, each a loopback address.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::Stdio,
    time::Duration,
};

use anyhow::Context as _;

use crate::bench::{Bench, process::Process};

const STARTED_WITHIN: Duration = Duration::from_secs(30);
/// Each host needs two open files: a listener and a connection.
const HOSTS_PER_PROCESS: u64 = 5_000;
/// Hosts that share the third byte of their address, as in `tidings_bench::hosts`.
const HOSTS_PER_BLOCK: u64 = 250;

/// Running targets.
pub struct Targets {
    processes: Vec<Process>,
    /// The first host of each process.
    pub firsts: Vec<SocketAddr>,
    /// The authority's certificate, with TLS only.
    pub tls: Option<PathBuf>,
}

impl Targets {
    /// Plain HTTP on this number of hosts, starting at 127.`net`.0.1; each process uses the next net.
    pub fn plain(bench: &Bench, net: u64, hosts: u64) -> anyhow::Result<Self> {
        let mut targets = Self { processes: Vec::new(), firsts: Vec::new(), tls: None };
        for number in 0..hosts.div_ceil(HOSTS_PER_PROCESS) {
            let hosts = (hosts - number * HOSTS_PER_PROCESS).min(HOSTS_PER_PROCESS);
            let first = format!("127.{}.0.1:0", net + number);
            targets.start(bench, &["--first", &first, "--hosts", &hosts.to_string()])?;
        }
        Ok(targets)
    }

    /// TLS on one host with many names.
    pub fn tls(bench: &Bench) -> anyhow::Result<Self> {
        let authority = bench.scratch.dir("authority")?.join("authority.der");
        let file = authority.to_str().context("the target directory's name is not text")?.to_owned();
        let mut targets = Self { processes: Vec::new(), firsts: Vec::new(), tls: Some(authority) };
        targets.start(bench, &["--tls", &file])?;
        Ok(targets)
    }

    fn start(&mut self, bench: &Bench, args: &[&str]) -> anyhow::Result<()> {
        let dir = bench.scratch.dir("target")?;
        let mut process = Process::start(&bench.binaries.join("tidings-target"), &dir, "tidings-target", |command| {
            command.arg("--with-parent").args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
        })?;
        self.firsts.push(process.address(STARTED_WITHIN)?);
        self.processes.push(process);
        Ok(())
    }

    /// Fails with the end of its log if one has exited.
    pub fn check(&mut self) -> anyhow::Result<()> {
        self.processes.iter_mut().try_for_each(Process::check)
    }

    /// The URL of a path on the host with this number.
    pub fn url(&self, number: u64, path: &str) -> anyhow::Result<String> {
        let (process, number) = (number / HOSTS_PER_PROCESS, number % HOSTS_PER_PROCESS);
        let first = self.firsts.get(process as usize).with_context(|| format!("no process has host {number}"))?;
        let SocketAddr::V4(first) = first else { anyhow::bail!("{first} is not of IPv4") };
        let [a, b, ..] = first.ip().octets();
        let host = Ipv4Addr::new(a, b, (number / HOSTS_PER_BLOCK) as u8, (number % HOSTS_PER_BLOCK + 1) as u8);
        Ok(format!("http://{host}:{}{path}", first.port()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn url_maps_host_numbers_to_processes_and_addresses() {
        let firsts = vec!["127.1.0.1:80".parse().unwrap(), "127.2.0.1:81".parse().unwrap()];
        let targets = Targets { processes: Vec::new(), firsts, tls: None };
        assert_eq!(targets.url(0, "/").unwrap(), "http://127.1.0.1:80/");
        assert_eq!(targets.url(4_999, "/health").unwrap(), "http://127.1.19.250:80/health");
        assert_eq!(targets.url(5_251, "/").unwrap(), "http://127.2.1.2:81/");
        assert!(targets.url(10_000, "/").is_err());
    }
}

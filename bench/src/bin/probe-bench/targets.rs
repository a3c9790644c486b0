//! Endpoints on the benchmark's hosts, and a prober that may probe them.

use std::{fs, io, net::SocketAddr, sync::Arc};

use anyhow::Context as _;
use async_trait::async_trait;
use rustls::{RootCertStore, pki_types::CertificateDer};
use tidings_bench::{clock, hosts};
use tidings_channels::egress::{Guard, Resolve};
use tidings_domain::{
    check::{Answer, Assertion, AssertionKind, CheckStatus, Observation, Operator},
    endpoint::{Definition, HttpProbe, Probe},
    time::Timestamp,
};
use tidings_monitor::{DnsResolver, IDLE_MAX, Prober, ProberConfig};

use crate::Hosts;

/// The wall-clock time.
pub fn now() -> Timestamp {
    Timestamp::from_unix_ms((clock::now_nanos() / 1_000_000) as i64)
}

impl Hosts {
    /// One URL per host.
    pub fn urls(&self) -> Vec<String> {
        (0..self.hosts).map(|number| self.url(number)).collect()
    }

    fn url(&self, number: u32) -> String {
        if self.tls.is_some() {
            return format!("https://host-{number}.bench.example:{}{}", self.first[0].port(), self.path);
        }
        // Hosts are distributed evenly over the target processes.
        let share = self.hosts.div_ceil(self.first.len() as u32);
        let (process, number) = (number / share, number % share);
        format!("http://{}{}", hosts::host(self.first[process as usize], number), self.path)
    }

    /// The trusted certificate authorities.
    pub fn roots(&self) -> anyhow::Result<RootCertStore> {
        let mut roots = RootCertStore::empty();
        if let Some(file) = &self.tls {
            let der = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
            roots.add(CertificateDer::from(der))?;
        }
        Ok(roots)
    }

    /// A prober that may probe loopback and resolves every name to the first target.
    pub fn prober(&self) -> anyhow::Result<Prober> {
        anyhow::ensure!(self.first.iter().all(|first| first.ip().is_loopback()), "only loopback may be probed");
        let guard = Guard { allow: vec!["127.0.0.0/8".parse()?], allow_http: false };
        Ok(Prober::new(ProberConfig {
            guard,
            resolver: Arc::new(FakeDns(SocketAddr::V4(self.first[0]))),
            names: Arc::new(DnsResolver::with_servers(Vec::new())),
            roots: self.roots()?,
            idle_max: IDLE_MAX,
            references: Vec::new(),
        }))
    }
}

/// Resolves every name to the first target.
struct FakeDns(SocketAddr);

#[async_trait]
impl Resolve for FakeDns {
    async fn resolve(&self, _: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(vec![SocketAddr::new(self.0.ip(), port)])
    }
}

/// A GET of this URL, whose body must say that all is well.
pub fn definition(url: &str) -> Definition {
    let is_ok = Assertion {
        kind: AssertionKind::Json,
        operator: Operator::Equals,
        target: Some("status".into()),
        value: Some("ok".into()),
        severity: CheckStatus::Down,
    };
    Definition { assertions: vec![is_ok], ..Definition::new(Probe::Http(HttpProbe::new(url))) }
}

/// Why an observation is not the expected answer.
pub fn fault(observation: &Observation) -> Option<String> {
    match &observation.outcome {
        Ok(Answer::Http { status: 200, body, .. }) if body.text == "{\"status\":\"ok\"}" => None,
        Ok(other) => Some(format!("unexpected answer: {other:?}")),
        Err(failure) => Some(failure.message.clone()),
    }
}

//! Endpoints on the benchmark's hosts, and a prober that may look at them.

use std::{fs, io, net::SocketAddr, sync::Arc};

use anyhow::Context as _;
use async_trait::async_trait;
use rustls::{RootCertStore, pki_types::CertificateDer};
use tidings_bench::{clock, hosts};
use tidings_channels::egress::{Guard, Resolve};
use tidings_domain::{
    check::{Answer, Observation},
    endpoint::{HttpProbe, Probe},
    time::Timestamp,
};
use tidings_monitor::{DnsResolver, IDLE_MAX, Prober, ProberConfig};

use crate::Hosts;

/// The time of day.
pub fn now() -> Timestamp {
    Timestamp::from_unix_ms((clock::now_nanos() / 1_000_000) as i64)
}

impl Hosts {
    /// What endpoints ask for, one of each host.
    pub fn urls(&self) -> Vec<String> {
        (0..self.hosts).map(|number| self.url(number)).collect()
    }

    fn url(&self, number: u32) -> String {
        if self.tls.is_some() {
            return format!("https://host-{number}.bench.example:{}{}", self.first[0].port(), self.path);
        }
        // The target processes have an equal share of them.
        let share = self.hosts.div_ceil(self.first.len() as u32);
        let (process, number) = (number / share, number % share);
        format!("http://{}{}", hosts::host(self.first[process as usize], number), self.path)
    }

    /// The authorities that are trusted.
    pub fn roots(&self) -> anyhow::Result<RootCertStore> {
        let mut roots = RootCertStore::empty();
        if let Some(file) = &self.tls {
            let der = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
            roots.add(CertificateDer::from(der))?;
        }
        Ok(roots)
    }

    /// A prober that may look at loopback addresses, and knows every name.
    pub fn prober(&self) -> anyhow::Result<Prober> {
        anyhow::ensure!(self.first.iter().all(|first| first.ip().is_loopback()), "only loopback is watched");
        let guard = Guard { allow: vec!["127.0.0.0/8".parse()?], allow_http: false };
        Ok(Prober::new(ProberConfig {
            guard,
            resolver: Arc::new(Names(SocketAddr::V4(self.first[0]))),
            names: Arc::new(DnsResolver::asking(Vec::new())),
            roots: self.roots()?,
            idle_max: IDLE_MAX,
            references: Vec::new(),
        }))
    }
}

/// All names are the first target's.
struct Names(SocketAddr);

#[async_trait]
impl Resolve for Names {
    async fn resolve(&self, _: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(vec![SocketAddr::new(self.0.ip(), port)])
    }
}

/// A plain GET.
pub fn probe(url: &str) -> Probe {
    Probe::Http(HttpProbe::new(url))
}

/// Why it is not the answer that was expected.
pub fn fault(observation: &Observation) -> Option<String> {
    match &observation.outcome {
        Ok(Answer::Http { status: 200, body, .. }) if body == b"{\"status\":\"ok\"}" => None,
        Ok(other) => Some(format!("answered {other:?}")),
        Err(failure) => Some(failure.message.clone()),
    }
}

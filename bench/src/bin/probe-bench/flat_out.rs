//! Probes at full speed.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tidings_channels::egress::DialOptions;
use tidings_domain::endpoint::Definition;
use tidings_monitor::{Prober, USER_AGENT};
use tokio::{task::JoinSet, time::sleep};

use crate::{
    Hosts,
    report::{Report, Start},
    targets::{definition, fault, now},
};

const WARM_UP: Duration = Duration::from_secs(1);

/// Counters shared by all loops.
#[derive(Default)]
pub struct Count {
    checks: AtomicU64,
    failures: AtomicU64,
    first_failure: Mutex<Option<String>>,
    is_over: AtomicBool,
}

impl Count {
    /// Whether the measurement is over.
    pub fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// Counts a check and what was wrong with it.
    pub fn add(&self, fault: Option<String>) {
        self.checks.fetch_add(1, Ordering::Relaxed);
        if fault.is_some() {
            self.failures.fetch_add(1, Ordering::Relaxed);
            let mut first = self.first_failure.lock().unwrap_or_else(PoisonError::into_inner);
            *first = first.take().or(fault);
        }
    }

    /// Measures the loops for this time. Fails if a loop ended before.
    pub async fn measure(&self, mut loops: JoinSet<anyhow::Result<()>>, time: Duration) -> anyhow::Result<Report> {
        sleep(WARM_UP).await;
        let (start, before) = (Start::now()?, self.checks.load(Ordering::Relaxed));
        sleep(time).await;
        let checks = self.checks.load(Ordering::Relaxed) - before;
        let first_failure = self.first_failure.lock().unwrap_or_else(PoisonError::into_inner).take();
        let report = start.report(checks, self.failures.load(Ordering::Relaxed), first_failure);
        self.is_over.store(true, Ordering::Relaxed);
        while let Some(ended) = loops.join_next().await {
            ended??;
        }
        report
    }
}

/// Each loop probes its share of the hosts in turn.
pub async fn run(hosts: &Hosts, at_once: u32, time: Duration) -> anyhow::Result<Report> {
    let (prober, count) = (Arc::new(hosts.prober()?), Arc::new(Count::default()));
    let urls = hosts.urls();
    let mut loops = JoinSet::new();
    for first in 0..at_once.min(hosts.hosts) as usize {
        let mine = urls.iter().skip(first).step_by(at_once as usize).map(|url| definition(url)).collect();
        loops.spawn(probe_in_turn(prober.clone(), mine, count.clone()));
    }
    count.measure(loops, time).await
}

async fn probe_in_turn(prober: Arc<Prober>, definitions: Vec<Definition>, count: Arc<Count>) -> anyhow::Result<()> {
    for definition in definitions.iter().cycle() {
        if count.is_over() {
            break;
        }
        let observation = prober.probe(definition, USER_AGENT, now(), DialOptions::default()).await;
        count.add(fault(&observation));
    }
    Ok(())
}

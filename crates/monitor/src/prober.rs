//! The prober: makes one probe of an endpoint and returns what it observed.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use tidings_channels::egress::dns::RecordType;
use tidings_channels::egress::{DialError, DialOptions, DnsResolver, Guard, Resolve, native_roots};
use tidings_domain::check::{Answer, BodyNeeds, Failure, FailureClass, Observation, judge};
use tidings_domain::endpoint::{Definition, Probe};
use tidings_domain::time::Timestamp;
use tokio::time::{Instant, timeout_at};

use crate::connector::Connector;
use crate::failure::{dial_failure, failure, invalid_endpoint};
use crate::http::pool::{ConnectionPool, IDLE_MAX};
use crate::http::{HttpExchange, HttpProber};
use crate::icmp;
use crate::limiter::{ProbeLimiter, ProbePermit};
use crate::plan::ProbePlan;
use crate::references::ReferenceTargets;
use crate::target::{ProbeTarget, describe_refused};
use crate::timing::{Phase, TimingRecorder};
use crate::tls::Purpose;

/// Probes endpoints. Use one per process: it owns the connection pool and the limits on concurrent probes.
pub struct Prober {
    connector: Arc<Connector>,
    dns: Arc<DnsResolver>,
    http: HttpProber,
    limiter: ProbeLimiter,
    echo_ids: icmp::EchoIds,
    references: Option<ReferenceTargets>,
}

/// What the probes of one call have in common.
#[derive(Clone, Copy)]
struct ProbeJob<'a> {
    needs: &'a BodyNeeds,
    timeout: Duration,
    dial: DialOptions,
}

/// Dependencies and limits of a [`Prober`].
pub struct ProberConfig {
    /// Addresses that may be probed. Plain `http` is allowed to all of them, whatever `allow_http` is.
    pub guard: Guard,
    /// Resolves the hosts of all probes but DNS probes.
    pub resolver: Arc<dyn Resolve>,
    /// Makes DNS probes.
    pub names: Arc<DnsResolver>,
    /// Trusted certificate authorities.
    pub roots: RootCertStore,
    /// Pooled idle connections at most; each is an open file.
    pub idle_max: usize,
    /// Hosts and ports that respond whenever this machine's network works. If none of them does, a failure may be this
    /// machine's own. Empty: every failure counts as the endpoint's.
    pub references: Vec<(String, u16)>,
}

impl ProberConfig {
    /// The system's name servers and certificate authorities, and no reference targets.
    pub fn of_system(guard: Guard) -> Self {
        let names = Arc::new(DnsResolver::system());
        Self {
            guard,
            resolver: names.clone(),
            names,
            roots: native_roots(),
            idle_max: IDLE_MAX,
            references: Vec::new(),
        }
    }
}

impl Prober {
    /// Opens no connection yet.
    pub fn new(config: ProberConfig) -> Self {
        let ProberConfig { guard, resolver, names, roots, idle_max, references } = config;
        let pool = ConnectionPool::new(idle_max);
        let references = ReferenceTargets::new(references, resolver.clone());
        let connector = Arc::new(Connector::new(guard, resolver, roots, pool.clone()));
        let http = HttpProber::new(connector.clone(), pool);
        let (limiter, echo_ids) = (ProbeLimiter::default(), icmp::EchoIds::default());
        Self { connector, dns: names, http, limiter, echo_ids, references }
    }

    /// Validates a probe as far as that is possible without any network access. The error describes the problem.
    pub fn check(&self, probe: &Probe) -> Result<(), String> {
        if probe.is_external() {
            return Ok(());
        }
        ProbePlan::new(probe, "Tidings")?.check_guard(self.connector.guard())
    }

    /// Probes an endpoint. `now` is the wall-clock time of the call. The timeout and all timings count from when the
    /// limiter lets the probe start.
    ///
    /// With `dial.fresh` it resolves, connects and does the TLS handshake anew. Without it, a bad verdict that came over a
    /// kept connection is confirmed by a second probe over a fresh one, with a timeout of its own; its result is the one
    /// that counts.
    ///
    /// Time and memory are bounded by the timeout and the caps, whatever the other end does. If reference targets are
    /// configured, a failure that may be this machine's own is returned only after they were probed, which takes up to
    /// [`crate::REFERENCE_INTERVAL_MIN`] plus [`crate::REFERENCE_TIMEOUT`] and is not part of the timings.
    ///
    /// Cancel-safe: dropping the future closes its connection.
    pub async fn probe(
        &self,
        definition: &Definition,
        user_agent: &str,
        now: Timestamp,
        dial: DialOptions,
    ) -> Observation {
        let called = Instant::now();
        let timeout = Duration::from_millis(definition.timeout_ms.into());
        let plan = || ProbePlan::new(&definition.probe, user_agent);
        let first = match plan() {
            Ok(plan) => plan,
            // It was valid when it was stored, but perhaps by the rules of an older version.
            Err(why) => {
                return TimingRecorder::new(timeout, now).into_observation(Duration::ZERO, Err(invalid_endpoint(&why)));
            }
        };
        let needs = BodyNeeds::of(&definition.assertions);
        let mut permit = self.limiter.acquire(&first.target().name).await;
        let permitted = Instant::now();
        let job = ProbeJob { needs: &needs, timeout, dial };
        let at = now.plus_ms((permitted - called).as_millis() as u64);
        let (mut observation, has_reused) = self.probe_once(first, job, at, &mut permit).await;
        if has_reused
            && judge(definition, &observation).status.is_failing()
            && let Ok(plan) = plan()
        {
            let at = now.plus_ms(called.elapsed().as_millis() as u64);
            let job = ProbeJob { dial: DialOptions { fresh: true, ..dial }, ..job };
            observation = self.probe_once(plan, job, at, &mut permit).await.0;
        }
        permit.finish(Duration::from_millis(observation.timings.total_ms.into()));
        if let (Some(references), Err(failure)) = (&self.references, &mut observation.outcome) {
            references.reclassify(failure, permitted).await;
        }
        observation
    }

    /// One probe, and whether it went over a kept connection.
    async fn probe_once(
        &self,
        plan: ProbePlan<'_>,
        job: ProbeJob<'_>,
        now: Timestamp,
        permit: &mut ProbePermit,
    ) -> (Observation, bool) {
        let started = Instant::now();
        let deadline = started + job.timeout;
        let mut recorder = TimingRecorder::new(job.timeout, now);
        // Boxed to keep this future small: thousands of them may be waiting for a permit.
        let running = Box::pin(self.run(plan, job, deadline, &mut recorder));
        let outcome = permit.run(timeout_at(deadline, running)).await;
        let outcome = outcome.unwrap_or_else(|_| Err(recorder.timeout_failure()));
        let has_reused = recorder.has_reused();
        (recorder.into_observation(started.elapsed(), outcome), has_reused)
    }

    async fn run(
        &self,
        plan: ProbePlan<'_>,
        job: ProbeJob<'_>,
        deadline: Instant,
        recorder: &mut TimingRecorder,
    ) -> Result<Answer, Failure> {
        match plan {
            ProbePlan::Http { probe, hop, template, tls } => {
                let ProbeJob { needs, dial, .. } = job;
                let exchange = HttpExchange { needs, dial, tls: &tls, deadline };
                self.http.probe(probe, exchange, *hop, *template, recorder).await
            }
            ProbePlan::Tcp(target) => {
                self.connector.connect(&target, job.dial, deadline, recorder).await.map(|_| Answer::Reached)
            }
            ProbePlan::Tls(target, profile) => {
                let tcp = self.connector.connect(&target, job.dial, deadline, recorder).await?;
                let handshake =
                    self.connector.handshake(tcp, &target, &profile, Purpose::HandshakeOnly, recorder).await;
                handshake.map(|_| Answer::Reached)
            }
            ProbePlan::Icmp(target) => {
                icmp::probe(&self.echo_ids, &self.connector, &target, job.dial, deadline, recorder).await
            }
            ProbePlan::Dns(target, record_type) => self.probe_dns(&target, record_type, recorder).await,
        }
    }

    async fn probe_dns(
        &self,
        target: &ProbeTarget,
        record_type: RecordType,
        recorder: &mut TimingRecorder,
    ) -> Result<Answer, Failure> {
        recorder.target(target);
        recorder.start(Phase::Dns);
        let host = target.host.to_string();
        let lookup = self.dns.records(&host, record_type).await;
        recorder.finish();
        let records = lookup
            .map_err(|error| dial_failure(target, &DialError::LookupFailed(Arc::new(error)), &recorder.timeout_text))?;
        if records.is_empty() {
            return Err(failure(FailureClass::Dns, format!("the name {host} has no {record_type} record")));
        }
        // Blocked addresses are not reported either: DNS probes must not map the internal network that Tidings runs in.
        if matches!(record_type, RecordType::A | RecordType::AAAA) {
            let mut addresses = records.iter().filter_map(|record| record.parse::<IpAddr>().ok());
            if let Some(refused) = addresses.find_map(|ip| self.connector.guard().check(ip).err()) {
                return Err(failure(FailureClass::Forbidden, format!("{host}: {}", describe_refused(&refused))));
            }
        }
        Ok(Answer::Records(records))
    }
}

//! The prober: looks at an endpoint once and says what it saw.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::proto::rr::RecordType;
use rustls::RootCertStore;
use tidings_channels::egress::{DialError, Guard, Resolve, native_roots};
use tidings_domain::check::{Answer, Failure, FailureClass, Observation};
use tidings_domain::endpoint::Probe;
use tidings_domain::secret::Secret;
use tidings_domain::time::Timestamp;
use tokio::time::{Instant, timeout_at};

use crate::aim::Aim;
use crate::failure::{failure, refused_words, unreached};
use crate::http::Http;
use crate::http::pool::{IDLE_MAX, Pool};
use crate::icmp;
use crate::names::DnsResolver;
use crate::reach::Reach;
use crate::references::References;
use crate::room::Rooms;
use crate::target::Target;
use crate::tls::Purpose;
use crate::trace::{Stage, Trace};

/// Looks at endpoints. One an instance: it keeps connections, and sees to it that all get their turn.
pub struct Prober {
    reach: Arc<Reach>,
    names: Arc<DnsResolver>,
    http: Http,
    rooms: Rooms,
    echoes: icmp::Numbers,
    references: Option<References>,
}

/// What a prober works with.
pub struct ProberConfig {
    /// What may be watched. Plain `http` may be watched wherever it lets a probe go.
    pub guard: Guard,
    /// Finds addresses.
    pub resolver: Arc<dyn Resolve>,
    /// Answers DNS probes.
    pub names: Arc<DnsResolver>,
    /// The certificate authorities that are trusted.
    pub roots: RootCertStore,
    /// How many connections may lie idle; each is an open file.
    pub idle_max: usize,
    /// Hosts and ports that are always there, by the operator's word. If none of them answers, then what failed may be
    /// this machine's own network. May be empty: then every failure is the endpoint's.
    pub references: Vec<(String, u16)>,
}

impl ProberConfig {
    /// The system's name service and certificate authorities.
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
    /// A prober in these surroundings.
    pub fn new(surroundings: ProberConfig) -> Self {
        let ProberConfig { guard, resolver, names, roots, idle_max, references } = surroundings;
        let pool = Pool::new(idle_max);
        let references = References::new(references, resolver.clone());
        let reach = Arc::new(Reach::new(guard, resolver, roots, pool.clone()));
        let http = Http::new(reach.clone(), pool);
        Self { reach, names, http, rooms: Rooms::default(), echoes: icmp::Numbers::default(), references }
    }

    /// Whether this can be probed, as far as it can be told without asking anybody. The error says what is wrong.
    pub fn check(&self, probe: &Probe) -> Result<(), String> {
        Aim::of(probe, "Tidings")?.check(self.reach.guard())
    }

    /// Looks at an endpoint. `now` is the time of day; `timeout` counts from when it is the probe's turn, as does what
    /// is observed. Nothing that the other end does makes it take longer or cost more memory than the caps. A failure
    /// that may be this machine's own is held back until the reference targets were looked at, if there are any: for
    /// [`crate::REFERENCE_GAP`] and [`crate::REFERENCE_TIMEOUT`] at most, which are not the endpoint's time.
    ///
    /// Dropped before its end it leaves nothing behind.
    pub async fn probe(
        &self,
        probe: &Probe,
        secret: Option<&Secret>,
        timeout: Duration,
        user_agent: &str,
        now: Timestamp,
    ) -> Observation {
        let called = Instant::now();
        let aim = match Aim::of(probe, user_agent) {
            Ok(aim) => aim,
            // Whoever stored the endpoint has checked it; it may have been long ago.
            Err(why) => return Trace::new(timeout, now).observation(Duration::ZERO, Err(unfit(&why))),
        };
        let mut place = self.rooms.enter(&aim.target().name).await;
        let began = Instant::now();
        let mut trace = Trace::new(timeout, now.plus_ms((began - called).as_millis() as u64));
        let deadline = began + timeout;
        // Boxed, so that those who wait for a place are small.
        let looking = Box::pin(self.look(aim, secret, deadline, &mut trace));
        let looked = place.while_in(timeout_at(deadline, looking)).await;
        let mut outcome = looked.unwrap_or_else(|_| Err(trace.late()));
        let took = began.elapsed();
        place.leave(took);
        if let (Some(references), Err(failure)) = (&self.references, &mut outcome) {
            references.judge(failure, began).await;
        }
        trace.observation(took, outcome)
    }

    async fn look(
        &self,
        aim: Aim<'_>,
        secret: Option<&Secret>,
        deadline: Instant,
        trace: &mut Trace,
    ) -> Result<Answer, Failure> {
        match aim {
            Aim::Http { probe, hop, draft } => self.http.probe(probe, secret, *hop, *draft, deadline, trace).await,
            Aim::Tcp(target) => self.reach.tcp(&target, deadline, trace).await.map(|_| Answer::Reached),
            Aim::Tls(target) => {
                let tcp = self.reach.tcp(&target, deadline, trace).await?;
                self.reach.tls(tcp, &target, Purpose::Handshake, trace).await.map(|_| Answer::Reached)
            }
            Aim::Icmp(target) => icmp::probe(&self.echoes, &self.reach, &target, deadline, trace).await,
            Aim::Dns(target, record_type) => self.ask(&target, record_type, trace).await,
        }
    }

    /// A DNS probe. Addresses that may not be watched are not shown either: names of the network that Tidings runs in
    /// are nobody's to look up.
    async fn ask(&self, target: &Target, record_type: RecordType, trace: &mut Trace) -> Result<Answer, Failure> {
        trace.heads_for(target);
        trace.waits_for(Stage::Name);
        let since = Instant::now();
        let host = target.host.to_string();
        let found = self.names.records(&host, record_type).await;
        trace.got(since);
        let records =
            found.map_err(|error| unreached(target, &DialError::Unresolved(Arc::new(error)), &trace.within))?;
        if records.is_empty() {
            return Err(failure(FailureClass::Dns, format!("the name {host} has no {record_type} record")));
        }
        if matches!(record_type, RecordType::A | RecordType::AAAA) {
            let mut addresses = records.iter().filter_map(|record| record.parse::<IpAddr>().ok());
            if let Some(why) = addresses.find_map(|ip| self.reach.guard().check(ip).err()) {
                return Err(failure(FailureClass::Forbidden, format!("{host}: {}", refused_words(&why))));
            }
        }
        Ok(Answer::Records(records))
    }
}

/// The endpoint is not one that can be probed.
pub(crate) fn unfit(why: &str) -> Failure {
    failure(FailureClass::Protocol, format!("the endpoint cannot be probed: {why}"))
}

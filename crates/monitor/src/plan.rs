//! Validates an endpoint's probe definition and turns it into what a probe needs.

use tidings_channels::egress::Guard;
use tidings_channels::egress::dns::RecordType;
use tidings_domain::endpoint::{HttpProbe, Probe, RECORD_TYPES};
use url::Host;

use crate::http::request::{Hop, RequestTemplate};
use crate::target::{ProbeTarget, parse_host};

/// A validated probe.
pub(crate) enum ProbePlan<'a> {
    Http { probe: &'a HttpProbe, hop: Box<Hop>, template: Box<RequestTemplate> },
    Tcp(ProbeTarget),
    Icmp(ProbeTarget),
    Dns(ProbeTarget, RecordType),
    Tls(ProbeTarget),
}

impl<'a> ProbePlan<'a> {
    /// Validates a definition. The error describes the first problem and quotes no value, which may be a secret.
    pub fn new(probe: &'a Probe, user_agent: &str) -> Result<Self, String> {
        let host_of = |text: &str| parse_host(text).map_err(|why| format!("the host {why}"));
        let target_of =
            |text: &str, port| ProbeTarget::new(host_of(text)?, port).map_err(|why| format!("the host {why}"));
        Ok(match probe {
            Probe::Http(probe) => {
                let hop = Box::new(Hop::from_endpoint_url(&probe.url)?);
                Self::Http { probe, hop, template: Box::new(RequestTemplate::new(probe, user_agent)?) }
            }
            Probe::Tcp { host, port } => Self::Tcp(target_of(host, *port)?),
            Probe::Icmp { host } => Self::Icmp(ProbeTarget::without_port(host_of(host)?)),
            Probe::Tls { host, port } => {
                let target = target_of(host, *port)?;
                target.server_name().map_err(|why| format!("the host {why}"))?;
                Self::Tls(target)
            }
            Probe::Dns { host, record_type, .. } => {
                let known = if RECORD_TYPES.contains(&&**record_type) { record_type.parse().ok() } else { None };
                let record_type =
                    known.ok_or_else(|| format!("the record type must be one of {}", RECORD_TYPES.join(", ")))?;
                match host_of(host)? {
                    name @ Host::Domain(_) => Self::Dns(ProbeTarget::without_port(name), record_type),
                    _ => return Err("the host must be a name".into()),
                }
            }
        })
    }

    /// The target before any redirect.
    pub fn target(&self) -> &ProbeTarget {
        match self {
            Self::Http { hop, .. } => &hop.target,
            Self::Tcp(target) | Self::Icmp(target) | Self::Dns(target, _) | Self::Tls(target) => target,
        }
    }

    /// Fails if the guard blocks the target regardless of what its name resolves to.
    pub fn check_guard(&self, guard: &Guard) -> Result<(), String> {
        self.target().check_guard(guard)
    }
}

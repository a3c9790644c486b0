//! Validates an endpoint's probe definition and turns it into what a probe needs.

use tidings_channels::egress::dns::RecordType;
use tidings_channels::egress::{Guard, TlsProfile};
use tidings_domain::endpoint::{HttpProbe, Probe, RECORD_TYPES};
use tidings_domain::violation::Violations;
use url::Host;

use crate::http::hop_tls::HopTls;
use crate::http::request::{Hop, RequestTemplate};
use crate::target::{ProbeTarget, parse_host};

/// A validated probe.
pub(crate) enum ProbePlan<'a> {
    Http { probe: &'a HttpProbe, hop: Box<Hop>, template: Box<RequestTemplate>, tls: Box<HopTls> },
    Tcp(ProbeTarget),
    Icmp(ProbeTarget),
    Dns(ProbeTarget, RecordType),
    Tls(ProbeTarget, TlsProfile),
}

impl<'a> ProbePlan<'a> {
    /// Validates a definition. The error describes the first problem and quotes no value, which may be a secret.
    pub fn new(probe: &'a Probe, user_agent: &str) -> Result<Self, String> {
        let host_of = |text: &str| parse_host(text).map_err(|why| format!("the host {why}"));
        let target_of =
            |text: &str, port| ProbeTarget::new(host_of(text)?, port).map_err(|why| format!("the host {why}"));
        Ok(match probe {
            Probe::Http(probe) => {
                let hop = Box::new(Hop::from_endpoint_url(probe.url.expose())?);
                let template = Box::new(RequestTemplate::new(probe, user_agent)?);
                let tls = Box::new(HopTls::new(&hop.target, &probe.tls).map_err(describe_violations)?);
                Self::Http { probe, hop, template, tls }
            }
            Probe::Tcp { host, port } => Self::Tcp(target_of(host, *port)?),
            Probe::Icmp { host } => Self::Icmp(ProbeTarget::without_port(host_of(host)?)),
            Probe::Tls { host, port, tls } => {
                let target = target_of(host, *port)?;
                let profile = TlsProfile::new(tls).map_err(describe_violations)?;
                profile.server_name_for(&target.host.to_string()).map_err(|why| format!("the host {why}"))?;
                Self::Tls(target, profile)
            }
            Probe::External { .. } => return Err("its checks are reported, it is not probed".into()),
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
            Self::Tcp(target) | Self::Icmp(target) | Self::Dns(target, _) | Self::Tls(target, _) => target,
        }
    }

    /// Fails if the guard blocks the target regardless of what its name resolves to.
    pub fn check_guard(&self, guard: &Guard) -> Result<(), String> {
        self.target().check_guard(guard)
    }
}

/// The first of what is wrong with TLS settings.
fn describe_violations(violations: Violations) -> String {
    let first = violations.first().map(|violation| format!("tls{} {}", violation.pointer, violation.message));
    first.unwrap_or_else(|| "its TLS settings are invalid".into())
}

//! What a probe looks at, read from the endpoint once: everything that can be wrong with it is said here.

use hickory_resolver::proto::rr::RecordType;
use tidings_channels::egress::Guard;
use tidings_domain::endpoint::{HttpProbe, Probe, RECORD_TYPES};
use url::Host;

use crate::http::request::{Draft, Hop};
use crate::target::{Target, host};

/// What is looked at.
pub(crate) enum Aim<'a> {
    Http { probe: &'a HttpProbe, hop: Box<Hop>, draft: Box<Draft> },
    Tcp(Target),
    Icmp(Target),
    Dns(Target, RecordType),
    Tls(Target),
}

impl<'a> Aim<'a> {
    /// Reads it. The error says what is wrong, and quotes nothing.
    pub fn of(probe: &'a Probe, user_agent: &str) -> Result<Self, String> {
        let at = |text: &str| host(text).map_err(|why| format!("the host {why}"));
        let port_at = |text: &str, port| Target::new(at(text)?, port).map_err(|why| format!("the host {why}"));
        Ok(match probe {
            Probe::Http(probe) => {
                let hop = Box::new(Hop::first(&probe.url)?);
                Self::Http { probe, hop, draft: Box::new(Draft::new(probe, user_agent)?) }
            }
            Probe::Tcp { host, port } => Self::Tcp(port_at(host, *port)?),
            Probe::Icmp { host } => Self::Icmp(Target::portless(at(host)?)),
            Probe::Tls { host, port } => {
                let target = port_at(host, *port)?;
                target.server_name().map_err(|why| format!("the host {why}"))?;
                Self::Tls(target)
            }
            Probe::Dns { host, record_type, .. } => {
                let known = if RECORD_TYPES.contains(&&**record_type) { record_type.parse().ok() } else { None };
                let record_type =
                    known.ok_or_else(|| format!("the record type must be one of {}", RECORD_TYPES.join(", ")))?;
                match at(host)? {
                    name @ Host::Domain(_) => Self::Dns(Target::portless(name), record_type),
                    _ => return Err("the host must be a name".into()),
                }
            }
        })
    }

    /// The first place that it goes to.
    pub fn target(&self) -> &Target {
        match self {
            Self::Http { hop, .. } => &hop.target,
            Self::Tcp(target) | Self::Icmp(target) | Self::Dns(target, _) | Self::Tls(target) => target,
        }
    }

    /// Whether the guard refuses it for sure.
    pub fn check(&self, guard: &Guard) -> Result<(), String> {
        self.target().check(guard)
    }
}

//! Name resolution for all probes, and the lookups of DNS probes.
//!
//! Names are looked up by this process over the network instead of by `getaddrinfo`, which blocks a thread for every
//! name that hangs: a dead name server must not delay lookups of other names. The system's configuration
//! (`resolv.conf`, the hosts file) is honoured and reloaded when it changes. Other sources of the system (mDNS, LDAP)
//! are not supported.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::{Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::system_conf::read_system_conf;
use hickory_resolver::{Hosts, TokioResolver};
use tidings_channels::egress::Resolve;
use tokio::time::Instant;

use crate::limiter::PROBES_MAX;

/// Concurrent lookups: as many as there are probes, so that no name waits for another.
const LOOKUPS_MAX: usize = PROBES_MAX;
/// Timeout of a lookup. Within it queries are repeated, as packets may get lost. Shorter than most probes' own timeout,
/// so that a lookup seldom outlives its probe.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an address is cached at most, whatever the TTL of its record.
const ADDRESS_TTL_MAX: Duration = Duration::from_secs(30);
/// How long the absence of an address is cached at most.
const NO_ADDRESS_TTL_MAX: Duration = Duration::from_secs(5);
/// How often the system's configuration is checked for changes.
const CONFIG_CHECK_INTERVAL: Duration = Duration::from_secs(30);
const CONFIG_FILES: [&str; 2] = ["/etc/resolv.conf", "/etc/hosts"];

/// Resolves names with the system's name servers or with given ones.
pub struct DnsResolver {
    /// `None`: those of the system.
    servers: Option<Vec<SocketAddr>>,
    built: Mutex<BuiltResolver>,
}

/// The resolvers, and which state of the configuration they were built from.
struct BuiltResolver {
    resolvers: Resolvers,
    checked_at: Instant,
    modified_at: [Option<SystemTime>; CONFIG_FILES.len()],
}

#[derive(Clone)]
struct Resolvers {
    hosts: Arc<Hosts>,
    /// For addresses to connect to: with the search list and a short cache.
    addresses: TokioResolver,
    /// For DNS probes: looks up exactly the given name, without a cache.
    records: TokioResolver,
}

impl DnsResolver {
    /// The system's name servers, search list and hosts file.
    pub fn system() -> Self {
        Self::build(None)
    }

    /// Only these name servers, without search list and hosts file.
    pub fn with_servers(servers: Vec<SocketAddr>) -> Self {
        Self::build(Some(servers))
    }

    fn build(servers: Option<Vec<SocketAddr>>) -> Self {
        let resolvers = Resolvers::new(servers.as_deref());
        let built = BuiltResolver { resolvers, checked_at: Instant::now(), modified_at: modification_times() };
        Self { servers, built: Mutex::new(built) }
    }

    /// The name's records of this type as text: names in lower case without a final dot, `10 mx.example` for MX, TXT
    /// strings concatenated. Empty if the name exists without such a record.
    pub(crate) async fn records(&self, name: &str, record_type: RecordType) -> io::Result<Vec<String>> {
        let mut name = Name::from_str_relaxed(name).map_err(|_| io::Error::other("it is not a valid name"))?;
        name.set_fqdn(true);
        match self.current().records.lookup(name, record_type).await {
            Ok(lookup) => {
                let of_type = lookup.answers().iter().filter(|record| record.record_type() == record_type);
                Ok(of_type.map(|record| format_record(&record.data)).collect())
            }
            Err(error) if is_no_data(&error) => Ok(Vec::new()),
            Err(error) => Err(to_io_error(&error)),
        }
    }

    /// The resolvers, rebuilt if the system's configuration has changed.
    fn current(&self) -> Resolvers {
        let mut built = self.built.lock().unwrap_or_else(PoisonError::into_inner);
        if self.servers.is_none() && built.checked_at.elapsed() >= CONFIG_CHECK_INTERVAL {
            built.checked_at = Instant::now();
            let modified_at = modification_times();
            if modified_at != built.modified_at {
                built.modified_at = modified_at;
                built.resolvers = Resolvers::new(None);
                tracing::info!("reloaded the resolver configuration after a change");
            }
        }
        built.resolvers.clone()
    }
}

#[async_trait]
impl Resolve for DnsResolver {
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let name = Name::from_str_relaxed(host).map_err(|_| io::Error::other("it is not a valid name"))?;
        let resolvers = self.current();
        let from_hosts_file = resolvers.lookup_hosts_file(&name);
        if !from_hosts_file.is_empty() {
            return Ok(from_hosts_file.into_iter().map(|ip| SocketAddr::new(ip, port)).collect());
        }
        match resolvers.addresses.lookup_ip(name).await {
            Ok(lookup) => Ok(interleave_families(lookup.iter()).map(|ip| SocketAddr::new(ip, port)).collect()),
            Err(error) if is_no_data(&error) => Ok(Vec::new()),
            Err(error) => Err(to_io_error(&error)),
        }
    }

    fn lookups_max(&self) -> usize {
        LOOKUPS_MAX
    }
}

impl Resolvers {
    fn new(servers: Option<&[SocketAddr]>) -> Self {
        let (config, mut options, hosts) = match servers {
            Some(servers) => (config_for_servers(servers), ResolverOpts::default(), Hosts::default()),
            None => {
                let (config, options) = read_system_conf().unwrap_or_else(|error| {
                    // The C library falls back to 127.0.0.1, too.
                    tracing::warn!(%error, "no name servers are configured, using 127.0.0.1");
                    (config_for_servers(&[SocketAddr::from(([127, 0, 0, 1], 53))]), ResolverOpts::default())
                });
                (config, options, Hosts::from_system().unwrap_or_default())
            }
        };
        options.timeout = options.timeout.min(LOOKUP_TIMEOUT);
        options.attempts = 0;
        // `lookup_hosts_file` does that: hickory would query the name servers for the address family that is missing.
        options.use_hosts_file = ResolveHosts::Never;
        let mut for_addresses = options.clone();
        for_addresses.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        for_addresses.positive_max_ttl = Some(ADDRESS_TTL_MAX);
        for_addresses.negative_max_ttl = Some(NO_ADDRESS_TTL_MAX);
        let mut for_records = options;
        for_records.cache_size = 0;
        for_records.positive_max_ttl = Some(Duration::ZERO);
        for_records.negative_max_ttl = Some(Duration::ZERO);
        let hosts = Arc::new(hosts);
        Self {
            hosts,
            addresses: build_resolver(config.clone(), for_addresses),
            records: build_resolver(config, for_records),
        }
    }

    fn lookup_hosts_file(&self, name: &Name) -> Vec<IpAddr> {
        let mut name = name.clone();
        name.set_fqdn(true);
        let of_type = |record_type| self.hosts.lookup_static_host(&Query::query(name.clone(), record_type));
        let found = [RecordType::A, RecordType::AAAA].into_iter().filter_map(of_type);
        let ips = found
            .flat_map(|lookup| lookup.answers().iter().filter_map(|record| record.data.ip_addr()).collect::<Vec<_>>());
        ips.collect()
    }
}

fn build_resolver(config: ResolverConfig, options: ResolverOpts) -> TokioResolver {
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    *builder.options_mut() = options;
    builder.build().unwrap_or_else(|error| unreachable!("only TLS could fail, which is not used: {error}"))
}

fn config_for_servers(servers: &[SocketAddr]) -> ResolverConfig {
    let server = |server: &SocketAddr| {
        let (mut udp, mut tcp) = (ConnectionConfig::udp(), ConnectionConfig::tcp());
        (udp.port, tcp.port) = (server.port(), server.port());
        NameServerConfig::new(server.ip(), true, vec![udp, tcp])
    };
    ResolverConfig::from_name_servers(servers.iter().map(server).collect())
}

fn modification_times() -> [Option<SystemTime>; CONFIG_FILES.len()] {
    CONFIG_FILES.map(|file| Path::new(file).metadata().and_then(|file| file.modified()).ok())
}

/// Alternates between IPv4 and IPv6, so that an unreachable family does not use up all connection attempts.
fn interleave_families(ips: impl Iterator<Item = IpAddr>) -> impl Iterator<Item = IpAddr> {
    let (v4, v6): (Vec<_>, Vec<_>) = ips.partition(IpAddr::is_ipv4);
    let (mut v4, mut v6) = (v4.into_iter(), v6.into_iter());
    let mut is_v4_next = false;
    std::iter::from_fn(move || {
        is_v4_next = !is_v4_next;
        if is_v4_next { v4.next().or_else(|| v6.next()) } else { v6.next().or_else(|| v4.next()) }
    })
}

/// NODATA: the name exists, but not with this record type (RFC 2308).
fn is_no_data(error: &NetError) -> bool {
    matches!(error, NetError::Dns(DnsError::NoRecordsFound(none)) if none.response_code == ResponseCode::NoError)
}

/// Messages must not contain a colon: `egress::resolve::reason` cuts them off there.
fn to_io_error(error: &NetError) -> io::Error {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) if none.response_code == ResponseCode::NXDomain => {
            io::Error::new(io::ErrorKind::NotFound, "there is no such name")
        }
        NetError::Dns(DnsError::NoRecordsFound(none)) => error_response(none.response_code),
        NetError::Dns(DnsError::ResponseCode(code)) => error_response(*code),
        NetError::Timeout => io::Error::new(io::ErrorKind::TimedOut, "the name servers did not answer in time"),
        NetError::Io(error) => match error.raw_os_error() {
            Some(code) => io::Error::from_raw_os_error(code),
            None => io::Error::new(error.kind(), format!("the name servers cannot be queried ({})", error.kind())),
        },
        NetError::NoConnections => io::Error::other("the name servers cannot be queried"),
        other => io::Error::other(other.to_string().replace(':', ",")),
    }
}

fn error_response(code: ResponseCode) -> io::Error {
    io::Error::other(format!("the name server answered \"{}\"", code.to_str().to_lowercase()))
}

fn format_record(data: &RData) -> String {
    match data {
        RData::CNAME(name) => format_name(name),
        RData::NS(name) => format_name(name),
        RData::MX(mx) => format!("{} {}", mx.preference, format_name(&mx.exchange)),
        RData::TXT(txt) => txt.txt_data.iter().map(|part| String::from_utf8_lossy(part)).collect(),
        other => other.to_string(),
    }
}

fn format_name(name: &Name) -> String {
    let text = name.to_lowercase().to_ascii();
    if text == "." { text } else { text.trim_end_matches('.').to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn resolve_hosts_file_takes_precedence_over_name_servers() {
        let mut hosts = Hosts::default();
        hosts.read_hosts_conf(&b"10.0.0.5 db DB2\nfd00::5 db\n"[..]).unwrap();
        let mut resolvers = Resolvers::new(Some(&[SocketAddr::from(([127, 0, 0, 1], 9))]));
        resolvers.hosts = Arc::new(hosts);
        let dns = DnsResolver::with_servers(Vec::new());
        dns.built.lock().unwrap().resolvers = resolvers;
        for (name, ips) in [("db", &["10.0.0.5", "fd00::5"][..]), ("db2.", &["10.0.0.5"])] {
            let found = dns.resolve(name, 80).await.unwrap();
            let expected: Vec<_> = ips.iter().map(|ip| SocketAddr::new(ip.parse().unwrap(), 80)).collect();
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn interleave_families_alternates() {
        let ips = ["1.1.1.1", "1.1.1.2", "1.1.1.3", "2606::1"].map(|ip| ip.parse::<IpAddr>().unwrap());
        let order: Vec<_> = interleave_families(ips.into_iter()).map(|ip| ip.to_string()).collect();
        assert_eq!(order, ["1.1.1.1", "2606::1", "1.1.1.2", "1.1.1.3"]);
    }
}

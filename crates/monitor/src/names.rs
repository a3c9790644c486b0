//! The name service: names to addresses for every probe, and the questions of DNS probes.
//!
//! Names are asked over the network by this process itself rather than through `getaddrinfo`, which holds a thread for
//! every name that hangs: a name server that is down must not delay the names of others. The system's configuration
//! (`resolv.conf`, the hosts file) is heeded, and read again when it changes; what else the system can ask (mDNS,
//! LDAP) is not.

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

use crate::room::PROBES_MAX;

/// How many names may be asked for at once: as many as there are probes, so that no name waits for others.
const LOOKUPS_MAX: usize = PROBES_MAX;
/// How long the name servers are given, at most. Within it a question is repeated when its answer may have got lost;
/// a probe's own timeout is mostly longer, so that no question outlives its probe.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an address is believed at most, whatever its record says.
const ADDRESS_TTL_MAX: Duration = Duration::from_secs(30);
/// How long it is believed at most that there is none.
const NO_ADDRESS_TTL_MAX: Duration = Duration::from_secs(5);
/// How often it is looked whether the system's configuration has changed.
const LOOK_INTERVAL: Duration = Duration::from_secs(30);
/// What the system's configuration is read from.
const FILES: [&str; 2] = ["/etc/resolv.conf", "/etc/hosts"];

/// The name service.
pub struct DnsResolver {
    servers: Option<Vec<SocketAddr>>,
    made: Mutex<Made>,
}

struct Made {
    asking: Asking,
    looked: Instant,
    changed: [Option<SystemTime>; FILES.len()],
}

/// What asks.
#[derive(Clone)]
struct Asking {
    hosts: Arc<Hosts>,
    /// For addresses to connect to: with the search list, and remembered for a moment.
    addresses: TokioResolver,
    /// For DNS probes: asks for exactly that name, now.
    records: TokioResolver,
}

impl DnsResolver {
    /// The system's name servers, search list and hosts file.
    pub fn system() -> Self {
        Self::with(None)
    }

    /// These name servers and nothing else.
    pub fn asking(servers: Vec<SocketAddr>) -> Self {
        Self::with(Some(servers))
    }

    fn with(servers: Option<Vec<SocketAddr>>) -> Self {
        let asking = Asking::new(servers.as_deref());
        let made = Mutex::new(Made { asking, looked: Instant::now(), changed: changed() });
        Self { servers, made }
    }

    /// The records of this type that the name has, as text: names in lower case without a final dot, `10 mx.example`,
    /// texts in one piece. The error is why there are none, in the kind and words of an I/O error.
    pub(crate) async fn records(&self, name: &str, record_type: RecordType) -> io::Result<Vec<String>> {
        let mut name = Name::from_str_relaxed(name).map_err(|_| io::Error::other("it is no name"))?;
        name.set_fqdn(true);
        match self.now().records.lookup(name, record_type).await {
            Ok(lookup) => {
                let of_type = lookup.answers().iter().filter(|record| record.record_type() == record_type);
                Ok(of_type.map(|record| text(&record.data)).collect())
            }
            Err(error) if is_empty(&error) => Ok(Vec::new()),
            Err(error) => Err(unresolved(&error)),
        }
    }

    /// What asks now; made anew if the system's configuration has changed.
    fn now(&self) -> Asking {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if self.servers.is_none() && made.looked.elapsed() >= LOOK_INTERVAL {
            made.looked = Instant::now();
            let changed = changed();
            if changed != made.changed {
                made.changed = changed;
                made.asking = Asking::new(None);
                tracing::info!("the name service's configuration has changed and was read again");
            }
        }
        made.asking.clone()
    }
}

#[async_trait]
impl Resolve for DnsResolver {
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let name = Name::from_str_relaxed(host).map_err(|_| io::Error::other("it is no name"))?;
        let asking = self.now();
        let known = asking.in_hosts_file(&name);
        if !known.is_empty() {
            return Ok(known.into_iter().map(|ip| SocketAddr::new(ip, port)).collect());
        }
        match asking.addresses.lookup_ip(name).await {
            Ok(found) => Ok(alternating(found.iter()).map(|ip| SocketAddr::new(ip, port)).collect()),
            Err(error) if is_empty(&error) => Ok(Vec::new()),
            Err(error) => Err(unresolved(&error)),
        }
    }

    fn lookups_max(&self) -> usize {
        LOOKUPS_MAX
    }
}

impl Asking {
    fn new(servers: Option<&[SocketAddr]>) -> Self {
        let (config, mut options, hosts) = match servers {
            Some(servers) => (of_servers(servers), ResolverOpts::default(), Hosts::default()),
            None => {
                let (config, options) = read_system_conf().unwrap_or_else(|error| {
                    // As the C library does it.
                    tracing::warn!(%error, "no name servers are configured: 127.0.0.1 is asked");
                    (of_servers(&[SocketAddr::from(([127, 0, 0, 1], 53))]), ResolverOpts::default())
                });
                (config, options, Hosts::from_system().unwrap_or_default())
            }
        };
        options.timeout = options.timeout.min(ANSWER_TIMEOUT);
        options.attempts = 0;
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
        Self { hosts, addresses: resolver(config.clone(), for_addresses), records: resolver(config, for_records) }
    }

    /// What the hosts file says goes before the name servers, which may not be there to ask for the other family.
    fn in_hosts_file(&self, name: &Name) -> Vec<IpAddr> {
        let mut name = name.clone();
        name.set_fqdn(true);
        let of_type = |record_type| self.hosts.lookup_static_host(&Query::query(name.clone(), record_type));
        let found = [RecordType::A, RecordType::AAAA].into_iter().filter_map(of_type);
        let ips = found
            .flat_map(|lookup| lookup.answers().iter().filter_map(|record| record.data.ip_addr()).collect::<Vec<_>>());
        ips.collect()
    }
}

fn resolver(config: ResolverConfig, options: ResolverOpts) -> TokioResolver {
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    *builder.options_mut() = options;
    builder.build().unwrap_or_else(|error| unreachable!("without TLS there is nothing that could fail: {error}"))
}

fn of_servers(servers: &[SocketAddr]) -> ResolverConfig {
    let server = |server: &SocketAddr| {
        let (mut udp, mut tcp) = (ConnectionConfig::udp(), ConnectionConfig::tcp());
        (udp.port, tcp.port) = (server.port(), server.port());
        NameServerConfig::new(server.ip(), true, vec![udp, tcp])
    };
    ResolverConfig::from_name_servers(servers.iter().map(server).collect())
}

/// When the system's configuration was last changed.
fn changed() -> [Option<SystemTime>; FILES.len()] {
    FILES.map(|file| Path::new(file).metadata().and_then(|file| file.modified()).ok())
}

/// One of each family in turn, so that one that cannot be reached from here does not take up all tries.
fn alternating(ips: impl Iterator<Item = IpAddr>) -> impl Iterator<Item = IpAddr> {
    let (v4, v6): (Vec<_>, Vec<_>) = ips.partition(IpAddr::is_ipv4);
    let (mut v4, mut v6) = (v4.into_iter(), v6.into_iter());
    let mut turn = false;
    std::iter::from_fn(move || {
        turn = !turn;
        if turn { v4.next().or_else(|| v6.next()) } else { v6.next().or_else(|| v4.next()) }
    })
}

/// Whether the name is there and has no such record.
fn is_empty(error: &NetError) -> bool {
    matches!(error, NetError::Dns(DnsError::NoRecordsFound(none)) if none.response_code == ResponseCode::NoError)
}

/// Why there is no answer. The words hold no colon, so that none of them is cut off (`egress::resolve::reason`).
fn unresolved(error: &NetError) -> io::Error {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) if none.response_code == ResponseCode::NXDomain => {
            io::Error::new(io::ErrorKind::NotFound, "there is no such name")
        }
        NetError::Dns(DnsError::NoRecordsFound(none)) => answered(none.response_code),
        NetError::Dns(DnsError::ResponseCode(code)) => answered(*code),
        NetError::Timeout => io::Error::new(io::ErrorKind::TimedOut, "the name servers did not answer in time"),
        NetError::Io(error) => match error.raw_os_error() {
            Some(code) => io::Error::from_raw_os_error(code),
            None => io::Error::new(error.kind(), format!("the name servers cannot be asked ({})", error.kind())),
        },
        NetError::NoConnections => io::Error::other("the name servers cannot be asked"),
        other => io::Error::other(other.to_string().replace(':', ",")),
    }
}

fn answered(code: ResponseCode) -> io::Error {
    io::Error::other(format!("the name server answered \"{}\"", code.to_str().to_lowercase()))
}

fn text(data: &RData) -> String {
    match data {
        RData::CNAME(name) => name_text(name),
        RData::NS(name) => name_text(name),
        RData::MX(mx) => format!("{} {}", mx.preference, name_text(&mx.exchange)),
        RData::TXT(txt) => txt.txt_data.iter().map(|part| String::from_utf8_lossy(part)).collect(),
        other => other.to_string(),
    }
}

fn name_text(name: &Name) -> String {
    let text = name.to_lowercase().to_ascii();
    if text == "." { text } else { text.trim_end_matches('.').to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_hosts_file_goes_before_the_name_servers() {
        let mut hosts = Hosts::default();
        hosts.read_hosts_conf(&b"10.0.0.5 db DB2\nfd00::5 db\n"[..]).unwrap();
        let mut asking = Asking::new(Some(&[SocketAddr::from(([127, 0, 0, 1], 9))]));
        asking.hosts = Arc::new(hosts);
        let names = DnsResolver::asking(Vec::new());
        names.made.lock().unwrap().asking = asking;
        for (name, ips) in [("db", &["10.0.0.5", "fd00::5"][..]), ("db2.", &["10.0.0.5"])] {
            let found = names.resolve(name, 80).await.unwrap();
            let expected: Vec<_> = ips.iter().map(|ip| SocketAddr::new(ip.parse().unwrap(), 80)).collect();
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn families_take_turns() {
        let ips = ["1.1.1.1", "1.1.1.2", "1.1.1.3", "2606::1"].map(|ip| ip.parse::<IpAddr>().unwrap());
        let order: Vec<_> = alternating(ips.into_iter()).map(|ip| ip.to_string()).collect();
        assert_eq!(order, ["1.1.1.1", "2606::1", "1.1.1.2", "1.1.1.3"]);
    }
}

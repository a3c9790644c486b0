//! Name resolution for channels and probes, and the lookups of DNS probes.
//!
//! Names are looked up by this process over the network instead of by `getaddrinfo`, which blocks a thread for every
//! name that hangs: a dead name server must not delay lookups of other names. The system's configuration
//! (`resolv.conf`, the hosts file) is honoured and reloaded when it changes. Other sources of the system (mDNS, LDAP)
//! are not supported.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::{Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RData};
use hickory_resolver::system_conf::parse_resolv_conf;
use hickory_resolver::{Hosts, TokioResolver};
use tokio::time::{Instant, timeout};

pub use hickory_resolver::proto::rr::RecordType;

use super::Resolve;
use super::target::is_localhost;

/// Timeout of a lookup. Within it queries are repeated, as packets may get lost. Not longer than the time in which a
/// connection must be open.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);
/// After this time addresses are looked up once more, without asking for IPv6 ones: some name servers and firewalls never
/// answer questions for them, and the addresses that are known would be of no use until the timeout.
const V4_ALONE_AFTER: Duration = Duration::from_secs(1);
/// How long an address is cached at most, whatever the TTL of its record.
const ADDRESS_TTL_MAX: Duration = Duration::from_secs(30);
/// How long the absence of an address is cached at most.
const NO_ADDRESS_TTL_MAX: Duration = Duration::from_secs(5);
/// How often the system's configuration is checked for changes at most; not counting lookups without cache.
const CONFIG_CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// Name servers that are asked one by one; the C library uses no more either.
const SERVERS_MAX: usize = 3;
/// Queries in flight over one TCP connection to a name server; with hickory's 32, one more fails.
const TCP_QUERIES_MAX: usize = 1_024;

/// Resolves names with the system's name servers or with given ones.
pub struct DnsResolver {
    source: Source,
    built: Mutex<Built>,
}

/// Where the configuration comes from.
struct Source {
    /// `None`: those of `resolv_conf`.
    servers: Option<Vec<SocketAddr>>,
    resolv_conf: PathBuf,
    /// `None`: no hosts file.
    hosts: Option<PathBuf>,
}

/// The resolvers, and which state of the configuration they were built from.
struct Built {
    resolvers: Resolvers,
    checked_at: Instant,
    resolv_conf: FileState,
    hosts: FileState,
}

/// Tells whether a file was written or replaced. The size is part of it, because two writes may share one timestamp.
type FileState = Option<(SystemTime, u64)>;

#[derive(Clone)]
struct Resolvers {
    hosts: Arc<Hosts>,
    servers: Arc<Servers>,
}

struct Servers {
    /// For addresses to connect to: with the search list and a short cache.
    addresses: TokioResolver,
    /// The same for IPv4 alone.
    v4_addresses: TokioResolver,
    /// The same two without a cache.
    fresh: TokioResolver,
    v4_fresh: TokioResolver,
    /// For DNS probes: looks up exactly the given name, without a cache.
    records: TokioResolver,
    /// Each name server alone, without a cache; empty if there is only one.
    each: Vec<TokioResolver>,
}

impl DnsResolver {
    /// The system's name servers, search list and hosts file.
    pub fn system() -> Self {
        let (resolv_conf, hosts) = ("/etc/resolv.conf".into(), Some("/etc/hosts".into()));
        Self::build(Source { servers: None, resolv_conf, hosts })
    }

    /// Only these name servers, without search list and hosts file.
    pub fn with_servers(servers: Vec<SocketAddr>) -> Self {
        Self::build(Source { servers: Some(servers), resolv_conf: PathBuf::new(), hosts: None })
    }

    /// These name servers, and a hosts file that is read again when it changes.
    pub fn with_servers_and_hosts(servers: Vec<SocketAddr>, hosts: impl Into<PathBuf>) -> Self {
        Self::build(Source { servers: Some(servers), resolv_conf: PathBuf::new(), hosts: Some(hosts.into()) })
    }

    fn build(source: Source) -> Self {
        // The states first: a change while the files are being read is noticed by the next check.
        let (resolv_conf, hosts) = source.states();
        let servers = source.load_servers().unwrap_or_else(|error| {
            // The C library falls back to 127.0.0.1, too.
            tracing::warn!(%error, "no name servers are configured, using 127.0.0.1");
            Servers::new(config_for_servers(&[SocketAddr::from(([127, 0, 0, 1], 53))]), ResolverOpts::default())
        });
        let resolvers = Resolvers { hosts: Arc::new(source.load_hosts()), servers: Arc::new(servers) };
        let built = Built { resolvers, checked_at: Instant::now(), resolv_conf, hosts };
        Self { source, built: Mutex::new(built) }
    }

    /// The name's records of this type as text: names in lower case without a final dot, `10 mx.example` for MX, TXT
    /// strings concatenated. Empty if the name exists without such a record.
    pub async fn records(&self, name: &str, record_type: RecordType) -> io::Result<Vec<String>> {
        let mut name = Name::from_str_relaxed(name).map_err(|_| io::Error::other("it is not a valid name"))?;
        name.set_fqdn(true);
        let servers = self.current(false).servers;
        let look_up = |resolver: TokioResolver| {
            let name = name.clone();
            async move { resolver.lookup(name, record_type).await }.boxed()
        };
        let first = look_up(servers.records.clone()).await;
        match servers.or_each(first, look_up).await {
            Ok(lookup) => {
                let of_type = lookup.answers().iter().filter(|record| record.record_type() == record_type);
                Ok(of_type.map(|record| format_record(&record.data)).collect())
            }
            Err(error) if is_no_data(&error) => Ok(Vec::new()),
            Err(error) => Err(to_io_error(&error)),
        }
    }

    /// The resolvers, rebuilt if the configuration has changed.
    fn current(&self, fresh: bool) -> Resolvers {
        let mut built = self.built.lock().unwrap_or_else(PoisonError::into_inner);
        if fresh || built.checked_at.elapsed() >= CONFIG_CHECK_INTERVAL {
            built.checked_at = Instant::now();
            let (resolv_conf, hosts) = self.source.states();
            if hosts != built.hosts {
                built.hosts = hosts;
                built.resolvers.hosts = Arc::new(self.source.load_hosts());
                tracing::info!("reloaded the hosts file after a change");
            }
            if resolv_conf != built.resolv_conf {
                built.resolv_conf = resolv_conf;
                match self.source.load_servers() {
                    Ok(servers) => {
                        built.resolvers.servers = Arc::new(servers);
                        tracing::info!("reloaded the resolver configuration after a change");
                    }
                    // Such as a file that is just being rewritten.
                    Err(error) => tracing::warn!(%error, "the changed resolver configuration cannot be used"),
                }
            }
        }
        built.resolvers.clone()
    }

    async fn addresses(&self, host: &str, port: u16, fresh: bool) -> io::Result<Vec<SocketAddr>> {
        let name = Name::from_str_relaxed(host).map_err(|_| io::Error::other("it is not a valid name"))?;
        let Resolvers { hosts, servers } = self.current(fresh);
        let mut ips = lookup_hosts_file(&hosts, &name);
        if ips.is_empty() && is_localhost(&host.to_ascii_lowercase()) {
            // RFC 6761, 6.3: name servers are not asked for these.
            ips = vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        }
        if ips.is_empty() {
            ips = servers.lookup(name, fresh).await?;
        }
        Ok(interleave_families(ips.into_iter()).map(|ip| SocketAddr::new(ip, port)).collect())
    }
}

#[async_trait]
impl Resolve for DnsResolver {
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        self.addresses(host, port, false).await
    }

    async fn resolve_fresh(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        self.addresses(host, port, true).await
    }
}

impl Source {
    fn states(&self) -> (FileState, FileState) {
        let resolv_conf = self.servers.is_none().then_some(&self.resolv_conf);
        (resolv_conf.and_then(|path| file_state(path)), self.hosts.as_deref().and_then(file_state))
    }

    fn load_servers(&self) -> io::Result<Servers> {
        let (config, options) = match &self.servers {
            Some(servers) => (config_for_servers(servers), ResolverOpts::default()),
            None => parse_resolv_conf(std::fs::read(&self.resolv_conf)?).map_err(io::Error::other)?,
        };
        Ok(Servers::new(config, options))
    }

    /// Empty if the file cannot be read.
    fn load_hosts(&self) -> Hosts {
        let mut hosts = Hosts::default();
        if let Some(file) = self.hosts.as_deref().and_then(|path| std::fs::File::open(path).ok())
            && let Err(error) = hosts.read_hosts_conf(file)
        {
            tracing::warn!(%error, "the hosts file cannot be read to its end");
        }
        hosts
    }
}

impl Servers {
    fn new(config: ResolverConfig, mut options: ResolverOpts) -> Self {
        options.timeout = options.timeout.min(LOOKUP_TIMEOUT);
        options.attempts = 0;
        options.max_active_requests = TCP_QUERIES_MAX;
        // `lookup_hosts_file` does that: hickory would query the name servers for the address family that is missing.
        options.use_hosts_file = ResolveHosts::Never;
        let build = |config: &ResolverConfig, strategy: LookupIpStrategy, is_cached: bool| {
            let mut options = options.clone();
            options.ip_strategy = strategy;
            options.positive_max_ttl = Some(if is_cached { ADDRESS_TTL_MAX } else { Duration::ZERO });
            options.negative_max_ttl = Some(if is_cached { NO_ADDRESS_TTL_MAX } else { Duration::ZERO });
            if !is_cached {
                options.cache_size = 0;
            }
            let mut builder = TokioResolver::builder_with_config(config.clone(), TokioRuntimeProvider::default());
            *builder.options_mut() = options;
            builder.build().unwrap_or_else(|error| unreachable!("only TLS could fail, which is not used: {error}"))
        };
        let alone = |server: &NameServerConfig| {
            let (domain, search) = (config.domain().cloned(), config.search().to_vec());
            let config = ResolverConfig::from_parts(domain, search, vec![server.clone()]);
            build(&config, LookupIpStrategy::Ipv4AndIpv6, false)
        };
        Self {
            addresses: build(&config, LookupIpStrategy::Ipv4AndIpv6, true),
            v4_addresses: build(&config, LookupIpStrategy::Ipv4Only, true),
            fresh: build(&config, LookupIpStrategy::Ipv4AndIpv6, false),
            v4_fresh: build(&config, LookupIpStrategy::Ipv4Only, false),
            records: build(&config, LookupIpStrategy::Ipv4AndIpv6, false),
            each: match config.name_servers() {
                [_] => Vec::new(),
                several => several.iter().take(SERVERS_MAX).map(alone).collect(),
            },
        }
    }

    /// If one of the name servers answered that it cannot or will not answer, the others are asked as well, as the C
    /// library does: hickory takes the first answer, whatever it is.
    async fn or_each<T>(
        &self,
        first: Result<T, NetError>,
        ask: impl Fn(TokioResolver) -> BoxFuture<'static, Result<T, NetError>>,
    ) -> Result<T, NetError> {
        let mut failure = match first {
            Err(error) if is_server_failure(&error) => error,
            other => return other,
        };
        let mut asked: FuturesUnordered<_> = self.each.iter().cloned().map(ask).collect();
        while let Some(answer) = asked.next().await {
            match answer {
                Err(error) if is_server_failure(&error) => failure = error,
                Err(NetError::Timeout | NetError::Io(_) | NetError::NoConnections) => {}
                definite => return definite,
            }
        }
        Err(failure)
    }

    /// Empty if the name exists without an address.
    async fn lookup(&self, name: Name, fresh: bool) -> io::Result<Vec<IpAddr>> {
        let look_up = |resolver| lookup_ips(resolver, name.clone());
        let first = self.lookup_together(&look_up, fresh).await;
        self.or_each(first, look_up).await.map_err(|error| to_io_error(&error))
    }

    async fn lookup_together(
        &self,
        look_up: &impl Fn(TokioResolver) -> BoxFuture<'static, Result<Vec<IpAddr>, NetError>>,
        fresh: bool,
    ) -> Result<Vec<IpAddr>, NetError> {
        let (both, v4_alone) =
            if fresh { (&self.fresh, &self.v4_fresh) } else { (&self.addresses, &self.v4_addresses) };
        let mut both = look_up(both.clone());
        if let Ok(found) = timeout(V4_ALONE_AFTER, &mut both).await {
            return found;
        }
        let mut v4_alone = look_up(v4_alone.clone());
        tokio::select! {
            found = &mut both => found,
            found = &mut v4_alone => match found {
                Ok(ips) if !ips.is_empty() => Ok(ips),
                // It may have IPv6 addresses.
                _ => both.await,
            },
        }
    }
}

/// Empty if the name exists without an address.
fn lookup_ips(resolver: TokioResolver, name: Name) -> BoxFuture<'static, Result<Vec<IpAddr>, NetError>> {
    let found = async move {
        match resolver.lookup_ip(name).await {
            Ok(lookup) => Ok(lookup.iter().collect()),
            Err(error) if is_no_data(&error) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    };
    found.boxed()
}

fn lookup_hosts_file(hosts: &Hosts, name: &Name) -> Vec<IpAddr> {
    let mut name = name.clone();
    name.set_fqdn(true);
    let of_type = |record_type| hosts.lookup_static_host(&Query::query(name.clone(), record_type));
    let found = [RecordType::A, RecordType::AAAA].into_iter().filter_map(of_type);
    let ips =
        found.flat_map(|lookup| lookup.answers().iter().filter_map(|record| record.data.ip_addr()).collect::<Vec<_>>());
    ips.collect()
}

fn config_for_servers(servers: &[SocketAddr]) -> ResolverConfig {
    let server = |server: &SocketAddr| {
        let (mut udp, mut tcp) = (ConnectionConfig::udp(), ConnectionConfig::tcp());
        (udp.port, tcp.port) = (server.port(), server.port());
        NameServerConfig::new(server.ip(), true, vec![udp, tcp])
    };
    ResolverConfig::from_name_servers(servers.iter().map(server).collect())
}

fn file_state(path: &Path) -> FileState {
    let metadata = path.metadata().ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
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

/// The name server cannot or will not answer; another one may.
fn is_server_failure(error: &NetError) -> bool {
    let code = match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) => none.response_code,
        NetError::Dns(DnsError::ResponseCode(code)) => *code,
        _ => return false,
    };
    !matches!(code, ResponseCode::NoError | ResponseCode::NXDomain)
}

/// Messages must not contain a colon: `resolve::reason` cuts them off there.
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
mod tests;

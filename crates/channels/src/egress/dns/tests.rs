use super::*;

async fn ips(dns: &DnsResolver, name: &str) -> Vec<String> {
    dns.resolve_fresh(name, 80).await.unwrap().into_iter().map(|address| address.ip().to_string()).collect()
}

#[tokio::test]
async fn resolve_hosts_file_takes_precedence_and_is_read_again_when_it_changes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hosts");
    std::fs::write(&file, "10.0.0.5 db DB2 # both\nfd00::5 db\n10.0.0.6 db\nnonsense x\n").unwrap();
    let dns = DnsResolver::with_servers_and_hosts(Vec::new(), &file);
    assert_eq!(ips(&dns, "db").await, ["10.0.0.5", "fd00::5", "10.0.0.6"]);
    assert_eq!(ips(&dns, "Db2.").await, ["10.0.0.5"]);
    std::fs::write(&file, "10.0.0.99 db\n").unwrap();
    assert_eq!(ips(&dns, "db").await, ["10.0.0.99"]);
    // Also when it is replaced instead of written, and while there is none.
    std::fs::remove_file(&file).unwrap();
    assert!(dns.resolve_fresh("db", 80).await.is_err());
    std::fs::write(&file, "10.0.0.1 db\n").unwrap();
    assert_eq!(ips(&dns, "db").await, ["10.0.0.1"]);
}

#[tokio::test]
async fn resolve_localhost_asks_no_name_server() {
    let dns = DnsResolver::with_servers(Vec::new());
    for name in ["localhost", "LOCALHOST.", "a.localhost"] {
        assert_eq!(ips(&dns, name).await, ["127.0.0.1", "::1"], "{name}");
    }
}

#[test]
fn load_servers_keeps_what_resolv_conf_says() {
    let folder = tempfile::tempdir().unwrap();
    let resolv_conf = folder.path().join("resolv.conf");
    let source = |text: &str| {
        std::fs::write(&resolv_conf, text).unwrap();
        Source { servers: None, resolv_conf: resolv_conf.clone(), hosts: None }
    };
    let usual = "# comment\nnameserver 10.96.0.10\nnameserver fe80::1\nsearch a.svc.cluster.local svc.cluster.local\n\
                 options ndots:5 timeout:2 edns0 trust-ad unheard-of\nsortlist 10.0.0.0\n";
    let servers = source(usual).load_servers().unwrap();
    let options = servers.addresses.options();
    assert_eq!((options.ndots, options.timeout), (5, Duration::from_secs(2)));
    for unusable in ["", "search example.com\n", "nameserver none\n"] {
        assert!(source(unusable).load_servers().is_err(), "{unusable:?}");
    }
}

#[test]
fn interleave_families_alternates() {
    let ips = ["1.1.1.1", "1.1.1.2", "1.1.1.3", "2606::1"].map(|ip| ip.parse::<IpAddr>().unwrap());
    let order: Vec<_> = interleave_families(ips.into_iter()).map(|ip| ip.to_string()).collect();
    assert_eq!(order, ["1.1.1.1", "2606::1", "1.1.1.2", "1.1.1.3"]);
}

//! The guard's table, and that no embedding of a refused IPv4 address bypasses it.

use proptest::prelude::*;

use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap_or_else(|_| panic!("{text} is an address"))
}

#[test]
fn check_public_addresses_pass() {
    for text in [
        "1.1.1.1",
        "8.8.8.8",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "169.253.255.255",
        "169.255.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "191.255.255.255",
        "192.0.1.0",
        "192.0.3.0",
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "203.0.112.255",
        "203.0.114.0",
        "223.255.255.255",
        "2606:4700:4700::1111",
        "2a00:1450:4001::200e",
        "2001:200::1",
        "::ffff:8.8.8.8",
        "64:ff9b::808:808",
        "2002:808:808::1",
    ] {
        assert_eq!(Guard::default().check(ip(text)), Ok(()), "{text}");
    }
}

#[test]
fn check_special_addresses_are_refused_with_their_kind() {
    for (text, what) in [
        ("0.0.0.0", "this network"),
        ("0.255.255.255", "this network"),
        ("10.0.0.0", "private"),
        ("10.255.255.255", "private"),
        ("100.64.0.0", "shared"),
        ("100.127.255.255", "shared"),
        ("127.0.0.1", "loopback"),
        ("127.255.255.255", "loopback"),
        ("169.254.0.1", "link-local"),
        ("169.254.169.254", "metadata"),
        ("168.63.129.16", "platform"),
        ("172.16.0.0", "private"),
        ("172.31.255.255", "private"),
        ("192.0.0.0", "IETF"),
        ("192.0.0.255", "IETF"),
        ("192.0.2.1", "documentation"),
        ("192.88.99.1", "6to4 relay"),
        ("192.168.0.0", "private"),
        ("192.168.255.255", "private"),
        ("198.18.0.0", "benchmarking"),
        ("198.19.255.255", "benchmarking"),
        ("198.51.100.1", "documentation"),
        ("203.0.113.1", "documentation"),
        ("224.0.0.1", "multicast"),
        ("239.255.255.255", "multicast"),
        ("240.0.0.1", "reserved"),
        ("255.255.255.254", "reserved"),
        ("255.255.255.255", "broadcast"),
        ("::", "unspecified"),
        ("::1", "loopback"),
        ("::127.0.0.1", "loopback"),
        ("::ffff:127.0.0.1", "loopback"),
        ("::ffff:0:127.0.0.1", "loopback"),
        ("::ffff:169.254.169.254", "metadata"),
        ("64:ff9b::10.0.0.1", "private"),
        ("64:ff9b:1::1.1.1.1", "NAT64"),
        ("2002:7f00:1::", "loopback"),
        ("2001::1", "Teredo"),
        ("2001:0:1:2:3:4:5:6", "Teredo"),
        ("2001:2::1", "IETF"),
        ("2001:10::1", "IETF"),
        ("2001:2f::1", "IETF"),
        ("2001:1ff:ffff::", "IETF"),
        ("2001:db8::1", "documentation"),
        ("3fff::1", "documentation"),
        ("fc00::1", "unique-local"),
        ("fdff:ffff::1", "unique-local"),
        ("fd00:ec2::254", "metadata"),
        ("fe80::1", "link-local"),
        ("febf::1", "link-local"),
        ("fec0::1", "site-local"),
        ("feff::1", "site-local"),
        ("ff02::1", "multicast"),
        ("100::1", "discard"),
        ("100:0:0:1::1", "discard"),
        ("5f00::1", "reserved"),
        ("4000::1", "reserved"),
        ("1::1", "reserved"),
        ("2a00::5efe:10.0.0.1", "ISATAP"),
        ("2a00::200:5efe:10.0.0.1", "ISATAP"),
    ] {
        let refused = Guard::default().check(ip(text)).expect_err(text);
        assert!(refused.what.contains(what), "{text} is {}, not {what}", refused.what);
        assert!(refused.to_string().contains("TIDINGS_ALLOW_TARGETS"), "{refused}");
    }
}

#[test]
fn check_allowed_networks_pass_in_embedded_forms_too() {
    let nets = ["127.0.0.0/8", "fd00::/8", "10.1.0.0/16"];
    let guard = Guard { allow: nets.iter().map(|net| net.parse().unwrap()).collect(), allow_http: false };
    for text in ["127.0.0.1", "::ffff:127.0.0.1", "::ffff:10.1.2.3", "64:ff9b::10.1.2.3", "fd12::1", "8.8.8.8"] {
        assert_eq!(guard.check(ip(text)), Ok(()), "{text}");
    }
    for text in ["10.2.0.1", "::1", "::ffff:10.2.0.1", "fe80::1", "169.254.169.254"] {
        assert!(guard.check(ip(text)).is_err(), "{text}");
    }
}

/// Every form in which an IPv6 address embeds an IPv4 address.
fn embeddings(v4: Ipv4Addr) -> Vec<Ipv6Addr> {
    let [a, b, c, d] = v4.octets();
    let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    vec![
        Ipv6Addr::new(0, 0, 0, 0, 0, 0, high, low),
        v4.to_ipv6_mapped(),
        Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, high, low),
        Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
        Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, high, low),
        Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1),
        Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, !high, !low),
        Ipv6Addr::new(0x2a00, 1, 2, 3, 0, 0x5efe, high, low),
    ]
}

proptest! {
    #[test]
    fn check_embeddings_of_refused_addresses_are_refused(bits in any::<u32>()) {
        let v4 = Ipv4Addr::from(bits);
        let guard = Guard::default();
        if guard.check(v4.into()).is_err() {
            for v6 in embeddings(v4) {
                prop_assert!(guard.check(v6.into()).is_err(), "{v6} embeds {v4}");
            }
        }
    }

    #[test]
    fn check_passed_addresses_are_not_local_for_std(bits in any::<u128>()) {
        let v6 = Ipv6Addr::from(bits);
        if Guard::default().check(v6.into()).is_ok() {
            prop_assert!(!v6.is_loopback() && !v6.is_multicast() && !v6.is_unspecified());
            prop_assert!(!v6.is_unique_local() && !v6.is_unicast_link_local());
        }
    }

    #[test]
    fn check_allowed_address_passes_plain_and_mapped(bits in any::<u32>()) {
        let v4 = Ipv4Addr::from(bits);
        let guard = Guard { allow: vec![IpNet::new(v4.into(), 32).unwrap()], allow_http: false };
        prop_assert!(guard.check(v4.into()).is_ok());
        prop_assert!(guard.check(v4.to_ipv6_mapped().into()).is_ok());
    }
}

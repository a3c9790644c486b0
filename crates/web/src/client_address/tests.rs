//! Forwarding headers, believed and not.

use http::HeaderValue;

use super::*;

const TRUSTED: [&str; 3] = ["10.0.0.0/8", "2001:db8:ffff::/48", "192.0.2.10/32"];

fn origin(peer: &str, headers: &[(&'static str, &str)]) -> (String, Option<bool>) {
    let trusted: Vec<IpNet> = TRUSTED.iter().map(|network| network.parse().unwrap()).collect();
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    }
    let origin = Client::of(peer.parse().unwrap(), &map, &trusted);
    (origin.address.to_string(), origin.is_https)
}

fn address_of(peer: &str, headers: &[(&'static str, &str)]) -> String {
    origin(peer, headers).0
}

#[test]
fn headers_of_a_peer_that_is_no_proxy_are_ignored() {
    let headers = [
        ("x-forwarded-for", "203.0.113.9"),
        ("forwarded", "for=203.0.113.9;proto=https"),
        ("x-forwarded-proto", "https"),
    ];
    assert_eq!(origin("198.51.100.1", &headers), ("198.51.100.1".into(), None));
    assert_eq!(origin("::ffff:198.51.100.1", &headers), ("198.51.100.1".into(), None));
}

#[test]
fn forwarded_for_is_read_from_right_to_left() {
    let cases = [
        // What the client sent itself is left of its address.
        (vec!["1.1.1.1, 203.0.113.9"], "203.0.113.9"),
        (vec!["1.1.1.1, 203.0.113.9, 10.1.1.1"], "203.0.113.9"),
        (vec!["10.9.9.9, 203.0.113.9, 10.1.1.1, 192.0.2.10"], "203.0.113.9"),
        // Headers are joined in order.
        (vec!["1.1.1.1", "203.0.113.9", "10.1.1.1"], "203.0.113.9"),
        // All hops are proxies: the outermost.
        (vec!["10.3.3.3, 10.2.2.2"], "10.3.3.3"),
        // What cannot be read ends the search.
        (vec!["1.1.1.1, unknown"], "10.0.0.1"),
        (vec!["1.1.1.1, nonsense, 10.1.1.1"], "10.1.1.1"),
        (vec![""], "10.0.0.1"),
        (vec![], "10.0.0.1"),
        // Ports and brackets, as some proxies write them.
        (vec!["203.0.113.9:4711"], "203.0.113.9"),
        (vec!["[2001:db8::9]:4711"], "2001:db8::9"),
        (vec!["2001:db8::9"], "2001:db8::9"),
        (vec!["::ffff:203.0.113.9"], "203.0.113.9"),
        (vec!["2001:db8::9, 2001:db8:ffff::1"], "2001:db8::9"),
    ];
    for (values, expected) in cases {
        let headers: Vec<_> = values.iter().map(|value| ("x-forwarded-for", *value)).collect();
        assert_eq!(address_of("10.0.0.1", &headers), expected, "{values:?}");
        assert_eq!(address_of("::ffff:10.0.0.1", &headers), expected, "{values:?}");
    }
}

#[test]
fn standard_header_is_read_from_right_to_left() {
    let cases = [
        ("for=1.1.1.1, for=203.0.113.9;proto=https;by=10.0.0.1", ("203.0.113.9", Some(true))),
        ("for=203.0.113.9;proto=https, for=10.1.1.1;proto=http", ("203.0.113.9", Some(true))),
        ("FOR=\"[2001:db8::9]:4711\";Proto=HTTP", ("2001:db8::9", Some(false))),
        ("for=1.1.1.1, for=\"_hidden\"", ("10.0.0.1", None)),
        ("for=1.1.1.1, for=unknown", ("10.0.0.1", None)),
        ("for=1.1.1.1, proto=https", ("10.0.0.1", Some(true))),
        // A quoted separator separates nothing.
        ("for=203.0.113.9;host=\"a,for=1.1.1.1;b\"", ("203.0.113.9", None)),
    ];
    for (value, (address, is_https)) in cases {
        assert_eq!(origin("10.0.0.1", &[("forwarded", value)]), (address.into(), is_https), "{value}");
    }
}

#[test]
fn headers_that_contradict_each_other_are_not_believed() {
    let both = |x: &str, standard: &str| address_of("10.0.0.1", &[("x-forwarded-for", x), ("forwarded", standard)]);
    assert_eq!(both("203.0.113.9", "for=1.1.1.1"), "10.0.0.1");
    assert_eq!(both("203.0.113.9", "for=203.0.113.9"), "203.0.113.9");
}

#[test]
fn scheme_is_the_one_that_the_nearest_proxy_sent() {
    let scheme =
        |value: &str| origin("10.0.0.1", &[("x-forwarded-for", "203.0.113.9"), ("x-forwarded-proto", value)]).1;
    assert_eq!(scheme("https"), Some(true));
    assert_eq!(scheme("HTTP"), Some(false));
    assert_eq!(scheme("https, http"), Some(false));
    assert_eq!(scheme("ftp"), None);
    assert_eq!(origin("10.0.0.1", &[("x-forwarded-proto", "https")]), ("10.0.0.1".into(), Some(true)));
}

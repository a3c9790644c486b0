//! The table of headers and what they show.

use http::HeaderValue;

use super::*;

#[test]
fn site_of_a_request_follows_from_its_headers() {
    let public = Some("https://tidings.example.com/base");
    let (fetch, origin, host) = ("sec-fetch-site", "origin", "host");
    // (headers, public URL, site)
    type Row = (Vec<(&'static str, &'static str)>, Option<&'static str>, Site);
    let table: Vec<Row> = vec![
        // Sec-Fetch-Site decides where it is sent.
        (vec![(fetch, "same-origin")], None, Site::Same),
        (vec![(fetch, "none")], None, Site::Same),
        (vec![(fetch, "same-site")], None, Site::Other),
        (vec![(fetch, "cross-site")], None, Site::Other),
        (vec![(fetch, "")], None, Site::Other),
        (vec![(fetch, "Same-Origin")], None, Site::Other),
        (vec![(fetch, "same-origin"), (fetch, "cross-site")], None, Site::Other),
        (vec![(fetch, "cross-site"), (origin, "https://tidings.example.com")], public, Site::Other),
        (vec![(fetch, "same-origin"), (origin, "https://evil.example")], public, Site::Same),
        // Else Origin: of the public URL, whatever host a proxy asks for.
        (vec![(origin, "https://tidings.example.com"), (host, "10.0.0.7:8080")], public, Site::Same),
        (vec![(origin, "https://tidings.example.com:443"), (host, "10.0.0.7:8080")], public, Site::Same),
        (vec![(origin, "https://TIDINGS.example.com"), (host, "10.0.0.7:8080")], public, Site::Same),
        (vec![(origin, "http://tidings.example.com"), (host, "10.0.0.7:8080")], public, Site::Other),
        (vec![(origin, "https://tidings.example.com:8443"), (host, "10.0.0.7:8080")], public, Site::Other),
        (vec![(origin, "https://tidings.example.com.evil.example")], public, Site::Other),
        (vec![(origin, "https://evil.tidings.example.com")], public, Site::Other),
        // Or of the host that the request was sent to.
        (vec![(origin, "http://localhost:8080"), (host, "localhost:8080")], None, Site::Same),
        (vec![(origin, "http://[::1]:8080"), (host, "[::1]:8080")], None, Site::Same),
        (vec![(origin, "https://a.example"), (host, "a.example")], None, Site::Same),
        (vec![(origin, "https://a.example"), (host, "a.example:443")], None, Site::Same),
        (vec![(origin, "http://localhost:3000"), (host, "localhost:8080")], None, Site::Other),
        (vec![(origin, "http://localhost:8080")], None, Site::Other),
        (vec![(origin, "http://localhost:8080"), (host, "")], None, Site::Other),
        // Origins that are none.
        (vec![(origin, "null"), (host, "localhost:8080")], None, Site::Other),
        (vec![(origin, ""), (host, "")], None, Site::Other),
        (vec![(origin, "file://"), (host, "localhost")], None, Site::Other),
        (vec![(origin, "http://a.example"), (origin, "http://b.example"), (host, "a.example")], None, Site::Other),
        // Neither.
        (vec![(host, "localhost:8080")], public, Site::Unknown),
        (vec![], public, Site::Unknown),
    ];
    for (headers, public_url, expected) in table {
        let mut map = HeaderMap::new();
        for (name, value) in &headers {
            map.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        assert_eq!(site(&map, public_url), expected, "{headers:?} {public_url:?}");
    }
}

#[test]
fn only_methods_that_change_nothing_are_safe() {
    let safe = [Method::GET, Method::HEAD, Method::OPTIONS];
    let unsafe_ones = [Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
    assert!(safe.iter().all(is_safe) && !unsafe_ones.iter().any(is_safe));
}

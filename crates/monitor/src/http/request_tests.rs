//! What is asked: headers, credentials, and what redirects make of them.

use super::*;

fn probe(method: &str, headers: &[(&str, &str)]) -> HttpProbe {
    HttpProbe {
        method: method.into(),
        headers: headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        body: Some("{}".into()),
        ..HttpProbe::new("https://a.example/")
    }
}

fn draft(method: &str, headers: &[(&str, &str)]) -> Draft {
    Draft::new(&probe(method, headers), "Tidings/1").unwrap()
}

fn headers(draft: &Draft) -> Vec<String> {
    let request = draft.request(&Hop::first("https://a.example:8443/x").unwrap());
    let text = |(name, value): (&HeaderName, &HeaderValue)| format!("{name}: {}", value.to_str().unwrap());
    request.headers().iter().map(text).collect()
}

#[test]
fn own_headers_go_before_ours_except_the_transports() {
    assert_eq!(headers(&draft("GET", &[])), ["host: a.example:8443", "user-agent: Tidings/1", "accept: */*"]);
    let own = [
        ("X-A", "1"),
        ("user-agent", "Mine"),
        ("X-A", "2"),
        ("Accept", "text/html"),
        ("Content-Length", "7"),
        ("transfer-encoding", "chunked"),
        ("Connection", "close"),
        ("Keep-Alive", "1"),
        ("Upgrade", "h2c"),
        ("Accept-Encoding", "br"),
        ("Host", "shop.example"),
    ];
    let expected = ["host: shop.example", "x-a: 1", "x-a: 2", "user-agent: Mine", "accept: text/html"];
    assert_eq!(headers(&draft("GET", &own)), expected);
}

#[test]
fn a_header_cannot_bring_another() {
    for (name, value) in [
        ("X-A", "1\r\nX-B: 2"),
        ("X-A", "1\n2"),
        ("X-A\r\nX-B", "1"),
        ("X A", "1"),
        ("", "1"),
        ("X-A:", "1"),
        ("X-A", "1\0"),
    ] {
        let why = Draft::new(&probe("GET", &[(name, value)]), "Tidings/1").unwrap_err();
        assert!(why.contains("HTTP does not allow"), "{why}");
    }
    for method in ["", "get", "CONNECT", "TRACE", "GET / HTTP/1.1\r\nX: y\r\n\r\n"] {
        assert!(Draft::new(&probe(method, &[]), "Tidings/1").is_err(), "{method}");
    }
    assert!(Draft::new(&probe("GET", &[]), "Tidings\r\nX-B: 2").is_err());
    let (bearer, basic) = (Auth::Bearer, Auth::Basic { username: "a\r\nX-B: 2".into() });
    let why = authorization(&bearer, Some(&Secret::new("hunter2\r\nX-B: 2"))).unwrap_err();
    assert!(!why.contains("hunter2"), "{why}");
    assert!(authorization(&basic, None).is_ok(), "it is encoded");
    assert!(Hop::first("http://a.example/x\r\ny z").unwrap().uri.path() == "/xy%20z");
}

#[test]
fn credentials_are_shown() {
    let basic = Auth::Basic { username: "Aladdin".into() };
    let shown = |auth, secret: Option<&str>| authorization(auth, secret.map(Secret::new).as_ref());
    assert_eq!(shown(&basic, Some("open sesame")).unwrap(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    assert_eq!(shown(&basic, None).unwrap(), "Basic QWxhZGRpbjo=");
    assert_eq!(shown(&Auth::Bearer, Some("abc.def")).unwrap(), "Bearer abc.def");
    assert!(shown(&Auth::Bearer, None).is_err());
    assert!(!format!("{:?}", shown(&Auth::Bearer, Some("abc.def"))).contains("abc"));
}

#[test]
fn redirects_change_what_is_asked_as_browsers_do() {
    let own = [("Content-Type", "application/json"), ("X-A", "1")];
    for (method, status, becomes) in [
        ("POST", 301, "GET"),
        ("POST", 302, "GET"),
        ("POST", 303, "GET"),
        ("POST", 307, "POST"),
        ("POST", 308, "POST"),
        ("PUT", 301, "PUT"),
        ("PUT", 302, "PUT"),
        ("PUT", 303, "GET"),
        ("DELETE", 303, "GET"),
        ("HEAD", 303, "HEAD"),
        ("HEAD", 301, "HEAD"),
        ("GET", 303, "GET"),
    ] {
        let mut draft = draft(method, &own);
        draft.redirect(status, true);
        assert_eq!(draft.method, becomes, "{method} {status}");
        let kept = method == becomes;
        assert_eq!(
            (draft.body.is_empty(), draft.headers.contains_key("content-type")),
            (!kept, kept),
            "{method} {status}"
        );
        assert_eq!(draft.headers["x-a"], "1");
    }
}

#[test]
fn what_is_for_one_origin_stays_there() {
    let own = [("Authorization", "token"), ("Cookie", "a=b"), ("Host", "shop.example"), ("X-A", "1")];
    let mut same = draft("GET", &own);
    same.redirect(302, true);
    assert!(["authorization", "cookie", "host", "x-a"].iter().all(|name| same.headers.contains_key(*name)));
    let mut other = draft("GET", &own);
    other.authorize(HeaderValue::from_static("Bearer x"));
    other.redirect(302, false);
    assert!(["authorization", "cookie", "host"].iter().all(|name| !other.headers.contains_key(*name)));
    assert_eq!(other.headers["x-a"], "1");
    let (http, https) = (Hop::first("http://a.example/").unwrap(), Hop::first("https://a.example/").unwrap());
    assert_ne!(http.origin, https.origin);
    assert_eq!(https.origin, Hop::first("https://A.example:443/other?x").unwrap().origin);
    assert_ne!(https.origin, Hop::first("https://a.example:444/").unwrap().origin);
}

#[test]
fn a_post_without_a_body_says_so() {
    let mut empty = probe("POST", &[]);
    empty.body = None;
    let draft = Draft::new(&empty, "Tidings/1").unwrap();
    assert!(headers(&draft).contains(&"content-length: 0".to_owned()));
}

#[test]
fn urls_are_checked() {
    for (url, words) in [
        ("ftp://a.example", "http:// or https://"),
        ("a.example", "cannot be read"),
        ("https://user:pass@a.example", "user name or password"),
        ("https://a.example:0/", "port 0"),
        ("https://a_b\u{7f}/", "cannot be read"),
    ] {
        let why = Hop::first(url).unwrap_err();
        assert!(why.contains(words), "{url}: {why}");
    }
    assert!(Hop::first(&format!("https://a.example/{}", "x".repeat(2_048))).is_err());
}

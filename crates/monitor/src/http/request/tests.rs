//! Requests: headers, credentials, and how redirects change them.

use super::*;

fn probe(method: &str, headers: &[(&str, &str)]) -> HttpProbe {
    HttpProbe {
        method: method.into(),
        headers: headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect(),
        body: Some("{}".into()),
        ..HttpProbe::new("https://a.example/")
    }
}

fn template(method: &str, headers: &[(&str, &str)]) -> RequestTemplate {
    RequestTemplate::new(&probe(method, headers), "Tidings/1").unwrap()
}

fn headers(template: &RequestTemplate) -> Vec<String> {
    let request = template.build(&Hop::from_endpoint_url("https://a.example:8443/x").unwrap(), None);
    let text = |(name, value): (&HeaderName, &HeaderValue)| format!("{name}: {}", value.to_str().unwrap());
    request.headers().iter().map(text).collect()
}

const CODINGS: &str = "accept-encoding: gzip, deflate";

#[test]
fn build_endpoint_headers_override_defaults_but_not_reserved_ones() {
    assert_eq!(
        headers(&template("GET", &[])),
        ["host: a.example:8443", "user-agent: Tidings/1", "accept: */*", CODINGS]
    );
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
    let expected = ["host: shop.example", "x-a: 1", "x-a: 2", "user-agent: Mine", "accept: text/html", CODINGS];
    assert_eq!(headers(&template("GET", &own)), expected);
}

#[test]
fn template_rejects_header_injection() {
    for (name, value) in [
        ("X-A", "1\r\nX-B: 2"),
        ("X-A", "1\n2"),
        ("X-A\r\nX-B", "1"),
        ("X A", "1"),
        ("", "1"),
        ("X-A:", "1"),
        ("X-A", "1\0"),
    ] {
        let why = RequestTemplate::new(&probe("GET", &[(name, value)]), "Tidings/1").unwrap_err();
        assert!(why.contains("HTTP does not allow"), "{why}");
    }
    for method in ["", "get", "CONNECT", "TRACE", "GET / HTTP/1.1\r\nX: y\r\n\r\n"] {
        assert!(RequestTemplate::new(&probe(method, &[]), "Tidings/1").is_err(), "{method}");
    }
    assert!(RequestTemplate::new(&probe("GET", &[]), "Tidings\r\nX-B: 2").is_err());
    let bearer = Auth::Bearer { token: "hunter2\r\nX-B: 2".into() };
    let basic = Auth::Basic { username: "a\r\nX-B: 2".into(), password: Secret::default() };
    let why = authorization_header(&bearer).unwrap_err();
    assert!(!why.contains("hunter2"), "{why}");
    assert!(authorization_header(&basic).is_ok(), "Base64 makes it harmless");
    assert!(Hop::from_endpoint_url("http://a.example/x\r\ny z").unwrap().uri.path() == "/xy%20z");
}

#[test]
fn authorization_header_formats_basic_and_bearer() {
    let basic = |password: &str| Auth::Basic { username: "Aladdin".into(), password: password.into() };
    let bearer = |token: &str| Auth::Bearer { token: token.into() };
    assert_eq!(authorization_header(&basic("open sesame")).unwrap(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    assert_eq!(authorization_header(&basic("")).unwrap(), "Basic QWxhZGRpbjo=");
    assert_eq!(authorization_header(&bearer("abc.def")).unwrap(), "Bearer abc.def");
    assert!(authorization_header(&bearer("")).is_err());
    assert!(!format!("{:?}", authorization_header(&bearer("abc.def"))).contains("abc"));
}

#[test]
fn apply_redirect_changes_method_and_body_as_browsers_do() {
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
        let mut template = template(method, &own);
        template.apply_redirect(status, true);
        assert_eq!(template.method, becomes, "{method} {status}");
        let kept = method == becomes;
        assert_eq!(
            (template.body.is_empty(), template.headers.contains_key("content-type")),
            (!kept, kept),
            "{method} {status}"
        );
        assert_eq!(template.headers["x-a"], "1");
    }
}

#[test]
fn apply_redirect_other_origin_drops_credentials_cookies_and_host() {
    let own = [("Authorization", "token"), ("Cookie", "a=b"), ("Host", "shop.example"), ("X-A", "1")];
    let mut same = template("GET", &own);
    same.apply_redirect(302, true);
    assert!(["authorization", "cookie", "host", "x-a"].iter().all(|name| same.headers.contains_key(*name)));
    let mut other = template("GET", &own);
    other.authorize(HeaderValue::from_static("Bearer x"));
    other.apply_redirect(302, false);
    assert!(["authorization", "cookie", "host"].iter().all(|name| !other.headers.contains_key(*name)));
    assert_eq!(other.headers["x-a"], "1");
    let (http, https) =
        (Hop::from_endpoint_url("http://a.example/").unwrap(), Hop::from_endpoint_url("https://a.example/").unwrap());
    assert_ne!(http.origin, https.origin);
    assert_eq!(https.origin, Hop::from_endpoint_url("https://A.example:443/other?x").unwrap().origin);
    assert_ne!(https.origin, Hop::from_endpoint_url("https://a.example:444/").unwrap().origin);
}

#[test]
fn build_post_without_body_sends_content_length_zero() {
    let mut empty = probe("POST", &[]);
    empty.body = None;
    let template = RequestTemplate::new(&empty, "Tidings/1").unwrap();
    assert!(headers(&template).contains(&"content-length: 0".to_owned()));
}

#[test]
fn from_endpoint_url_invalid_url_fails() {
    for (url, message) in [
        ("ftp://a.example", "http:// or https://"),
        ("a.example", "the URL is invalid"),
        ("https://user:pass@a.example", "user name or password"),
        ("https://a.example:0/", "port 0"),
        ("https://a_b\u{7f}/", "the URL is invalid"),
    ] {
        let why = Hop::from_endpoint_url(url).unwrap_err();
        assert!(why.contains(message), "{url}: {why}");
    }
    assert!(Hop::from_endpoint_url(&format!("https://a.example/{}", "x".repeat(2_048))).is_err());
}

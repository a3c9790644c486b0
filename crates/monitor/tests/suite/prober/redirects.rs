//! Redirects: limits, credentials and the guard.

use tidings_channels::egress::Guard;
use tidings_domain::check::FailureClass;
use tidings_domain::endpoint::{Auth, HttpProbe, Probe};
use tidings_domain::secret::Secret;
use tokio::io::AsyncWriteExt;

use crate::support::{
    FakeDns, LONG, OK, Server, assert_failed, get, header, http_answer, observe_http, observe_within, prober,
    prober_with, read_request,
};

/// A server that answers every request with a redirect to `location`.
async fn redirecting(status: &str, location: &str) -> Server {
    Server::answering(format!("HTTP/1.1 {status} Elsewhere\r\nlocation: {location}\r\ncontent-length: 3\r\n\r\nbye"))
        .await
}

#[tokio::test]
async fn redirects_are_followed_only_if_enabled() {
    let there = Server::answering(OK).await;
    for status in ["301", "302", "303", "307", "308"] {
        let here = redirecting(status, &format!("http://{}/there", there.address)).await;
        let followed = http_answer(&observe_http(&prober(), &get(here.url())).await);
        assert_eq!((followed.status, followed.text().as_str()), (200, "ok"));
        let probe = HttpProbe { follow_redirects: false, ..get(here.url()) };
        let stayed = http_answer(&observe_http(&prober(), &probe).await);
        assert_eq!((stayed.status.to_string().as_str(), stayed.text().as_str()), (status, "bye"));
    }
    assert!(there.heads().iter().all(|head| head.starts_with("GET /there HTTP/1.1\r\n")));
    for answer in
        ["HTTP/1.1 302 Found\r\ncontent-length: 0\r\n\r\n", "HTTP/1.1 304 Not Modified\r\nlocation: /x\r\n\r\n"]
    {
        let nowhere = Server::answering(answer).await;
        assert!(http_answer(&observe_http(&prober(), &get(nowhere.url())).await).status < 305, "not a redirect");
        assert_eq!(nowhere.requests.lock().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn sixth_redirect_fails() {
    for (last, reached) in [(5, true), (6, false)] {
        let server = Server::start(move |mut stream, _, log| async move {
            while let Some(request) = read_request(&mut stream).await? {
                let number: usize = request.0.split(['/', ' ']).nth(2).and_then(|n| n.parse().ok()).unwrap_or(0);
                log.lock().unwrap().push(request);
                let answer = match number == last {
                    true => OK.to_owned(),
                    false => format!("HTTP/1.1 302 Found\r\nlocation: /{}\r\ncontent-length: 0\r\n\r\n", number + 1),
                };
                stream.write_all(answer.as_bytes()).await?;
            }
            Ok(())
        })
        .await;
        let observation = observe_http(&prober(), &get(format!("http://{}/0", server.address))).await;
        match reached {
            true => assert_eq!(http_answer(&observation).status, 200),
            false => assert_failed(&observation, FailureClass::Redirect, "more than 5 redirects"),
        }
        assert_eq!(server.requests.lock().unwrap().len(), 6);
        assert_eq!(server.connections(), server.requests.lock().unwrap().len(), "none is reused after a redirect");
    }
    let looping = redirecting("301", "/health").await;
    assert_failed(&observe_http(&prober(), &get(looping.url())).await, FailureClass::Redirect, "more than 5 redirects");
}

#[tokio::test]
async fn credentials_are_not_sent_to_another_origin() {
    let there = Server::answering(OK).await;
    let same = Server::start(|mut stream, _, log| async move {
        let Some(request) = read_request(&mut stream).await? else { return Ok(()) };
        let is_first = request.0.starts_with("GET /health");
        log.lock().unwrap().push(request);
        let redirect = "HTTP/1.1 302 Found\r\nlocation: /again\r\ncontent-length: 0\r\n\r\n";
        stream.write_all(if is_first { redirect } else { OK }.as_bytes()).await
    })
    .await;
    let other = redirecting("302", &format!("http://{}/", there.address)).await;
    for (auth, value) in
        [(Some(Auth::Bearer { token: "hunter2-hunter2".into() }), "Bearer hunter2-hunter2"), (None, "own")]
    {
        let headers = [("Authorization", "own"), ("Cookie", "a=b"), ("X-Own", "1"), ("Host", "shop.example")];
        let headers = headers.map(|(name, value)| (name.to_owned(), Secret::new(value))).to_vec();
        for first in [&same, &other] {
            let probe = HttpProbe { auth: auth.clone(), headers: headers.clone(), ..get(first.url()) };
            let observation = observe_within(&prober(), &Probe::Http(probe), LONG).await;
            assert_eq!(http_answer(&observation).status, 200);
        }
        for head in same.heads().iter().chain(&other.heads()) {
            let shown = ["authorization", "cookie", "x-own", "host"].map(|name| header(head, name));
            assert_eq!(shown, [Some(value), Some("a=b"), Some("1"), Some("shop.example")]);
        }
        for head in there.heads() {
            let shown = ["authorization", "cookie", "x-own"].map(|name| header(&head, name));
            assert_eq!(shown, [None, None, Some("1")]);
            assert_eq!(header(&head, "host"), Some(&*there.address.to_string()));
        }
        assert_eq!((same.heads().len(), other.heads().len(), there.heads().len()), (2, 1, 1));
        [&same, &other, &there].iter().for_each(|server| server.requests.lock().unwrap().clear());
    }
}

#[tokio::test]
async fn post_becomes_get_where_browsers_change_it() {
    for (status, method, body) in [("302", "GET", ""), ("303", "GET", ""), ("307", "POST", "{}"), ("308", "POST", "{}")]
    {
        let there = Server::answering(OK).await;
        let here = redirecting(status, &format!("http://{}/there", there.address)).await;
        let headers = vec![("Content-Type".to_owned(), "application/json".into())];
        let probe = HttpProbe { method: "POST".into(), body: Some("{}".into()), headers, ..get(here.url()) };
        assert_eq!(http_answer(&observe_http(&prober(), &probe).await).status, 200);
        let (head, sent) = there.requests.lock().unwrap()[0].clone();
        assert!(head.starts_with(&format!("{method} /there ")), "{status}: {head}");
        assert_eq!(String::from_utf8_lossy(&sent), body);
        assert_eq!(header(&head, "content-type").is_some(), method == "POST");
    }
}

#[tokio::test]
async fn redirect_to_a_blocked_address_fails() {
    let names = || FakeDns::with_records(&[("inside.example", &["10.0.0.1"])]);
    let guard = || Guard { allow: vec!["127.0.0.1/32".parse().unwrap()], allow_http: false };
    for location in [
        "http://169.254.169.254/latest?token=x",
        "http://0x7f.0.0.2/",
        "http://[::1]/",
        "http://inside.example/",
        "//10.1/",
    ] {
        let server = redirecting("302", location).await;
        let observation =
            observe_http(&prober_with(guard(), names(), rustls::RootCertStore::empty()), &get(server.url())).await;
        assert_failed(&observation, FailureClass::Forbidden, "TIDINGS_ALLOW_WATCH_TARGETS");
        assert_failed(&observation, FailureClass::Forbidden, "after a redirect: ");
        assert!(!format!("{:?}", observation.outcome).contains("latest"));
    }
}

#[tokio::test]
async fn unusable_location_fails_with_the_reason() {
    for location in ["ftp://127.0.0.1/", "http://", "https://127.0.0.1:0/", "javascript:alert(1)"] {
        let server = redirecting("301", location).await;
        let observation = observe_http(&prober(), &get(server.url())).await;
        assert_failed(&observation, FailureClass::Redirect, &format!("{} redirects to", server.address));
    }
    let refusing = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let server = redirecting("301", &format!("http://{refusing}/")).await;
    let words = format!("after a redirect: connection refused by {refusing}");
    assert_failed(&observe_http(&prober(), &get(server.url())).await, FailureClass::Refused, &words);
}

#[tokio::test]
async fn cookies_of_a_redirect_are_sent_within_the_check_and_only_to_their_host() {
    let there = Server::answering(OK).await;
    let to_there = format!("http://localhost:{}/there", there.address.port());
    let server = Server::start(move |mut stream, _, log| {
        let to_there = to_there.clone();
        async move {
            while let Some(request) = read_request(&mut stream).await? {
                let has_session = header(&request.0, "cookie").is_some_and(|cookies| cookies.contains("session=1"));
                log.lock().unwrap().push(request);
                // As sign-in pages do: without the cookie it would redirect for ever.
                let location = if has_session { &to_there } else { "/health" };
                let answer = format!(
                    "HTTP/1.1 302 Found\r\nset-cookie: session=1; Path=/; HttpOnly\r\nset-cookie: gone=1; Max-Age=0\r\n\
                     location: {location}\r\ncontent-length: 0\r\n\r\n"
                );
                stream.write_all(answer.as_bytes()).await?;
            }
            Ok(())
        }
    })
    .await;
    let names = FakeDns::with_records(&[("localhost", &["127.0.0.1"])]);
    let prober = prober_with(crate::support::loopback_guard(), names, rustls::RootCertStore::empty());
    for own in [None, Some("own=2")] {
        let headers = own.map(|own| ("Cookie".to_owned(), Secret::new(own))).into_iter().collect();
        let probe = HttpProbe { headers, ..get(server.url()) };
        assert_eq!(http_answer(&observe_http(&prober, &probe).await).status, 200);
        let sent: Vec<_> = server.heads().iter().map(|head| header(head, "cookie").map(str::to_owned)).collect();
        let joined = own.map_or("session=1".to_owned(), |own| format!("{own}; session=1"));
        assert_eq!(sent, [own.map(str::to_owned), Some(joined)], "forgotten after the check");
        assert_eq!(header(&there.heads()[0], "cookie"), None, "not sent to another host");
        [&server, &there].iter().for_each(|server| server.requests.lock().unwrap().clear());
    }
}

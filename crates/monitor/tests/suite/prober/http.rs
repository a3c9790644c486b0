//! Requests and responses, against a well-behaved server (hyper's).

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tidings_domain::check::{BodyFault, FailureClass, JSON_BYTES_MAX};
use tidings_domain::endpoint::{Auth, HttpProbe, Probe};
use tidings_domain::secret::Secret;
use tokio::net::TcpListener;

use crate::support::{
    AGENT, LONG, NOW, OK, Server, assert_failed, get, header, http_answer, observe, observe_http, observe_within,
    prober,
};

/// Responds with the request as text.
async fn echo(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let mut text = format!("{} {}\n", head.method, head.uri);
    for (name, value) in &head.headers {
        text.push_str(&format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes())));
    }
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    text.push_str(&format!("\n{}", String::from_utf8_lossy(&body)));
    Ok(Response::builder().header("X-Request-Line", text.lines().next().unwrap()).body(Full::from(text)).unwrap())
}

async fn echo_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let served =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(echo));
            tokio::spawn(served);
        }
    });
    address
}

#[tokio::test]
async fn request_has_method_headers_and_body_of_the_endpoint() {
    let (prober, address) = (prober(), echo_server().await);
    for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
        for body in [None, Some("{\"grüezi\": 1}")] {
            let probe = HttpProbe {
                method: method.into(),
                headers: [("X-Own", "1"), ("x-own", "zwölf"), ("Content-Type", "application/json")]
                    .map(|(name, value)| (name.to_owned(), Secret::new(value)))
                    .into(),
                body: body.map(Secret::new),
                ..get(format!("http://{address}/a%20b?c=d#e"))
            };
            let page = http_answer(&observe_http(&prober, &probe).await);
            assert_eq!(page.status, 200);
            let request_line =
                page.headers.iter().find(|(name, _)| name == "x-request-line").map(|(_, value)| value.as_str());
            assert_eq!(request_line, Some(&*format!("{method} /a%20b?c=d")));
            if method == "HEAD" {
                assert!(page.body.text.is_empty() && page.body.is_complete);
                continue;
            }
            let text = page.text();
            for line in [&*format!("host: {address}"), "x-own: 1", "x-own: zwölf", &*format!("user-agent: {AGENT}")] {
                assert!(text.contains(&format!("\n{line}\n")), "{line} in {text}");
            }
            assert!(text.ends_with(&format!("\n\n{}", body.unwrap_or_default())), "{text}");
            let length = header(&text, "content-length");
            let expected = match body {
                Some(body) => Some(body.len().to_string()),
                None => ["POST", "PUT", "PATCH"].contains(&method).then(|| "0".to_owned()),
            };
            assert_eq!(length.map(str::to_owned), expected, "{method}");
            assert_eq!(header(&text, "accept-encoding"), Some("gzip, deflate"));
            assert!(!text.contains("transfer-encoding"), "{text}");
        }
    }
}

#[tokio::test]
async fn credentials_are_sent_and_masked_in_the_answer() {
    let (prober, address) = (prober(), echo_server().await);
    let secret = || Secret::new("hunter2-hunter2");
    for (auth, masked) in [
        (Auth::Basic { username: "ops".into(), password: secret() }, "authorization: Basic •••"),
        (Auth::Bearer { token: secret() }, "authorization: Bearer •••"),
    ] {
        let probe = Probe::Http(HttpProbe { auth: Some(auth), ..get(format!("http://{address}/")) });
        let observation = observe_within(&prober, &probe, LONG).await;
        let text = http_answer(&observation).text();
        assert!(text.contains(masked), "sent, and masked where the server echoes it: {text}");
        assert!(!format!("{observation:?}").contains("hunter2"));
    }
    let probe = Probe::Http(HttpProbe {
        auth: Some(Auth::Bearer { token: Secret::default() }),
        ..get(format!("http://{address}/"))
    });
    assert_failed(&observe(&prober, &probe).await, FailureClass::Protocol, "its token is missing");
}

#[tokio::test]
async fn basic_auth_sends_the_authorization_header() {
    let server = Server::answering(OK).await;
    let auth = Auth::Basic { username: "Aladdin".into(), password: "open sesame".into() };
    observe_http(&prober(), &HttpProbe { auth: Some(auth), ..get(server.url()) }).await;
    assert_eq!(header(&server.heads()[0], "authorization"), Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="));
}

#[tokio::test]
async fn response_is_returned_unchanged() {
    let mut bytes = b"HTTP/1.1 503 Unavailable\r\nX-B: 1\r\nx-a: 2\r\nX-B: 3\r\nX-Text: z\xc3\xbcrich\r\n\
                      X-Bytes: \xff\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n"
        .to_vec();
    bytes.extend([0x1f, 0x8b, 0, 0xff]);
    let server = Server::answering(bytes).await;
    let observation = observe_http(&prober(), &get(server.url())).await;
    let page = http_answer(&observation);
    assert_eq!((page.status, page.body.fault), (503, Some(BodyFault::Malformed("gzip".into()))));
    let headers: Vec<_> = page.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    let expected =
        ["x-b: 1", "x-b: 3", "x-a: 2", "x-text: zürich", "x-bytes: ÿ", "content-encoding: gzip", "content-length: 4"];
    assert_eq!(headers, expected);
    assert_eq!(observation.started_at, NOW);
    let timings = observation.timings;
    assert_eq!((timings.dns_ms, timings.tls_ms), (None, None), "neither name nor TLS");
    let (connect, first_byte) = (timings.connect_ms.unwrap(), timings.first_byte_ms.unwrap());
    assert!(connect + first_byte <= timings.total_ms);
}

#[tokio::test]
async fn timings_separate_first_byte_from_total() {
    let server = Server::start(|mut stream, _, _| async move {
        use tokio::io::AsyncWriteExt;
        crate::support::read_request(&mut stream).await?;
        tokio::time::sleep(std::time::Duration::from_millis(150)).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n").await?;
        tokio::time::sleep(std::time::Duration::from_millis(150)).await;
        stream.write_all(b"ok").await
    })
    .await;
    let timings = observe_http(&prober(), &get(server.url())).await.timings;
    let first_byte = timings.first_byte_ms.unwrap();
    assert!(first_byte >= 150 && timings.total_ms >= 300 && first_byte <= timings.total_ms, "{timings:?}");
}

#[tokio::test]
async fn response_without_body_is_complete_at_once() {
    let prober = prober();
    for (method, answer) in [
        ("HEAD", "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n"),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", "HTTP/1.1 304 Not Modified\r\ncontent-length: 1000\r\n\r\n"),
        ("GET", "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
    ] {
        let server = Server::answering(answer).await;
        let probe = HttpProbe { method: method.into(), ..get(server.url()) };
        for _ in 0..2 {
            let page = http_answer(&observe_http(&prober, &probe).await);
            assert!(page.body.text.is_empty() && page.body.is_complete && page.status != 103, "{answer}");
        }
        let is_reused = !answer.contains("304");
        assert_eq!(server.connections(), if is_reused { 1 } else { 2 }, "{answer}: reused after 2xx only");
    }
}

#[tokio::test]
async fn invalid_headers_are_tolerated_as_browsers_do() {
    let answer = "HTTP/1.1 200 OK\r\nX-Folded: a\r\n  b\r\nno colon at all\r\nX-Kept: 1\r\ncontent-length: 2\r\n\r\nok";
    let server = Server::answering(answer).await;
    let page = http_answer(&observe_http(&prober(), &get(server.url())).await);
    assert_eq!((page.status, page.text().as_str()), (200, "ok"));
    assert!(page.headers.contains(&("x-kept".into(), "1".into())), "{:?}", page.headers);
}

#[tokio::test]
async fn body_of_exactly_the_cap_is_whole() {
    let prober = prober();
    for (over, is_complete) in [(0, true), (1, false)] {
        let length = JSON_BYTES_MAX + over;
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
        let server = Server::answering([head.as_bytes(), &vec![b'x'; length]].concat()).await;
        let page = http_answer(&observe_http(&prober, &get(server.url())).await);
        assert_eq!((page.body.text.len(), page.body.is_complete), (JSON_BYTES_MAX, is_complete));
    }
}

#[tokio::test]
async fn invalid_endpoint_fails_with_the_reason() {
    let prober = prober();
    for (probe, words) in [
        (get("ftp://127.0.0.1/"), "http:// or https://"),
        (get("http://user:t0psecret@127.0.0.1/"), "user name or password"),
        (HttpProbe { method: "CONNECT".into(), ..get("http://127.0.0.1/") }, "the method must be"),
        (HttpProbe { headers: vec![("X".into(), "a\r\nb".into())], ..get("http://127.0.0.1/") }, "HTTP does not allow"),
    ] {
        assert!(prober.check(&Probe::Http(probe.clone())).is_err_and(|why| why.contains(words)));
        assert_failed(&observe_http(&prober, &probe).await, FailureClass::Protocol, words);
    }
}

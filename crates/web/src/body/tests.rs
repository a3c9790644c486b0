//! Bodies in chunks, too large, packed and marked.

use std::io;

use futures_util::stream;

use super::*;

async fn read_chunks(chunks: Vec<io::Result<&'static [u8]>>) -> Result<Bytes, Code> {
    let body = HttpBody::from_stream(stream::iter(chunks));
    read(Request::new(body), BODY_BYTES_MAX).await.map_err(|problem| problem.code())
}

#[tokio::test]
async fn body_in_any_number_of_chunks_is_complete() {
    assert_eq!(read_chunks(vec![]).await.unwrap(), "");
    assert_eq!(read_chunks(vec![Ok(b"all")]).await.unwrap(), "all");
    assert_eq!(read_chunks(vec![Ok(b"one "), Ok(b""), Ok(b"two "), Ok(b"three")]).await.unwrap(), "one two three");
    assert_eq!(read(Request::new(HttpBody::from("all")), BODY_BYTES_MAX).await.unwrap(), "all");
}

#[tokio::test]
async fn broken_or_too_large_body_is_a_problem() {
    const HALF: &[u8] = &[b' '; BODY_BYTES_MAX / 2];
    assert_eq!(read_chunks(vec![Ok(HALF), Ok(HALF)]).await.unwrap().len(), BODY_BYTES_MAX);
    assert_eq!(read_chunks(vec![Ok(HALF), Ok(HALF), Ok(b" ")]).await, Err(Code::TooLarge));
    let broken = io::Error::from(io::ErrorKind::ConnectionReset);
    assert_eq!(read_chunks(vec![Ok(b"one "), Err(broken)]).await, Err(Code::RequestTimeout));
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

async fn read_coded(coding: &'static str, bytes: Vec<u8>) -> Result<Bytes, Code> {
    let request = Request::builder().header(CONTENT_ENCODING, coding).body(HttpBody::from(bytes)).unwrap();
    read(request, BODY_BYTES_MAX).await.map_err(|problem| problem.code())
}

#[tokio::test]
async fn packed_body_is_unpacked_within_the_bound() {
    for coding in ["gzip", "x-gzip", "GZIP", "identity, gzip", ""] {
        let body = if coding.is_empty() { b"{}".to_vec() } else { gzip(b"{}") };
        assert_eq!(read_coded(coding, body).await.unwrap(), "{}", "{coding}");
    }
    // Noise, so that the packed form is large as well.
    let large: Vec<u8> = (0..200_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()).collect();
    assert_eq!(read_coded("gzip", gzip(&large)).await.unwrap(), large);
    let full = vec![b' '; BODY_BYTES_MAX];
    assert_eq!(read_coded("gzip", gzip(&full)).await.unwrap().len(), BODY_BYTES_MAX);
    let bomb = gzip(&vec![b' '; 64 * BODY_BYTES_MAX]);
    assert!(bomb.len() < BODY_BYTES_MAX);
    assert_eq!(read_coded("gzip", bomb).await, Err(Code::TooLarge));
    let parts = [gzip(b"{"), gzip(b"}")].concat();
    assert_eq!(read_coded("gzip", parts).await.unwrap(), "{}", "several members are one body");
}

#[tokio::test]
async fn other_content_coding_is_a_problem() {
    for coding in ["br", "deflate", "zstd", "gzip, gzip", "gzip, br"] {
        assert_eq!(read_coded(coding, gzip(b"{}")).await, Err(Code::UnsupportedEncoding), "{coding}");
    }
    assert_eq!(read_coded("gzip", b"{}".to_vec()).await, Err(Code::InvalidEncoding));
    let cut = gzip(b"{\"a\": 1}");
    assert_eq!(read_coded("gzip", cut[..cut.len() - 4].to_vec()).await, Err(Code::InvalidEncoding));
}

#[tokio::test]
async fn byte_order_mark_is_skipped() {
    assert_eq!(read_chunks(vec![Ok(b"\xef\xbb\xbf{}")]).await.unwrap(), "{}");
    assert_eq!(read_chunks(vec![Ok(b"\xef\xbb"), Ok(b"\xbf{}")]).await.unwrap(), "{}");
}

#[tokio::test]
async fn poll_twice_returns_after_the_second_poll() {
    for (pending_polls, is_ready) in [(0, true), (1, true), (2, false)] {
        let mut left = pending_polls;
        let mut future = std::future::poll_fn(|_| {
            let is_last = left == 0;
            left -= i32::from(!is_last);
            if is_last { Poll::Ready(()) } else { Poll::Pending }
        });
        assert_eq!(poll_twice(Pin::new(&mut future)).await.is_ready(), is_ready, "{pending_polls}");
    }
}

#[test]
fn content_type_is_matched_in_any_case_and_with_parameters() {
    let read = |value: &'static str| {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, http::HeaderValue::from_static(value))]);
        body_format(&headers).ok()
    };
    for json in ["", "application/json", "Application/JSON; charset=utf-8", "text/json", "application/x.y+Json"] {
        assert_eq!(read(json), Some(BodyFormat::Json), "{json}");
    }
    assert_eq!(read("application/X-NDJSON;x"), Some(BodyFormat::Lines));
    for other in ["text/plain", "json", "application/json-seq", "application/+jsonx"] {
        assert_eq!(read(other), None, "{other}");
    }
}

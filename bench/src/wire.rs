//! A minimal HTTP/1.1 parser: messages with a `content-length` on keep-alive connections, between our own programs.

use memchr::memchr;

/// The largest head in bytes. All heads are our own or the server's, and smaller.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Bytes that this parser does not support.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unsupported HTTP message: {0}")]
pub struct Malformed(&'static str);

/// A request, borrowed from the received bytes.
#[derive(Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// `GET`, `POST`, …
    pub method: &'a [u8],
    /// Path and query.
    pub target: &'a [u8],
    /// The value of the header `webhook-id`.
    pub webhook_id: Option<&'a [u8]>,
    /// All of the body.
    pub body: &'a [u8],
    /// Length of head and body in bytes.
    pub length: usize,
}

/// A response, borrowed from the received bytes.
#[derive(Debug, PartialEq, Eq)]
pub struct Response<'a> {
    /// Such as 202.
    pub status: u16,
    /// All of the body.
    pub body: &'a [u8],
    /// Length of head and body in bytes.
    pub length: usize,
}

/// The first request in `bytes`; `None` if it is incomplete.
pub fn request(bytes: &[u8]) -> Result<Option<Request<'_>>, Malformed> {
    let Some(Message { first, webhook_id, body, length }) = message(bytes)? else { return Ok(None) };
    let mut words = first.split(|byte| *byte == b' ');
    match (words.next(), words.next()) {
        (Some(method), Some(target)) => Ok(Some(Request { method, target, webhook_id, body, length })),
        _ => Err(Malformed("no target in the first line")),
    }
}

/// The first response in `bytes`; `None` if it is incomplete.
pub fn response(bytes: &[u8]) -> Result<Option<Response<'_>>, Malformed> {
    let Some(Message { first, body, length, .. }) = message(bytes)? else { return Ok(None) };
    let status = match first {
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', _, b' ', digits @ ..] => digits.get(..3).and_then(number),
        _ => None,
    };
    let status =
        status.and_then(|status| u16::try_from(status).ok()).ok_or(Malformed("no status in the first line"))?;
    Ok(Some(Response { status, body, length }))
}

struct Message<'a> {
    first: &'a [u8],
    webhook_id: Option<&'a [u8]>,
    body: &'a [u8],
    length: usize,
}

fn message(bytes: &[u8]) -> Result<Option<Message<'_>>, Malformed> {
    let (mut first, mut body_length, mut webhook_id) = (None, 0, None);
    let mut at = 0;
    loop {
        let Some(length) = memchr(b'\n', &bytes[at..]) else {
            let is_endless = bytes.len() > HEAD_BYTES_MAX;
            return if is_endless { Err(Malformed("the head has no end")) } else { Ok(None) };
        };
        let line = &bytes[at..at + length];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        at += length + 1;
        if first.is_none() {
            first = Some(line);
        } else if line.is_empty() {
            break;
        } else if let Some(value) = value(line, b"content-length") {
            body_length = number(value).ok_or(Malformed("the content-length is no number"))?;
        } else if let Some(value) = value(line, b"webhook-id") {
            webhook_id = Some(value);
        } else if value(line, b"transfer-encoding").is_some() {
            return Err(Malformed("it has a transfer-encoding"));
        }
    }
    let length = at.checked_add(body_length).ok_or(Malformed("the content-length is too large"))?;
    Ok(bytes.get(at..length).map(|body| Message { first: first.unwrap_or_default(), webhook_id, body, length }))
}

/// The value in a header line, if it is this header's.
fn value<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let is_it = line.get(name.len()) == Some(&b':') && line[..name.len()].eq_ignore_ascii_case(name);
    is_it.then(|| line[name.len() + 1..].trim_ascii())
}

fn number(digits: &[u8]) -> Option<usize> {
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    is_number.then(|| str::from_utf8(digits).ok()?.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const POST: &[u8] = b"POST /ok/a HTTP/1.1\r\nHost: x\r\nWebhook-Id: dlv_1\r\nContent-Length: 2\r\n\r\nhiGET /";

    #[test]
    fn request_ends_before_the_next_one() {
        let request = request(POST).unwrap().unwrap();
        assert_eq!((request.method, request.target), (b"POST".as_slice(), b"/ok/a".as_slice()));
        assert_eq!((request.webhook_id, request.body), (Some(b"dlv_1".as_slice()), b"hi".as_slice()));
        assert_eq!(&POST[request.length..], b"GET /");
    }

    #[test]
    fn request_incomplete_bytes_return_none() {
        let whole = request(POST).unwrap().unwrap().length;
        assert!((0..whole).all(|length| request(&POST[..length]) == Ok(None)));
    }

    #[test]
    fn response_returns_status_and_body() {
        let bytes = b"HTTP/1.1 202 Accepted\r\ncontent-length: 3\r\n\r\nyes";
        assert_eq!(response(bytes), Ok(Some(Response { status: 202, body: b"yes", length: bytes.len() })));
        assert_eq!(response(b"HTTP/1.1 204\r\n\r\n").unwrap().unwrap().status, 204);
    }

    #[test]
    fn response_unsupported_message_fails() {
        for bytes in [
            "HTTP/1.1 OK\r\n\r\n",
            "SSH-2.0\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 18446744073709551615\r\n\r\n",
        ] {
            assert!(response(bytes.as_bytes()).is_err(), "{bytes}");
        }
        assert!(request(b"GET\r\n\r\n").is_err());
        assert!(request(&[b'a'; HEAD_BYTES_MAX + 1]).is_err());
    }
}

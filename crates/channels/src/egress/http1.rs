//! HTTP/1.1 as servers speak it in practice: the leniencies and limits of every connection, of channels and probes alike, and
//! the status line of a response that hyper cannot parse.
//!
//! A receiver that answered `200` has taken the request. That its header lines are odd, or too many, is no reason to send it
//! again.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::task::{Context, Poll, ready};

use http::StatusCode;
use hyper::client::conn::http1::Builder;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Limit for a response's head, in bytes.
pub const HEAD_BYTES_MAX: usize = 256 * 1_024;
/// Limit for the header lines of a response. hyper allocates space for all of them with each response, so that 500 would cost
/// a busy connection twice the 0.5 µs that these do.
pub const HEADERS_MAX: usize = 300;
/// Limit for a connection's read buffer: a head and the beginning of the body.
const BUFFER_BYTES_MAX: usize = HEAD_BYTES_MAX + 64 * 1_024;

/// hyper's settings for a connection: as lenient as browsers about header lines.
pub fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.max_headers(HEADERS_MAX).max_header_size(HEAD_BYTES_MAX).max_buf_size(BUFFER_BYTES_MAX);
    builder.allow_spaces_after_header_name_in_responses(true);
    builder.allow_obsolete_multiline_headers_in_responses(true);
    builder.ignore_invalid_headers_in_responses(true);
    // Requests are short: one copy is cheaper than a vectored write.
    builder.writev(false);
    builder
}

/// No status line was read yet.
const PENDING: u16 = 0;
/// What was read is no status line.
const NONE: u16 = 1;

/// The status of the response that a [`Watched`] connection is reading.
#[derive(Debug, Clone, Default)]
pub struct SeenStatus(Arc<AtomicU16>);

impl SeenStatus {
    /// Starts to look for the next response's status line. Called before its request is sent.
    pub fn reset(&self) {
        self.0.store(PENDING, Ordering::Relaxed);
    }

    /// The final (not 1xx) status of the response, if so much of it has arrived.
    pub fn get(&self) -> Option<StatusCode> {
        StatusCode::from_u16(self.0.load(Ordering::Relaxed)).ok()
    }
}

/// A connection that remembers the status line of each response that is read from it.
pub struct Watched<S> {
    stream: S,
    seen: SeenStatus,
    scanner: Scanner,
}

impl<S> Watched<S> {
    /// Watches a connection on which no response has begun.
    pub fn new(stream: S) -> Self {
        Self { stream, seen: SeenStatus::default(), scanner: Scanner::default() }
    }

    /// The status, also after the connection has moved to hyper.
    pub fn seen(&self) -> SeenStatus {
        self.seen.clone()
    }

    /// The connection itself.
    pub fn into_inner(self) -> S {
        self.stream
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        if this.seen.0.load(Ordering::Relaxed) == PENDING
            && let Some(status) = this.scanner.scan(&buf.filled()[before..])
        {
            this.scanner = Scanner::default();
            this.seen.0.store(status, Ordering::Relaxed);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

/// `HTTP/1.1 200 ` has 13 bytes; three more for odd spacing.
const LINE_BYTES_MAX: usize = 16;

/// Finds the final status line in the bytes of a response, over any number of reads.
#[derive(Debug, Default)]
struct Scanner {
    line: [u8; LINE_BYTES_MAX],
    line_bytes: usize,
    /// Within the head of an informational response, which a final one follows: whether the line so far is empty.
    informational: Option<bool>,
}

impl Scanner {
    /// The status, or [`NONE`], once that is known.
    fn scan(&mut self, bytes: &[u8]) -> Option<u16> {
        for &byte in bytes {
            if let Some(is_empty) = self.informational {
                self.informational = match byte {
                    b'\n' if is_empty => None,
                    b'\n' => Some(true),
                    b'\r' => Some(is_empty),
                    _ => Some(false),
                };
                continue;
            }
            if self.line_bytes == 0 && matches!(byte, b'\r' | b'\n') {
                continue;
            }
            self.line[self.line_bytes] = byte;
            self.line_bytes += 1;
            match parse_status(&self.line[..self.line_bytes]) {
                // What follows 101 is no HTTP.
                Some(100 | 102..200) => {
                    self.line_bytes = 0;
                    self.informational = Some(byte == b'\n');
                }
                Some(status) => return Some(status),
                None if byte == b'\n' || self.line_bytes == LINE_BYTES_MAX => return Some(NONE),
                None => {}
            }
        }
        None
    }
}

/// The status of a line that begins with `HTTP/`, a version, blanks, three digits and something else.
fn parse_status(line: &[u8]) -> Option<u16> {
    // `HTTP/2 200 ` is the shortest.
    let (scheme, rest) = line.split_at_checked(5).filter(|_| line.len() >= 11)?;
    if !scheme.eq_ignore_ascii_case(b"HTTP/") {
        return None;
    }
    let version_bytes = rest.iter().position(|byte| !byte.is_ascii_digit() && *byte != b'.').filter(|at| *at > 0)?;
    let rest = &rest[version_bytes..];
    let blanks = rest.iter().position(|byte| !matches!(byte, b' ' | b'\t')).filter(|at| *at > 0)?;
    let (digits, after) = rest[blanks..].split_at_checked(3)?;
    if !digits.iter().all(u8::is_ascii_digit) || after.first().is_none_or(u8::is_ascii_digit) {
        return None;
    }
    let status = digits.iter().fold(0, |number, digit| number * 10 + u16::from(digit - b'0'));
    (100..600).contains(&status).then_some(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The status, and whether it is the same however the bytes arrive.
    fn scan(bytes: &[u8]) -> Option<u16> {
        let whole = Scanner::default().scan(bytes);
        let mut scanner = Scanner::default();
        assert_eq!(bytes.iter().find_map(|byte| scanner.scan(&[*byte])), whole, "byte by byte");
        whole
    }

    #[test]
    fn scan_finds_the_final_status_of_odd_responses() {
        for (bytes, status) in [
            (&b"HTTP/1.1 200 OK\r\n"[..], Some(200)),
            (b"HTTP/1.1 204\r\n", Some(204)),
            (b"HTTP/1.1 200\n", Some(200)),
            (b"HTTP/1.0  202 Fine\nx", Some(202)),
            (b"\r\n\nHTTP/1.1\t503 \xfcble Zeit", Some(503)),
            (b"HTTP/2 200 OK\r\n", Some(200)),
            (b"http/1.1 200 OK", Some(200)),
            (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\n", Some(201)),
            (b"HTTP/1.1 100\n\nHTTP/1.1 201\n", Some(201)),
            (b"HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\n\r\nHTTP/1.1 410 Gone\r\n", Some(410)),
            (b"HTTP/1.1 101 Switching Protocols\r\n", Some(101)),
            (b"HTTP/1.1 103 Early Hints\r\nlink: a\r\n", None),
            (b"HTTP/1.1 20", None),
            (b"HTTP/1.1 200", None),
            (b"", None),
            (b"HTTP/1.1 2000 OK\r\n", Some(NONE)),
            (b"HTTP/1.1 999 no\r\n", Some(NONE)),
            (b"HTTP/1.1 OK 200\r\n", Some(NONE)),
            (b"220 smtp.example.com ESMTP\r\n", Some(NONE)),
            (b"ICY 200 OK\r\n", Some(NONE)),
            (b"<html>\n", Some(NONE)),
        ] {
            assert_eq!(scan(bytes), status, "{}", String::from_utf8_lossy(bytes));
        }
    }
}

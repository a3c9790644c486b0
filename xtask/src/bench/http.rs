//! A minimal HTTP client, to configure a server and read its metrics.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::Context as _;

const TIMEOUT: Duration = Duration::from_secs(10);
const ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;

/// A response.
pub struct Answer {
    pub status: u16,
    pub body: String,
}

/// A keep-alive connection.
pub struct Connection {
    stream: TcpStream,
    address: SocketAddr,
    /// Received bytes that are not consumed.
    bytes: Vec<u8>,
}

/// Sends a request on a new connection and reads the response.
pub fn call(address: SocketAddr, method: &str, path: &str, key: &str, body: &str) -> anyhow::Result<Answer> {
    Connection::open(address)?.call(method, path, key, body)
}

impl Connection {
    /// Connects.
    pub fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let open = || -> io::Result<TcpStream> {
            let stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(TIMEOUT))?;
            Ok(stream)
        };
        let stream = open().with_context(|| format!("cannot connect to {address}"))?;
        Ok(Self { stream, address, bytes: Vec::new() })
    }

    /// Sends a request and reads the response.
    pub fn call(&mut self, method: &str, path: &str, key: &str, body: &str) -> anyhow::Result<Answer> {
        let address = self.address;
        let authorization = if key.is_empty() { String::new() } else { format!("authorization: Bearer {key}\r\n") };
        let content = match body.len() {
            0 if method == "GET" => String::new(),
            length => format!("content-type: application/json\r\ncontent-length: {length}\r\n"),
        };
        let head = format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\n{authorization}{content}\r\n");
        let sent = self.stream.write_all(format!("{head}{body}").as_bytes());
        let answer = sent.map_err(anyhow::Error::from).and_then(|()| self.read());
        answer.with_context(|| format!("{method} http://{address}{path} failed"))
    }

    fn read(&mut self) -> anyhow::Result<Answer> {
        let mut chunk = [0; 16 * 1024];
        loop {
            if let Some((answer, length)) = parse(&self.bytes)? {
                self.bytes.drain(..length);
                return Ok(answer);
            }
            anyhow::ensure!(self.bytes.len() <= ANSWER_BYTES_MAX, "the response is too long");
            let length = self.stream.read(&mut chunk)?;
            anyhow::ensure!(length > 0, "the response ended early");
            self.bytes.extend_from_slice(&chunk[..length]);
        }
    }
}

/// A response and its length in bytes; `None` if it is incomplete.
fn parse(bytes: &[u8]) -> anyhow::Result<Option<(Answer, usize)>> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let head = str::from_utf8(&bytes[..end]).context("the response head is not UTF-8")?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|status| status.parse().ok());
    let status = status.context("the response has no status")?;
    let mut length = 0;
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        anyhow::ensure!(!name.eq_ignore_ascii_case("transfer-encoding"), "chunked responses are not supported");
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().context("the response has an invalid content-length")?;
        }
    }
    let Some(body) = bytes.get(end + 4..end + 4 + length) else { return Ok(None) };
    let answer = Answer { status, body: String::from_utf8_lossy(body).into_owned() };
    Ok(Some((answer, end + 4 + length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_incomplete_response_returns_none() {
        let bytes = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}";
        assert!((0..bytes.len()).all(|length| parse(&bytes[..length]).unwrap().is_none()));
        let (answer, length) = parse(&[bytes, b"HTTP/1.1 200".as_slice()].concat()).unwrap().unwrap();
        assert_eq!((answer.status, answer.body.as_str(), length), (201, "{}", bytes.len()));
    }

    #[test]
    fn parse_chunked_response_fails() {
        assert!(parse(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").is_err());
    }
}

//! A minimal HTTP/1.1 on blocking sockets: messages that end by `content-length` or with the connection.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};

use super::WAIT_MAX;

/// The start line, the headers and the body of a message.
#[derive(Debug, Clone)]
pub struct Message {
    /// The request or status line.
    pub first: String,
    /// Names and values in order.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Message {
    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        values.next().map(|(_, value)| value.as_str())
    }
}

/// Reads a message; `None` if the peer closed the connection before.
pub fn read(stream: &mut impl BufRead) -> io::Result<Option<Message>> {
    let Some(first) = line(stream)? else { return Ok(None) };
    let mut headers = Vec::new();
    while let Some(line) = line(stream)?.filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').ok_or_else(|| io::Error::other("a header without a colon"))?;
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let mut message = Message { first, headers, body: Vec::new() };
    let length = message.header("content-length").map(str::parse).transpose().map_err(io::Error::other)?;
    assert!(message.header("transfer-encoding").is_none(), "bodies of known length have content-length");
    message.body.resize(length.unwrap_or(0), 0);
    stream.read_exact(&mut message.body)?;
    Ok(Some(message))
}

fn line(stream: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = String::new();
    let length = stream.read_line(&mut line)?;
    Ok((length > 0).then(|| line.trim_end_matches(['\r', '\n']).to_owned()))
}

/// A keep-alive client connection.
pub struct Wire(BufReader<TcpStream>);

impl Wire {
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(WAIT_MAX))?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Sends an encoded request and reads the response.
    pub fn exchange(&mut self, request: &[u8]) -> io::Result<Message> {
        self.0.get_mut().write_all(request)?;
        read(&mut self.0)?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

/// An encoded request.
pub fn request(method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut text = format!("{method} {target} HTTP/1.1\r\nhost: tidings.test\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    [text.as_bytes(), body].concat()
}

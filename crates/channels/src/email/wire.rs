//! The line to an SMTP server: commands out, replies in, both bounded in size and by one deadline.
//!
//! lettre composes our mails, but does not carry them: its connection reads lines of any length, cannot speak TLS as
//! [`crate::egress`] does, and takes only replies in UTF-8.

use std::io;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tidings_domain::secret::Secret;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

use super::clean;
use super::failure::Failure;
use crate::ErrorClass;
use crate::egress::EgressError;

/// The longest line of a reply. RFC 5321 says 512; some servers are more talkative.
const LINE_BYTES_MAX: usize = 4_096;

/// The most lines of one reply.
const LINES_MAX: usize = 100;

/// Of a reply's text, as much is kept.
const TEXT_CHARS_MAX: usize = 160;

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A reply: its code, and what was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reply {
    /// From 200 to 599.
    pub code: u16,
    /// The lines without the code; cleaned.
    pub lines: Vec<String>,
}

impl Reply {
    /// Whether it says that what was asked for is done.
    pub(super) fn is_positive(&self) -> bool {
        self.code < 300
    }

    /// The reply on one line, such as `550 5.1.1 no such user`; what is long is cut.
    pub(super) fn describe(&self) -> String {
        let text = clean::block(&self.lines.join(" "), TEXT_CHARS_MAX);
        format!("{} {text}", self.code).trim_end().to_owned()
    }
}

/// A connection to an SMTP server.
pub(super) struct Wire {
    stream: Box<dyn Stream>,
    received: Vec<u8>,
    deadline: Instant,
    hidden: Vec<Secret>,
}

impl Wire {
    /// Talks over this stream until the deadline.
    pub(super) fn new(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, deadline: Instant) -> Self {
        Self { stream: Box::new(stream), received: Vec::new(), deadline, hidden: Vec::new() }
    }

    /// From here on this text is hidden in replies: what a server is told, it may repeat.
    pub(super) fn hide(&mut self, secret: Secret) {
        self.hidden.push(secret);
    }

    /// From here on in TLS. `host` is the name that the server's certificate must be for.
    pub(super) async fn secure(self, host: &str, tls: Arc<ClientConfig>) -> Result<Self, Failure> {
        // What came before TLS cannot be trusted after it: somebody on the way may have slipped it in.
        if !self.received.is_empty() {
            return Err(Failure::new(ErrorClass::Protocol, "the SMTP server spoke on before TLS was agreed on"));
        }
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| Failure::new(ErrorClass::Tls, format!("{host} is no name that a certificate can be for")))?;
        let handshake = TlsConnector::from(tls).connect(name, self.stream);
        match timeout_at(self.deadline, handshake).await {
            Ok(Ok(stream)) => Ok(Self::new(stream, self.deadline)),
            Ok(Err(error)) => Err(EgressError::tls(host, &error).into()),
            Err(_) => Err(Failure::timeout("the TLS handshake")),
        }
    }

    /// Sends a command and reads its reply. `what` names it in failures.
    pub(super) async fn command(&mut self, line: &str, what: &'static str) -> Result<Reply, Failure> {
        self.send(format!("{line}\r\n").as_bytes(), what).await?;
        self.reply(what).await
    }

    /// Sends bytes as they are.
    pub(super) async fn send(&mut self, bytes: &[u8], what: &'static str) -> Result<(), Failure> {
        let sending = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        match timeout_at(self.deadline, sending).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(broken(&error, what)),
            Err(_) => Err(Failure::timeout(what)),
        }
    }

    /// Reads one reply, of one line or many.
    pub(super) async fn reply(&mut self, what: &'static str) -> Result<Reply, Failure> {
        let mut reply: Option<Reply> = None;
        for _ in 0..LINES_MAX {
            let line = self.line(what).await?;
            let Some((code, last, text)) = parse_line(&line) else {
                return Err(Failure::new(ErrorClass::Protocol, format!("what answered {what} is no SMTP server")));
            };
            let reply = reply.get_or_insert_with(|| Reply { code, lines: Vec::new() });
            reply.lines.push(self.shown(clean::line(&text)));
            if last {
                return Ok(Reply { code, lines: std::mem::take(&mut reply.lines) });
            }
        }
        Err(Failure::new(ErrorClass::Protocol, format!("the reply to {what} has more than {LINES_MAX} lines")))
    }

    fn shown(&self, text: String) -> String {
        self.hidden.iter().fold(text, |text, secret| text.replace(secret.expose(), "[hidden]"))
    }

    /// Waits until the deadline for a line, which comes without its end.
    async fn line(&mut self, what: &'static str) -> Result<Vec<u8>, Failure> {
        loop {
            if let Some(end) = self.received.iter().position(|byte| *byte == b'\n') {
                let mut line: Vec<u8> = self.received.drain(..=end).collect();
                line.truncate(line.trim_ascii_end().len());
                return Ok(line);
            }
            if self.received.len() > LINE_BYTES_MAX {
                return Err(Failure::new(
                    ErrorClass::Protocol,
                    format!("a line of the reply to {what} is longer than {LINE_BYTES_MAX} bytes"),
                ));
            }
            match timeout_at(self.deadline, self.stream.read_buf(&mut self.received)).await {
                Ok(Ok(0)) => return Err(closed(what)),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(broken(&error, what)),
                Err(_) => return Err(Failure::timeout(what)),
            }
        }
    }

    /// The same line, until another instant.
    pub(super) fn until(mut self, deadline: Instant) -> Self {
        self.deadline = deadline;
        self
    }
}

/// Code, whether the reply ends here, and text.
fn parse_line(line: &[u8]) -> Option<(u16, bool, String)> {
    let (digits, rest) = line.split_at_checked(3)?;
    let code: u16 = std::str::from_utf8(digits).ok()?.parse().ok().filter(|code| (200..600).contains(code))?;
    match rest.split_first() {
        None => Some((code, true, String::new())),
        Some((b' ', text)) => Some((code, true, String::from_utf8_lossy(text).into_owned())),
        Some((b'-', text)) => Some((code, false, String::from_utf8_lossy(text).into_owned())),
        Some(_) => None,
    }
}

fn closed(what: &str) -> Failure {
    Failure::new(ErrorClass::Protocol, format!("the SMTP server closed the connection before it answered {what}"))
}

fn broken(error: &io::Error, what: &str) -> Failure {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    match error.kind() {
        BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof => closed(what),
        kind => Failure::new(ErrorClass::Protocol, format!("the connection broke during {what}: {kind}")),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    async fn read(bytes: &[u8]) -> Result<Reply, Failure> {
        let (near, mut far) = tokio::io::duplex(1 << 20);
        far.write_all(bytes).await.unwrap();
        drop(far);
        Wire::new(near, Instant::now() + Duration::from_secs(5)).reply("EHLO").await
    }

    #[tokio::test]
    async fn replies_are_read_leniently() {
        for (bytes, words) in [
            (&b"250 ok\r\n"[..], "250 ok"),
            (b"250\r\n", "250"),
            (b"250 \n", "250"),
            (b"250-a\r\n250-b\r\n250 c\r\n250 next", "250 a b c"),
            (b"550 gr\xfc\xdfe\x1b[31m\r\n", "550 gr\u{fffd}\u{fffd}e"),
        ] {
            assert_eq!(read(bytes).await.unwrap().describe(), words);
        }
        let long = [b"550 ".as_slice(), "ä".repeat(1_000).as_bytes(), b"\r\n"].concat();
        assert_eq!(read(&long).await.unwrap().describe().chars().count(), 4 + TEXT_CHARS_MAX);
    }

    #[tokio::test]
    async fn what_was_told_is_hidden_when_it_comes_back() {
        let (near, mut far) = tokio::io::duplex(1 << 10);
        far.write_all(b"535-no: hunter2\r\n535 aHVudGVyMg==\r\n").await.unwrap();
        let mut wire = Wire::new(near, Instant::now() + Duration::from_secs(5));
        wire.hide(Secret::new("hunter2"));
        wire.hide(Secret::new("aHVudGVyMg=="));
        assert_eq!(wire.reply("AUTH").await.unwrap().describe(), "535 no: [hidden] [hidden]");
    }

    #[tokio::test]
    async fn what_is_no_reply_is_a_failure() {
        let endless = b"250-more\r\n".repeat(LINES_MAX + 1);
        for (bytes, words) in [
            (&b""[..], "closed the connection"),
            (b"250 no end", "closed the connection"),
            (b"SSH-2.0-OpenSSH_9.6\r\n", "no SMTP server"),
            (b"HTTP/1.1 400 Bad Request\r\n\r\n", "no SMTP server"),
            (b"2500 x\r\n", "no SMTP server"),
            (b"150 x\r\n", "no SMTP server"),
            (b"\xff\xfe\xfd\r\n", "no SMTP server"),
            (b"\r\n", "no SMTP server"),
            (&[b'x'; 1 << 19], "longer than"),
            (&endless, "more than 100 lines"),
        ] {
            let failure = read(bytes).await.unwrap_err();
            assert_eq!(failure.class, ErrorClass::Protocol);
            assert!(failure.words.contains(words), "{}", failure.words);
        }
    }

    #[tokio::test]
    async fn a_server_that_drips_does_not_get_past_the_deadline() {
        let (near, mut far) = tokio::io::duplex(1_024);
        tokio::spawn(async move {
            while far.write_all(b"2").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        let failure = Wire::new(near, Instant::now() + Duration::from_millis(100)).reply("EHLO").await.unwrap_err();
        assert_eq!(failure, Failure::timeout("EHLO"));
    }
}

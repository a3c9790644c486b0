//! The connection to an SMTP server: commands out, replies in, limited in size and by one deadline; and its errors.
//!
//! lettre composes the mails but does not transport them: its connection reads lines of any length, cannot use the TLS
//! clients of [`crate::egress`], and accepts only replies in UTF-8.

use std::io;

use tidings_domain::secret::Secret;
use tidings_domain::text::{clean_line, truncate_chars};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

use crate::ErrorClass;
use crate::egress::EgressError;
use crate::egress::tls::{Handshake, TlsClient};

/// The longest line of a reply. RFC 5321 allows 512 bytes; some servers send more.
const LINE_BYTES_MAX: usize = 4_096;

/// Lines per reply.
const LINES_MAX: usize = 100;

/// How much of a reply's text is kept.
const TEXT_CHARS_MAX: usize = 160;

trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Stream for T {}

/// An error that ends the whole session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SmtpError {
    /// [`ErrorClass::Rejected`] if a retry would not help.
    pub class: ErrorClass,
    /// Contains no secrets.
    pub message: String,
    /// The reply's code, if the server replied.
    pub code: Option<u16>,
    /// The whole mail was sent, and what became of it is not known: sending it again may make a duplicate.
    pub is_outcome_unknown: bool,
}

impl SmtpError {
    pub(super) fn new(class: ErrorClass, message: impl Into<String>) -> Self {
        Self { class, message: message.into(), code: None, is_outcome_unknown: false }
    }

    /// The deadline passed during `step`.
    pub(super) fn timeout(step: &str) -> Self {
        Self::new(ErrorClass::Timeout, format!("the SMTP server did not answer {step} in time"))
    }

    /// The server refused `step`, to be retried whatever the code: the step does not depend on this mail or channel.
    pub(super) fn transient(step: &str, reply: &Reply) -> Self {
        let message = format!("the SMTP server refused {step}: {}", reply.describe());
        Self { code: Some(reply.code), ..Self::new(ErrorClass::Status, message) }
    }

    /// The server refused `step`: for good with 5xx, else to be retried.
    pub(super) fn from_reply(step: &str, reply: &Reply) -> Self {
        let class = if reply.code >= 500 { ErrorClass::Rejected } else { ErrorClass::Status };
        Self { class, ..Self::transient(step, reply) }
    }
}

impl From<EgressError> for SmtpError {
    fn from(error: EgressError) -> Self {
        Self::new(error.class, error.message)
    }
}

/// A server's reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reply {
    /// 200 to 599.
    pub code: u16,
    /// The lines without the code, sanitised.
    pub lines: Vec<String>,
}

impl Reply {
    /// Whether the command succeeded.
    pub(super) fn is_positive(&self) -> bool {
        self.code < 300
    }

    /// The reply on one line, such as `550 5.1.1 no such user`; long text is cut.
    pub(super) fn describe(&self) -> String {
        let text = truncate_chars(&self.lines.join(" "), TEXT_CHARS_MAX);
        format!("{} {text}", self.code).trim_end().to_owned()
    }
}

pub(super) struct Wire {
    stream: Box<dyn Stream>,
    received: Vec<u8>,
    deadline: Instant,
    hidden: Vec<Secret>,
}

impl Wire {
    /// The deadline holds for everything over this connection together.
    pub(super) fn new(stream: impl AsyncRead + AsyncWrite + Send + Sync + Unpin + 'static, deadline: Instant) -> Self {
        Self { stream: Box::new(stream), received: Vec::new(), deadline, hidden: Vec::new() }
    }

    /// Masks this text in later replies: a server may echo what it received.
    pub(super) fn hide(&mut self, secret: Secret) {
        self.hidden.push(secret);
    }

    /// Upgrades the connection to TLS with `host`. Errors name `certificate_field` as the place for a private authority.
    pub(super) async fn secure(self, host: &str, tls: &TlsClient, certificate_field: &str) -> Result<Self, SmtpError> {
        // Bytes received before the handshake are unauthenticated. Processed after it, they would pass for replies
        // under TLS (STARTTLS response injection).
        if !self.received.is_empty() {
            return Err(SmtpError::new(
                ErrorClass::Protocol,
                "the SMTP server sent data between STARTTLS and the TLS handshake",
            ));
        }
        // Never resumed: connections are few, and a resumed session does not show the certificate of now.
        let handshake = tls.connect(host, host, self.stream, Handshake::Full);
        match timeout_at(self.deadline, handshake).await {
            Ok(Ok(stream)) => Ok(Self::new(stream, self.deadline)),
            Ok(Err(error)) => Err(EgressError::from(error).naming(certificate_field).into()),
            Err(_) => Err(SmtpError::timeout("the TLS handshake")),
        }
    }

    /// Sends a command and reads its reply. `step` names it in errors; the line may contain a secret.
    pub(super) async fn command(&mut self, line: &str, step: &'static str) -> Result<Reply, SmtpError> {
        self.send(format!("{line}\r\n").as_bytes(), step).await?;
        self.reply(step).await
    }

    /// Sends bytes as they are.
    pub(super) async fn send(&mut self, bytes: &[u8], step: &'static str) -> Result<(), SmtpError> {
        let sending = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        match timeout_at(self.deadline, sending).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(io_error(&error, step)),
            Err(_) => Err(SmtpError::timeout(step)),
        }
    }

    /// Reads one reply of one or more lines.
    pub(super) async fn reply(&mut self, step: &'static str) -> Result<Reply, SmtpError> {
        let mut reply: Option<Reply> = None;
        for _ in 0..LINES_MAX {
            let line = self.line(step).await?;
            let Some((code, last, text)) = parse_line(&line) else {
                return Err(SmtpError::new(
                    ErrorClass::Protocol,
                    format!("the response to {step} is not an SMTP reply"),
                ));
            };
            let reply = reply.get_or_insert_with(|| Reply { code, lines: Vec::new() });
            reply.lines.push(self.mask(clean_line(&text)));
            if last {
                return Ok(Reply { code, lines: std::mem::take(&mut reply.lines) });
            }
        }
        Err(SmtpError::new(ErrorClass::Protocol, format!("the reply to {step} has more than {LINES_MAX} lines")))
    }

    fn mask(&self, text: String) -> String {
        self.hidden.iter().fold(text, |text, secret| text.replace(secret.expose(), "[hidden]"))
    }

    /// Reads a line without its end.
    async fn line(&mut self, step: &'static str) -> Result<Vec<u8>, SmtpError> {
        loop {
            if let Some(end) = self.received.iter().position(|byte| *byte == b'\n') {
                let mut line: Vec<u8> = self.received.drain(..=end).collect();
                line.truncate(line.trim_ascii_end().len());
                return Ok(line);
            }
            // Checked before each read, so that a server cannot make the buffer grow without a line end.
            if self.received.len() > LINE_BYTES_MAX {
                return Err(SmtpError::new(
                    ErrorClass::Protocol,
                    format!("a line of the reply to {step} is longer than {LINE_BYTES_MAX} bytes"),
                ));
            }
            match timeout_at(self.deadline, self.stream.read_buf(&mut self.received)).await {
                Ok(Ok(0)) => return Err(closed_error(step)),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(io_error(&error, step)),
                Err(_) => return Err(SmtpError::timeout(step)),
            }
        }
    }

    /// Replaces the deadline.
    pub(super) fn set_deadline(&mut self, deadline: Instant) {
        self.deadline = deadline;
    }

    /// Whether the server sent something that no command asked for, such as the announcement that it closes.
    pub(super) fn has_unread(&self) -> bool {
        !self.received.is_empty()
    }
}

/// The code, whether this is the reply's last line, and the text.
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

fn closed_error(step: &str) -> SmtpError {
    SmtpError::new(ErrorClass::Protocol, format!("the SMTP server closed the connection before it answered {step}"))
}

fn io_error(error: &io::Error, step: &str) -> SmtpError {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    match error.kind() {
        BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof => closed_error(step),
        kind => SmtpError::new(ErrorClass::Protocol, format!("the connection failed during {step}: {kind}")),
    }
}

#[cfg(test)]
mod tests;

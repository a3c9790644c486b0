//! An SMTP session: greeting, TLS, authentication, and one transaction per recipient.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use lettre::Address;
use tidings_domain::secret::Secret;
use tokio::time::Instant;

use super::server::{Credentials, Security, Server};
use super::wire::{Reply, SmtpError, Wire};
use crate::ErrorClass;
use crate::egress::{CONNECT_TIMEOUT, DialOptions, Egress};

/// Limit for QUIT. Every mail has its reply by then, so nothing depends on it.
const QUIT_TIMEOUT: Duration = Duration::from_millis(500);

/// An open session, ready for transactions.
pub(super) struct Session {
    wire: Wire,
    extensions: Vec<String>,
    /// Whether a transaction was started (MAIL accepted) and not completed: the next one needs RSET first.
    in_transaction: bool,
}

impl Session {
    /// Connects, secures the connection and authenticates, as the server's settings demand.
    pub(super) async fn open(
        server: &Server,
        egress: &Egress,
        dial: DialOptions,
        deadline: Instant,
    ) -> Result<Self, SmtpError> {
        let timeout = CONNECT_TIMEOUT.min(deadline.saturating_duration_since(Instant::now()));
        let stream = if server.trusted {
            egress.connect_trusted(&server.host, server.port, dial, timeout).await?
        } else {
            egress.connect(&server.host, server.port, dial, timeout).await?
        };
        let mut wire = Wire::new(stream, deadline);
        if server.security == Security::Tls {
            wire = wire.secure(&server.host, egress.tls_config()).await?;
        }
        let greeting = wire.reply("the connection").await?;
        if !greeting.is_positive() {
            return Err(SmtpError::transient("the connection", &greeting));
        }
        let mut session = Self { wire, extensions: Vec::new(), in_transaction: false };
        session.greet(server).await?;
        let mut secured = server.security == Security::Tls;
        if matches!(server.security, Security::StartTls | Security::Opportunistic) {
            (session, secured) = session.starttls(server, egress).await?;
        }
        if let Some(credentials) = &server.credentials {
            if !secured {
                let message = "the SMTP server does not offer STARTTLS, and the password is not sent unencrypted";
                return Err(SmtpError::new(ErrorClass::Tls, message));
            }
            session.authenticate(credentials).await?;
        }
        Ok(session)
    }

    /// Sends EHLO and records the server's extensions.
    async fn greet(&mut self, server: &Server) -> Result<(), SmtpError> {
        let reply = self.wire.command(&format!("EHLO {}", server.from.email.domain()), "EHLO").await?;
        if !reply.is_positive() {
            return Err(SmtpError::transient("EHLO", &reply));
        }
        self.extensions = reply.lines.iter().skip(1).map(|line| line.to_ascii_uppercase()).collect();
        Ok(())
    }

    /// Upgrades to TLS if the server offers it. Returns whether the connection is now encrypted.
    async fn starttls(mut self, server: &Server, egress: &Egress) -> Result<(Self, bool), SmtpError> {
        if !self.offers("STARTTLS") {
            return match server.security {
                Security::Opportunistic => Ok((self, false)),
                _ => Err(SmtpError::new(ErrorClass::Tls, "the SMTP server does not offer STARTTLS")),
            };
        }
        let reply = self.wire.command("STARTTLS", "STARTTLS").await?;
        if !reply.is_positive() {
            return Err(SmtpError::transient("STARTTLS", &reply));
        }
        let wire = self.wire.secure(&server.host, egress.tls_config()).await?;
        let mut session = Self { wire, ..self };
        // RFC 3207: what the server offered before TLS must be discarded; an attacker could have altered it.
        session.greet(server).await?;
        Ok((session, true))
    }

    fn offers(&self, extension: &str) -> bool {
        self.extensions.iter().any(|line| line.split_whitespace().next() == Some(extension))
    }

    fn offers_auth(&self, mechanism: &str) -> bool {
        // Some old servers spell it `AUTH=`.
        let lists = self.extensions.iter().filter_map(|line| line.strip_prefix("AUTH ").or(line.strip_prefix("AUTH=")));
        lists.flat_map(str::split_whitespace).any(|offered| offered == mechanism)
    }

    async fn authenticate(&mut self, credentials: &Credentials) -> Result<(), SmtpError> {
        let (username, password) = (credentials.username.as_str(), credentials.password.expose());

        let token = Secret::new(BASE64_STANDARD.encode(format!("\0{username}\0{password}")));
        let answers = [username, password].map(|answer| Secret::new(BASE64_STANDARD.encode(answer)));
        // In every form in which it is sent: servers may echo commands in their replies, and replies are stored.
        for secret in [&credentials.password, &token, &answers[1]] {
            self.wire.hide(secret.clone());
        }
        let reply = if self.offers_auth("PLAIN") {
            self.wire.command(&format!("AUTH PLAIN {}", token.expose()), "AUTH").await?
        } else if self.offers_auth("LOGIN") {
            let mut reply = self.wire.command("AUTH LOGIN", "AUTH").await?;
            for answer in answers {
                if reply.code == 334 {
                    reply = self.wire.command(answer.expose(), "AUTH").await?;
                }
            }
            reply
        } else {
            let message = "the SMTP server offers neither AUTH PLAIN nor AUTH LOGIN";
            return Err(SmtpError::new(ErrorClass::Protocol, message));
        };
        if reply.code == 235 { Ok(()) } else { Err(auth_error(&reply)) }
    }

    /// Submits one mail for one recipient. Returns the reply that decided about it: the final one, or a refusal of the
    /// recipient or of DATA. An error ends the whole session.
    pub(super) async fn transaction(&mut self, from: &Address, to: &Address, mail: &[u8]) -> Result<Reply, SmtpError> {
        if self.in_transaction {
            let reply = self.wire.command("RSET", "RSET").await?;
            if !reply.is_positive() {
                return Err(SmtpError::transient("RSET", &reply));
            }
            self.in_transaction = false;
        }
        let reply = self.wire.command(&format!("MAIL FROM:<{from}>"), "MAIL FROM").await?;
        if !reply.is_positive() {
            return Err(SmtpError::from_reply(&format!("the sender {from}"), &reply));
        }
        self.in_transaction = true;
        let reply = self.wire.command(&format!("RCPT TO:<{to}>"), "RCPT TO").await?;
        if !reply.is_positive() {
            return self.reject_421(reply);
        }
        let reply = self.wire.command("DATA", "DATA").await?;
        if reply.is_positive() {
            // Without 354 the server does not expect a mail; its lines would be read as commands.
            let message = format!("the SMTP server answered DATA with {}", reply.describe());
            return Err(SmtpError::new(ErrorClass::Protocol, message));
        }
        if reply.code != 354 {
            return self.reject_421(reply);
        }
        self.wire.send(&dot_stuffed(mail), "the mail").await?;
        let reply = self.wire.reply("the mail").await?;
        self.in_transaction = false;
        self.reject_421(reply)
    }

    /// 421 announces that the server closes the session, whatever the command: it is no verdict on the recipient.
    fn reject_421(&self, reply: Reply) -> Result<Reply, SmtpError> {
        if reply.code == 421 { Err(SmtpError::transient("to continue", &reply)) } else { Ok(reply) }
    }

    /// Sends QUIT and ignores the reply.
    pub(super) async fn close(self) {
        let mut wire = self.wire.until(Instant::now() + QUIT_TIMEOUT);
        let _ = wire.command("QUIT", "QUIT").await;
    }
}

fn auth_error(reply: &Reply) -> SmtpError {
    let what = match reply.code {
        534 | 535 | 538 => "the user name or password",
        _ => "authentication",
    };
    SmtpError::from_reply(what, reply)
}

/// The mail as `DATA` expects it (RFC 5321, 4.5.2): a leading dot of a line is doubled, and a line with a single dot
/// ends it.
fn dot_stuffed(mail: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(mail.len() + 64);
    for line in mail.split_inclusive(|byte| *byte == b'\n') {
        if line.first() == Some(&b'.') {
            out.push(b'.');
        }
        out.extend_from_slice(line);
    }
    if !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b".\r\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dot_stuffed_doubles_leading_dots() {
        for (mail, sent) in [
            ("a\r\n", "a\r\n.\r\n"),
            ("a", "a\r\n.\r\n"),
            (".\r\n..\r\na.b\r\n", "..\r\n...\r\na.b\r\n.\r\n"),
            ("", "\r\n.\r\n"),
        ] {
            assert_eq!(dot_stuffed(mail.as_bytes()), sent.as_bytes());
        }
    }

    #[test]
    fn auth_error_wrong_password_is_rejected() {
        let error = |code| auth_error(&Reply { code, lines: vec!["no".into()] });
        for (code, class) in [
            (535, ErrorClass::Rejected),
            (530, ErrorClass::Rejected),
            (454, ErrorClass::Status),
            (334, ErrorClass::Status),
        ] {
            assert_eq!((error(code).class, error(code).code), (class, Some(code)));
        }
        assert_eq!(error(535).message, "the SMTP server refused the user name or password: 535 no");
    }
}

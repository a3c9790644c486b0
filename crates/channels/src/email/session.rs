//! The talk with an SMTP server: greeting, TLS, authentication, one transaction a recipient.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use lettre::Address;
use tidings_domain::secret::Secret;
use tokio::time::Instant;

use super::failure::Failure;
use super::server::{Credentials, Security, Server};
use super::wire::{Reply, Wire};
use crate::ErrorClass;
use crate::egress::{CONNECT_TIMEOUT, Egress};

/// How long the server may take to say goodbye. What was sent is settled by then.
const QUIT_TIMEOUT: Duration = Duration::from_millis(500);

/// An open session, ready for mail.
pub(super) struct Session {
    wire: Wire,
    extensions: Vec<String>,
    /// Whether the server waits for the rest of a transaction that came to nothing.
    open: bool,
}

impl Session {
    /// Connects, agrees on TLS and says who we are, as the server's settings demand.
    pub(super) async fn open(server: &Server, egress: &Egress, deadline: Instant) -> Result<Self, Failure> {
        let timeout = CONNECT_TIMEOUT.min(deadline.saturating_duration_since(Instant::now()));
        let stream = if server.trusted {
            egress.connect_trusted(&server.host, server.port, timeout).await?
        } else {
            egress.connect(&server.host, server.port, timeout).await?
        };
        let mut wire = Wire::new(stream, deadline);
        if server.security == Security::Tls {
            wire = wire.secure(&server.host, egress.tls_config()).await?;
        }
        let greeting = wire.reply("the connection").await?;
        if !greeting.is_positive() {
            return Err(Failure::deferred("the connection", &greeting));
        }
        let mut session = Self { wire, extensions: Vec::new(), open: false };
        session.hello(server).await?;
        let mut secured = server.security == Security::Tls;
        if matches!(server.security, Security::StartTls | Security::Opportunistic) {
            (session, secured) = session.starttls(server, egress).await?;
        }
        if let Some(credentials) = &server.credentials {
            if !secured {
                let words = "the SMTP server does not offer STARTTLS, and the password is not sent in the clear";
                return Err(Failure::new(ErrorClass::Tls, words));
            }
            session.authenticate(credentials).await?;
        }
        Ok(session)
    }

    /// Says who we are, and hears what the server can do.
    async fn hello(&mut self, server: &Server) -> Result<(), Failure> {
        let reply = self.wire.command(&format!("EHLO {}", server.from.email.domain()), "EHLO").await?;
        if !reply.is_positive() {
            return Err(Failure::deferred("EHLO", &reply));
        }
        self.extensions = reply.lines.iter().skip(1).map(|line| line.to_ascii_uppercase()).collect();
        Ok(())
    }

    /// Goes on in TLS where the server offers it. Gives whether it did.
    async fn starttls(mut self, server: &Server, egress: &Egress) -> Result<(Self, bool), Failure> {
        if !self.offers("STARTTLS") {
            return match server.security {
                Security::Opportunistic => Ok((self, false)),
                _ => Err(Failure::new(ErrorClass::Tls, "the SMTP server does not offer STARTTLS")),
            };
        }
        let reply = self.wire.command("STARTTLS", "STARTTLS").await?;
        if !reply.is_positive() {
            return Err(Failure::deferred("STARTTLS", &reply));
        }
        let wire = self.wire.secure(&server.host, egress.tls_config()).await?;
        let mut session = Self { wire, ..self };
        // What was heard before TLS counts no more.
        session.hello(server).await?;
        Ok((session, true))
    }

    fn offers(&self, extension: &str) -> bool {
        self.extensions.iter().any(|line| line.split_whitespace().next() == Some(extension))
    }

    fn offers_auth(&self, mechanism: &str) -> bool {
        // `AUTH=` is how some old servers spell it.
        let lists = self.extensions.iter().filter_map(|line| line.strip_prefix("AUTH ").or(line.strip_prefix("AUTH=")));
        lists.flat_map(str::split_whitespace).any(|offered| offered == mechanism)
    }

    async fn authenticate(&mut self, credentials: &Credentials) -> Result<(), Failure> {
        let (username, password) = (credentials.username.as_str(), credentials.password.expose());
        let token = Secret::new(BASE64_STANDARD.encode(format!("\0{username}\0{password}")));
        let answers = [username, password].map(|answer| Secret::new(BASE64_STANDARD.encode(answer)));
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
            let words = "the SMTP server offers neither AUTH PLAIN nor AUTH LOGIN";
            return Err(Failure::new(ErrorClass::Protocol, words));
        };
        if reply.code == 235 { Ok(()) } else { Err(unauthenticated(&reply)) }
    }

    /// Hands in one mail for one recipient. The reply that decided is either the one that accepts the mail, or the
    /// one that refuses the recipient or the mail; a failure is one of the whole connection.
    pub(super) async fn transaction(&mut self, from: &Address, to: &Address, mail: &[u8]) -> Result<Reply, Failure> {
        if self.open {
            let reply = self.wire.command("RSET", "RSET").await?;
            if !reply.is_positive() {
                return Err(Failure::deferred("RSET", &reply));
            }
            self.open = false;
        }
        let reply = self.wire.command(&format!("MAIL FROM:<{from}>"), "MAIL FROM").await?;
        if !reply.is_positive() {
            return Err(Failure::refused(&format!("the sender {from}"), &reply));
        }
        self.open = true;
        let reply = self.wire.command(&format!("RCPT TO:<{to}>"), "RCPT TO").await?;
        if !reply.is_positive() {
            return self.decided(reply);
        }
        let reply = self.wire.command("DATA", "DATA").await?;
        if reply.is_positive() {
            let words = format!("the SMTP server answered DATA with {}", reply.describe());
            return Err(Failure::new(ErrorClass::Protocol, words));
        }
        if reply.code != 354 {
            return self.decided(reply);
        }
        self.wire.send(&stuffed(mail), "the mail").await?;
        let reply = self.wire.reply("the mail").await?;
        self.open = false;
        self.decided(reply)
    }

    /// 421 is the whole server's goodbye, whatever it was said to.
    fn decided(&self, reply: Reply) -> Result<Reply, Failure> {
        if reply.code == 421 { Err(Failure::deferred("to go on", &reply)) } else { Ok(reply) }
    }

    /// Says goodbye, and does not insist on an answer.
    pub(super) async fn close(self) {
        let mut wire = self.wire.until(Instant::now() + QUIT_TIMEOUT);
        let _ = wire.command("QUIT", "QUIT").await;
    }
}

fn unauthenticated(reply: &Reply) -> Failure {
    let what = match reply.code {
        534 | 535 | 538 => "the user name or password",
        _ => "to authenticate us",
    };
    Failure::refused(what, reply)
}

/// The mail as `DATA` wants it: a dot that begins a line doubled, and a line with one dot at the end.
fn stuffed(mail: &[u8]) -> Vec<u8> {
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
    fn dots_are_doubled() {
        for (mail, sent) in [
            ("a\r\n", "a\r\n.\r\n"),
            ("a", "a\r\n.\r\n"),
            (".\r\n..\r\na.b\r\n", "..\r\n...\r\na.b\r\n.\r\n"),
            ("", "\r\n.\r\n"),
        ] {
            assert_eq!(stuffed(mail.as_bytes()), sent.as_bytes());
        }
    }

    #[test]
    fn a_wrong_password_is_for_good() {
        let failure = |code| unauthenticated(&Reply { code, lines: vec!["no".into()] });
        for (code, class) in [
            (535, ErrorClass::Rejected),
            (530, ErrorClass::Rejected),
            (454, ErrorClass::Status),
            (334, ErrorClass::Status),
        ] {
            assert_eq!((failure(code).class, failure(code).code), (class, Some(code)));
        }
        assert_eq!(failure(535).words, "the SMTP server refused the user name or password: 535 no");
    }
}

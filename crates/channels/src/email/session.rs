//! An SMTP session: greeting, TLS, authentication, and one transaction per recipient.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use lettre::Address;
use tidings_domain::secret::Secret;
use tokio::time::Instant;

use super::hello;
use super::server::{Credentials, Proof, Security, Server};
use super::wire::{Reply, SmtpError, Wire};
use crate::ErrorClass;
use crate::egress::tls::TlsClient;
use crate::egress::{CONNECT_TIMEOUT, DialOptions, Egress};

/// Limit for QUIT. Every mail has its reply by then, so nothing depends on it.
const QUIT_TIMEOUT: Duration = Duration::from_millis(500);

/// Limit for the check whether a kept session still works.
const CHECK_TIMEOUT: Duration = Duration::from_secs(3);
/// A session that was idle for less needs no check.
const FRESH: Duration = Duration::from_secs(1);
/// Mails over one connection; many servers take no more than 100.
const MAILS_MAX: u32 = 50;
/// How long a connection is used. Its name was resolved, and its certificate verified, when it was opened.
const AGE_MAX: Duration = Duration::from_secs(300);

/// An open session, ready for transactions.
pub(super) struct Session {
    wire: Wire,
    extensions: Vec<String>,
    /// Whether a transaction was started (MAIL accepted) and not completed: the next one needs RSET first.
    in_transaction: bool,
    opened_at: Instant,
    last_used_at: Instant,
    /// Mails that the server accepted.
    accepted: u32,
}

impl Session {
    /// Connects, secures the connection and authenticates, as the server's settings demand.
    pub(super) async fn open(
        server: &Server,
        tls: &TlsClient,
        egress: &Egress,
        dial: DialOptions,
        deadline: Instant,
    ) -> Result<Self, SmtpError> {
        match Self::connect(server, server.security, tls, egress, dial, deadline).await {
            // The handshake failed, and with it the connection.
            Err(error)
                if error.class == ErrorClass::Tls
                    && server.security == Security::Opportunistic
                    && server.credentials.is_none() =>
            {
                Self::connect(server, Security::None, tls, egress, dial, deadline).await
            }
            opened => opened,
        }
    }

    async fn connect(
        server: &Server,
        security: Security,
        tls: &TlsClient,
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
        let client_name = hello::client_name(stream.local_addr().ok().map(|address| address.ip()));
        let mut wire = Wire::new(stream, deadline);
        if security == Security::Tls {
            wire = wire.secure(&server.host, tls, server.certificate_field()).await?;
        }
        let greeting = wire.reply("the connection").await?;
        if !greeting.is_positive() {
            return Err(SmtpError::transient("the connection", &greeting));
        }
        let now = Instant::now();
        let mut session = Self {
            wire,
            extensions: Vec::new(),
            in_transaction: false,
            opened_at: now,
            last_used_at: now,
            accepted: 0,
        };
        let needs_extensions = server.credentials.is_some() || security == Security::StartTls;
        session.greet(&client_name, needs_extensions).await?;
        let mut secured = security == Security::Tls;
        if matches!(security, Security::StartTls | Security::Opportunistic) {
            (session, secured) = session.starttls(server, &client_name, tls).await?;
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

    /// Sends EHLO and records the server's extensions. A server that does not know EHLO is greeted with HELO, unless an
    /// extension is needed.
    async fn greet(&mut self, client_name: &str, needs_extensions: bool) -> Result<(), SmtpError> {
        let mut reply = self.wire.command(&format!("EHLO {client_name}"), "EHLO").await?;
        if reply.code >= 500 && !needs_extensions {
            reply = self.wire.command(&format!("HELO {client_name}"), "HELO").await?;
            // The one line of its reply is no extension, and neither are further ones.
            reply.lines.truncate(1);
        }
        if !reply.is_positive() {
            return Err(SmtpError::transient("EHLO", &reply));
        }
        self.extensions = reply.lines.iter().skip(1).map(|line| line.to_ascii_uppercase()).collect();
        Ok(())
    }

    /// Upgrades to TLS if the server offers it. Returns whether the connection is now encrypted.
    async fn starttls(
        mut self,
        server: &Server,
        client_name: &str,
        tls: &TlsClient,
    ) -> Result<(Self, bool), SmtpError> {
        let is_optional = server.security == Security::Opportunistic;
        if !self.offers("STARTTLS") {
            return match is_optional {
                true => Ok((self, false)),
                false => Err(SmtpError::new(ErrorClass::Tls, "the SMTP server does not offer STARTTLS")),
            };
        }
        let reply = self.wire.command("STARTTLS", "STARTTLS").await?;
        if !reply.is_positive() {
            return match is_optional && reply.code != 421 {
                true => Ok((self, false)),
                false => Err(SmtpError::transient("STARTTLS", &reply)),
            };
        }
        let wire = self.wire.secure(&server.host, tls, server.certificate_field()).await?;
        let mut session = Self { wire, ..self };
        // RFC 3207: what the server offered before TLS must be discarded; an attacker could have altered it.
        session.greet(client_name, true).await?;
        Ok((session, true))
    }

    /// Prepares a session that an earlier delivery left. False if it does not work any more.
    pub(super) async fn resume(&mut self, deadline: Instant) -> bool {
        self.wire.set_deadline(deadline);
        if self.last_used_at.elapsed() < FRESH {
            return !self.wire.has_unread();
        }
        // Shorter than the attempt, so that time is left for a fresh connection.
        let now = Instant::now();
        self.wire.set_deadline((now + CHECK_TIMEOUT).min(now + deadline.saturating_duration_since(now) / 3));
        let works = !self.wire.has_unread()
            && matches!(self.wire.command("RSET", "RSET").await, Ok(reply) if reply.is_positive());
        self.in_transaction = false;
        self.wire.set_deadline(deadline);
        works
    }

    /// Whether another delivery may use it.
    pub(super) fn is_reusable(&self) -> bool {
        self.accepted > 0 && self.accepted < MAILS_MAX && self.opened_at.elapsed() < AGE_MAX
    }

    /// Whether the server has accepted a mail over it.
    pub(super) fn has_delivered(&self) -> bool {
        self.accepted > 0
    }

    /// When it was last used.
    pub(super) fn last_used_at(&self) -> Instant {
        self.last_used_at
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
        let username = credentials.username.as_str();
        match &credentials.proof {
            Proof::Password(password) => self.authenticate_with_password(username, password).await,
            Proof::Token(token) => self.authenticate_with_token(username, token).await,
        }
    }

    async fn authenticate_with_password(&mut self, username: &str, password: &Secret) -> Result<(), SmtpError> {
        let token = Secret::new(BASE64_STANDARD.encode(format!("\0{username}\0{}", password.expose())));
        let answers = [username, password.expose()].map(|answer| Secret::new(BASE64_STANDARD.encode(answer)));
        // In every form in which it is sent: servers may echo commands in their replies, and replies are stored.
        for secret in [password, &token, &answers[1]] {
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
        if reply.code == 235 { Ok(()) } else { Err(password_error(&reply)) }
    }

    /// SASL XOAUTH2, as Google and Microsoft document it. A refusal has two steps: a challenge that says why, which has
    /// to be answered with an empty line, and then the reply.
    async fn authenticate_with_token(&mut self, username: &str, token: &Secret) -> Result<(), SmtpError> {
        if !self.offers_auth("XOAUTH2") {
            let message = "the SMTP server does not offer AUTH XOAUTH2, which a token needs";
            return Err(SmtpError::new(ErrorClass::Protocol, message));
        }
        let response = format!("user={username}\x01auth=Bearer {}\x01\x01", token.expose());
        let response = Secret::new(BASE64_STANDARD.encode(response));
        for secret in [token, &response] {
            self.wire.hide(secret.clone());
        }
        let reply = self.wire.command(&format!("AUTH XOAUTH2 {}", response.expose()), "AUTH").await?;
        if reply.code == 334 {
            let status = challenge_status(&reply);
            let reply = self.wire.command("", "AUTH").await?;
            return Err(token_error(&reply, status.as_deref()));
        }
        if reply.code == 235 { Ok(()) } else { Err(token_error(&reply, None)) }
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
        let reply = async {
            self.wire.send(&dot_stuffed(mail), "the mail").await?;
            self.wire.reply("the mail").await
        };
        let reply = reply.await.map_err(|error| SmtpError { is_outcome_unknown: true, ..error })?;
        self.in_transaction = false;
        self.accepted += u32::from(reply.is_positive());
        self.last_used_at = Instant::now();
        self.reject_421(reply)
    }

    /// 421 announces that the server closes the session, whatever the command: it is no verdict on the recipient.
    fn reject_421(&self, reply: Reply) -> Result<Reply, SmtpError> {
        if reply.code == 421 { Err(SmtpError::transient("to continue", &reply)) } else { Ok(reply) }
    }

    /// Sends QUIT and ignores the reply.
    pub(super) async fn close(mut self) {
        self.wire.set_deadline(Instant::now() + QUIT_TIMEOUT);
        let _ = self.wire.command("QUIT", "QUIT").await;
    }
}

/// A refused login. It is for good where the code says that the password is wrong; any other refusal may be one of the
/// moment, such as too many logins.
fn password_error(reply: &Reply) -> SmtpError {
    match reply.code {
        534 | 535 | 538 => SmtpError::from_reply("the user name or password", reply),
        _ => SmtpError::transient("authentication", reply),
    }
}

/// A refused token. Tokens expire within hours and are replaced by the next edit of the channel, so it is retried.
fn token_error(reply: &Reply, status: Option<&str>) -> SmtpError {
    let mut error = SmtpError::transient("the user name or token", reply);
    if let Some(status) = status {
        error.message = format!("{} (OAuth status {status})", error.message);
    }
    error
}

/// The status in an XOAUTH2 challenge, such as 401.
fn challenge_status(reply: &Reply) -> Option<String> {
    let json = BASE64_STANDARD.decode(reply.lines.concat().trim()).ok()?;
    let challenge: serde_json::Value = serde_json::from_slice(&json).ok()?;
    let status = challenge.get("status")?;
    let status = status.as_str().map_or_else(|| status.to_string(), str::to_owned);
    // Nothing but a number: what the server echoes is not kept.
    (status.len() <= 3 && status.bytes().all(|byte| byte.is_ascii_digit())).then_some(status)
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
mod tests;

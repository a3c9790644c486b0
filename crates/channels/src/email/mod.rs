//! Email: a message as a MIME mail, submitted to an SMTP server in one transaction per recipient.
//!
//! A message becomes `content` (sanitised text, independent of the format), content becomes a MIME message (`compose`,
//! from `text` and `html`), a `session` submits it over the `wire`, and a `ledger` records the reply for each
//! recipient, so that a retry only addresses those without a final reply. The `pool` of a server bounds its connections,
//! keeps them for further mails, and gives them out in `turns`.
//!
//! One transaction per recipient: with several in one, a refusal after `DATA` could not be attributed to any of them.
//!
//! Deliberately absent: pipelining.

mod address;
mod compose;
mod config;
mod content;
mod entries;
mod hello;
mod html;
mod ledger;
mod pool;
mod relay;
mod server;
mod session;
mod text;
mod turns;
mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use lettre::Address;
use lettre::message::Mailbox;
use serde_json::{Map, Value};
use tidings_domain::channel::ChannelType;
use tidings_domain::event::EventKind;
use tidings_domain::violation::Violations;
use tokio::time::Instant;

pub use config::RECIPIENTS_MAX;
pub use pool::MailPools;
pub use relay::RelayConfig;

use crate::{
    AttemptResult, ChannelConfig, ChannelContext, ChannelPlugin, ErrorClass, Field, Notifier, OutboundMessage,
    Rendered, RenderedMail,
};
use compose::MimeMessage;
use ledger::RecipientLedger;
use pool::{Permit, Pool, Reason, Turn};
use session::Session;
use wire::{Reply, SmtpError};

/// The email channel type.
#[derive(Debug, Clone, Copy, Default)]
pub struct Email;

impl ChannelPlugin for Email {
    fn channel_type(&self) -> ChannelType {
        ChannelType::Email
    }

    fn fields(&self) -> &'static [Field] {
        config::FIELDS
    }

    fn check(
        &self,
        input: &Map<String, Value>,
        current: Option<&ChannelConfig>,
        context: &ChannelContext,
    ) -> Result<ChannelConfig, Violations> {
        config::check(input, current, context)
    }

    fn open(&self, stored: &ChannelConfig, context: &ChannelContext) -> Result<Arc<dyn Notifier>, String> {
        let settings = config::open(stored)?;
        let server = match (settings.server, &context.relay) {
            (Some(own), _) => own,
            (None, Some(mail)) => mail.server.clone(),
            (None, None) => return Err(config::NO_SERVER.into()),
        };
        static OPENED: AtomicU64 = AtomicU64::new(0);
        let pool = context.mail_pools.pool(&server, &context.egress);
        let id = OPENED.fetch_add(1, Ordering::Relaxed);
        Ok(Arc::new(EmailNotifier { id, pool, from: server.from, recipients: settings.recipients }))
    }
}

/// How long a delivery waits for a connection. Waiting is no part of the attempt's timeout, but of the delivery's lease,
/// which outlasts the timeout by 5 seconds.
const PATIENCE: Duration = Duration::from_secs(3);
/// How often one attempt connects again after the server refused its connection.
const REFUSALS_MAX: u32 = 3;

/// A mail as HTML and as text, with its subject.
#[cfg(test)]
pub(crate) fn render_both(message: &OutboundMessage<'_>) -> (String, String) {
    let content = content::Content::from_message(message);
    (html::render(&content), format!("Subject: {}\n\n{}", content.subject, text::render(&content)))
}

/// An open email channel.
struct EmailNotifier {
    /// Distinguishes the open channels that share a server.
    id: u64,
    pool: Arc<Pool>,
    from: Mailbox,
    recipients: Vec<Address>,
}

#[async_trait]
impl Notifier for EmailNotifier {
    async fn deliver(&self, message: &OutboundMessage<'_>) -> AttemptResult {
        let ledger = RecipientLedger::resume(&self.recipients, message.attempt_state);
        let pending = ledger.pending();
        // Empty if the recipients without a final reply were removed from the channel since the last attempt.
        if pending.is_empty() {
            return ledger.into_result();
        }
        let mail = MimeMessage::compose(message, &self.from);
        Submission { notifier: self, message, mail, pending, next: 0, ledger }.run().await
    }

    fn render(&self, message: &OutboundMessage<'_>) -> Result<Rendered, String> {
        let content = content::Content::from_message(message);
        Ok(Rendered::Mail(RenderedMail {
            from: self.from.to_string(),
            recipients: self.recipients.iter().map(ToString::to_string).collect(),
            text: text::render(&content),
            html: html::render(&content),
            subject: content.subject,
        }))
    }
}

/// One attempt: a mail on its way to the recipients that have no final reply yet.
struct Submission<'a> {
    notifier: &'a EmailNotifier,
    message: &'a OutboundMessage<'a>,
    mail: MimeMessage,
    /// Indexes of recipients; those before `next` are done.
    pending: Vec<usize>,
    next: usize,
    ledger: RecipientLedger,
}

/// How the use of a connection ended.
enum End {
    /// Every recipient has a reply, or an error was recorded.
    Done,
    /// The server refused the connection (421): it is not to be used for now.
    Refused(SmtpError),
}

impl Submission<'_> {
    async fn run(mut self) -> AttemptResult {
        let is_test = self.is_test();
        let begun = Instant::now();
        let mut patience = if is_test { self.message.timeout } else { PATIENCE };
        let mut deadline = None;
        let mut refused: Option<SmtpError> = None;
        let mut refusals = 0;
        let turn = Turn { workspace_id: self.message.event.workspace_id, channel: self.notifier.id };
        let pool = &self.notifier.pool;
        loop {
            let waiting_since = Instant::now();
            let reason = match (is_test, refusals) {
                (true, _) => Reason::Test,
                (false, 0) => Reason::Delivery,
                (false, _) => Reason::Again,
            };
            let acquired = pool.acquire(turn, patience, reason).await;
            let waited = waiting_since.elapsed();
            patience = patience.saturating_sub(waited);
            let permit = match acquired {
                Ok(permit) => permit,
                // The server answered nothing yet: this was no attempt.
                Err(come_again) if !is_test && refused.is_none() && self.next == 0 => {
                    return AttemptResult::not_started(u64::try_from(come_again.as_millis()).unwrap_or(u64::MAX));
                }
                Err(_) => {
                    let busy = || SmtpError::new(ErrorClass::Timeout, "all connections to the SMTP server are in use");
                    let error = refused.unwrap_or_else(busy);
                    self.ledger.record_error(None, error);
                    return self.ledger.into_result();
                }
            };
            // Waiting is no part of the timeout, except for a test, whose result a person waits for.
            let until = match deadline {
                _ if is_test => begun + self.message.timeout,
                None => Instant::now() + self.message.timeout,
                Some(until) => until + waited,
            };
            deadline = Some(until);
            match self.use_connection(permit, until).await {
                End::Done => return self.ledger.into_result(),
                End::Refused(error) => {
                    refusals += 1;
                    if is_test || refusals >= REFUSALS_MAX {
                        self.ledger.record_error(self.recipient(), error);
                        return self.ledger.into_result();
                    }
                    refused = Some(error);
                }
            }
        }
    }

    /// A person waits for the result of a test, which is one attempt whatever happens.
    fn is_test(&self) -> bool {
        self.message.event.kind == EventKind::ChannelTest
    }

    /// The recipient whose turn it is.
    fn recipient(&self) -> Option<usize> {
        self.pending.get(self.next).copied()
    }

    /// Submits the mail to the recipients that are left, over one connection if possible.
    ///
    /// A verdict over a connection that an earlier delivery left may be about that connection, such as too many mails
    /// over it. It counts only if a fresh one confirms it.
    async fn use_connection(&mut self, mut permit: Permit, deadline: Instant) -> End {
        let mut dial = self.message.dial_options();
        // A test shows what works now, not what worked when the connection was opened. A retry may use a kept one.
        let mut session = if self.is_test() { permit.abandon().await } else { permit.resume(deadline).await };
        let mut is_kept = session.is_some();
        loop {
            let mut open = match session.take() {
                Some(session) => session,
                None => match permit.open(dial, deadline).await {
                    Ok(session) => session,
                    Err(error) if error.code == Some(421) => {
                        // Before the permit goes to the next in turn, which would be refused, too.
                        self.notifier.pool.refuse();
                        return End::Refused(error);
                    }
                    Err(error) => {
                        self.ledger.record_error(None, error);
                        return End::Done;
                    }
                },
            };
            let Some(index) = self.recipient() else {
                permit.finish(open);
                return End::Done;
            };
            match self.submit(&mut open, index).await {
                Ok(reply) if reply.is_positive() => {
                    self.notifier.pool.accept();
                    self.ledger.record_reply(index, &reply);
                    self.next += 1;
                    session = Some(open);
                }
                Ok(_) if is_kept => {
                    permit.discard(open).await;
                    (is_kept, dial.fresh) = (false, true);
                }
                Ok(reply) => {
                    self.ledger.record_reply(index, &reply);
                    self.next += 1;
                    session = Some(open);
                }
                Err(error) => {
                    // 421 after some mails means no more over this connection.
                    let is_spent = is_kept || error.code == Some(421) && open.has_delivered();
                    let is_repeatable = is_spent && (error.code.is_some() || !error.is_outcome_unknown);
                    // QUIT only if the server is still responding: otherwise it would wait on a dead connection.
                    if error.code.is_some() && error.code != Some(421) {
                        permit.discard(open).await;
                    } else {
                        drop(open);
                        permit.forget();
                    }
                    if is_repeatable {
                        (is_kept, dial.fresh) = (false, true);
                        continue;
                    }
                    if error.code == Some(421) {
                        self.notifier.pool.refuse();
                        return End::Refused(error);
                    }
                    self.ledger.record_error(Some(index), error);
                    return End::Done;
                }
            }
        }
    }

    async fn submit(&self, session: &mut Session, index: usize) -> Result<Reply, SmtpError> {
        let to = &self.notifier.recipients[index];
        let bytes = self.mail.to(to).map_err(|error| {
            SmtpError::new(ErrorClass::Configuration, format!("the mail cannot be composed: {error}"))
        })?;
        session.transaction(&self.notifier.from.email, to, &bytes).await
    }
}

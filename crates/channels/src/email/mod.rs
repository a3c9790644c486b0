//! Email: a message as a MIME mail, submitted to an SMTP server in one transaction per recipient.
//!
//! A message becomes `content` (sanitised text, independent of the format), content becomes a MIME message (`compose`,
//! from `text` and `html`), a `session` submits it over the `wire`, and a `ledger` records the reply for each
//! recipient, so that a retry only addresses those without a final reply.
//!
//! One transaction per recipient: with several in one, a refusal after `DATA` could not be attributed to any of them.
//!
//! Deliberately absent: connection pooling (mails are few, and servers close idle connections), and pipelining.

mod address;
mod compose;
mod config;
mod content;
mod entries;
mod html;
mod ledger;
mod relay;
mod sanitize;
mod server;
mod session;
mod text;
mod wire;

use std::sync::Arc;

use async_trait::async_trait;
use lettre::Address;
use serde_json::{Map, Value};
use tidings_domain::channel::ChannelType;
use tidings_domain::violation::Violations;
use tokio::time::Instant;

pub use config::RECIPIENTS_MAX;
pub use relay::RelayConfig;

use crate::egress::Egress;
use crate::{
    AttemptResult, ChannelConfig, ChannelContext, ChannelPlugin, ErrorClass, Field, Notifier, OutboundMessage,
};
use compose::MimeMessage;
use ledger::RecipientLedger;
use server::Server;
use session::Session;
use wire::SmtpError;

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
        Ok(Arc::new(EmailNotifier { egress: context.egress.clone(), server, recipients: settings.recipients }))
    }
}

/// An open email channel.
struct EmailNotifier {
    egress: Arc<Egress>,
    server: Server,
    recipients: Vec<Address>,
}

#[async_trait]
impl Notifier for EmailNotifier {
    async fn deliver(&self, message: &OutboundMessage<'_>) -> AttemptResult {
        let mut ledger = RecipientLedger::resume(&self.recipients, message.attempt_state);
        let pending = ledger.pending();
        // Empty if the recipients without a final reply were removed from the channel since the last attempt.
        if !pending.is_empty() {
            self.send_all(message, &pending, &mut ledger).await;
        }
        ledger.into_result()
    }
}

impl EmailNotifier {
    /// Submits the mail for each of these recipients (by index) over one connection, and records the replies.
    async fn send_all(&self, message: &OutboundMessage<'_>, pending: &[usize], ledger: &mut RecipientLedger) {
        let deadline = Instant::now() + message.timeout;
        let mut session = match Session::open(&self.server, &self.egress, message.dial_options(), deadline).await {
            Ok(session) => session,
            Err(error) => return ledger.record_error(None, error),
        };
        let mail = MimeMessage::compose(message, &self.server.from);
        for &index in pending {
            if let Err(error) = self.submit(&mut session, &mail, index, ledger).await {
                // QUIT only if the server is still responding: otherwise it would wait on a dead connection.
                let has_reply = error.code.is_some();
                ledger.record_error(Some(index), error);
                if has_reply {
                    break;
                }
                return;
            }
        }
        session.close().await;
    }

    async fn submit(
        &self,
        session: &mut Session,
        mail: &MimeMessage,
        index: usize,
        ledger: &mut RecipientLedger,
    ) -> Result<(), SmtpError> {
        let to = &self.recipients[index];
        let bytes = mail.to(to).map_err(|error| {
            SmtpError::new(ErrorClass::Configuration, format!("the mail cannot be composed: {error}"))
        })?;
        let reply = session.transaction(&self.server.from.email, to, &bytes).await?;
        ledger.record_reply(index, &reply);
        Ok(())
    }
}

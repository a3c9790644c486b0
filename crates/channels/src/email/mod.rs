//! Email: a letter as a mail, handed to an SMTP server, one transaction a recipient.
//!
//! In the way of an event this is one of the last steps. A letter becomes [`content`], content becomes a mail
//! ([`compose`] of [`text`] and [`html`]), a [`session`] hands it in over the [`wire`], and an [`outcome`] keeps what
//! became of it for each recipient, so that only those are tried again who are not served yet.
//!
//! Deliberately absent: a pool of connections (mails are few, and servers close idle ones), and pipelining.

mod address;
mod clean;
mod compose;
mod config;
mod content;
mod entries;
mod failure;
mod html;
mod instance;
mod outcome;
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
pub use instance::RelayConfig;

use crate::egress::Egress;
use crate::{
    AttemptResult, ChannelConfig, ChannelContext, ChannelPlugin, ErrorClass, Field, Notifier, OutboundMessage,
};
use compose::Mail;
use failure::Failure;
use outcome::Ledger;
use server::Server;
use session::Session;

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
        environment: &ChannelContext,
    ) -> Result<ChannelConfig, Violations> {
        config::check(input, current, environment)
    }

    fn open(&self, stored: &ChannelConfig, environment: &ChannelContext) -> Result<Arc<dyn Notifier>, String> {
        let settings = config::open(stored)?;
        let server = match (settings.server, &environment.mail) {
            (Some(own), _) => own,
            (None, Some(mail)) => mail.server.clone(),
            (None, None) => return Err(config::NO_SERVER.into()),
        };
        Ok(Arc::new(Mailer { egress: environment.egress.clone(), server, recipients: settings.recipients }))
    }
}

/// Sends mails to the recipients of one channel.
struct Mailer {
    egress: Arc<Egress>,
    server: Server,
    recipients: Vec<Address>,
}

#[async_trait]
impl Notifier for Mailer {
    async fn deliver(&self, letter: &OutboundMessage<'_>) -> AttemptResult {
        let mut ledger = Ledger::resume(&self.recipients, letter.attempt_state);
        let open = ledger.open();
        if !open.is_empty() {
            self.serve(letter, &open, &mut ledger).await;
        }
        ledger.report()
    }
}

impl Mailer {
    /// Hands in the mail for each of these recipients, and notes what became of it.
    async fn serve(&self, letter: &OutboundMessage<'_>, open: &[usize], ledger: &mut Ledger) {
        let mut session = match Session::open(&self.server, &self.egress, Instant::now() + letter.timeout).await {
            Ok(session) => session,
            Err(failure) => return ledger.fail(None, failure),
        };
        let mail = Mail::compose(letter, &self.server.from);
        for &at in open {
            if let Err(failure) = self.hand_in(&mut session, &mail, at, ledger).await {
                // One who answered is still there to be said goodbye to.
                let answered = failure.code.is_some();
                ledger.fail(Some(at), failure);
                if answered {
                    break;
                }
                return;
            }
        }
        session.close().await;
    }

    async fn hand_in(&self, session: &mut Session, mail: &Mail, at: usize, ledger: &mut Ledger) -> Result<(), Failure> {
        let to = &self.recipients[at];
        let bytes = mail.to(to).map_err(|error| {
            Failure::new(ErrorClass::Configuration, format!("the mail cannot be composed: {error}"))
        })?;
        let reply = session.transaction(&self.server.from.email, to, &bytes).await?;
        ledger.decide(at, &reply);
        Ok(())
    }
}

//! The state of a mail's delivery per recipient, over all attempts. Only recipients without a final reply are retried.
//!
//! Between attempts it is kept in [`AttemptResult::attempt_state`]. The delivery succeeds when no recipient is left to
//! retry and at least one accepted; it fails for good when all were refused.

use lettre::Address;
use serde::{Deserialize, Serialize};
use tidings_domain::text::truncate_bytes;

use super::wire::{Reply, SmtpError};
use crate::attempt::EXCERPT_BYTES_MAX;
use crate::{AttemptResult, ErrorClass};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RecipientStatus {
    /// Not attempted yet.
    Waiting,
    /// The server accepted the mail.
    Accepted,
    /// The server refused it for good (5xx).
    Refused,
    /// The server refused it for now (4xx), or its reply was lost.
    Deferred,
}

impl RecipientStatus {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "not tried",
            Self::Accepted => "accepted",
            Self::Refused => "refused",
            Self::Deferred => "deferred",
        }
    }

    const fn is_final(self) -> bool {
        matches!(self, Self::Accepted | Self::Refused)
    }
}

/// One recipient's state, as it is serialised into the attempt state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct RecipientState {
    to: String,
    status: RecipientStatus,
    /// The last reply or error; empty before the first attempt.
    detail: String,
}

/// The state of all recipients of one delivery.
#[derive(Debug)]
pub(super) struct RecipientLedger {
    recipients: Vec<RecipientState>,
    /// What ended this attempt's session early.
    error: Option<SmtpError>,
    last_code: Option<u16>,
}

impl RecipientLedger {
    /// Continues from the last attempt's state. The channel may have been edited in between: added recipients are waiting,
    /// removed ones are dropped.
    pub(super) fn resume(recipients: &[Address], attempt_state: Option<&str>) -> Self {
        let known: Vec<RecipientState> =
            attempt_state.and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default();
        let recipients = recipients.iter().map(|address| {
            let to = address.to_string();
            match known.iter().find(|recipient| recipient.to == to) {
                Some(recipient) => recipient.clone(),
                None => RecipientState { to, status: RecipientStatus::Waiting, detail: String::new() },
            }
        });
        Self { recipients: recipients.collect(), error: None, last_code: None }
    }

    /// The recipients to attempt, by index.
    pub(super) fn pending(&self) -> Vec<usize> {
        let is_final = |index: &usize| self.recipients[*index].status.is_final();
        let mut pending: Vec<usize> = (0..self.recipients.len()).filter(|index| !is_final(index)).collect();
        // Untried ones first: a recipient that makes the server drop the connection each time must not block the others.
        pending.sort_by_key(|index| self.recipients[*index].status == RecipientStatus::Deferred);
        pending
    }

    /// Records the reply that decided about this recipient.
    pub(super) fn record_reply(&mut self, index: usize, reply: &Reply) {
        let status = match reply.code {
            ..300 => RecipientStatus::Accepted,
            300..500 => RecipientStatus::Deferred,
            _ => RecipientStatus::Refused,
        };
        self.last_code = Some(reply.code);
        self.recipients[index] = RecipientState { status, detail: reply.describe(), ..self.recipients[index].clone() };
    }

    /// Records what ended the session, in this recipient's transaction if in any.
    pub(super) fn record_error(&mut self, index: Option<usize>, error: SmtpError) {
        // A rejection of the sender or of the credentials concerns every recipient that is left.
        let permanent = error.class == ErrorClass::Rejected;
        for (at, recipient) in self.recipients.iter_mut().enumerate().filter(|(_, r)| !r.status.is_final()) {
            let attempted = index == Some(at);
            if permanent {
                recipient.status = RecipientStatus::Refused;
            } else if attempted {
                // The reply may have been lost after the server accepted: deferred can mean a duplicate, never a loss.
                recipient.status = RecipientStatus::Deferred;
            }
            // A recipient deferred earlier keeps its own reply, which is more specific.
            if permanent || attempted || recipient.status == RecipientStatus::Waiting {
                recipient.detail.clone_from(&error.message);
            }
        }
        self.last_code = error.code.or(self.last_code);
        self.error = Some(error);
    }

    fn count(&self, status: RecipientStatus) -> usize {
        self.recipients.iter().filter(|recipient| recipient.status == status).count()
    }

    /// The result of this attempt.
    pub(super) fn into_result(self) -> AttemptResult {
        let pending = self.count(RecipientStatus::Waiting) + self.count(RecipientStatus::Deferred);
        let mut result = if pending > 0 {
            let class = self.error.as_ref().map_or(ErrorClass::Status, |error| error.class);
            let attempt_state = serde_json::to_string(&self.recipients).ok();
            AttemptResult {
                attempt_state,
                ..AttemptResult::retry(class, self.describe_error(RecipientStatus::Deferred))
            }
        } else if self.count(RecipientStatus::Accepted) > 0 {
            AttemptResult::delivered(None, None)
        } else {
            AttemptResult::permanent_failure(ErrorClass::Rejected, self.describe_error(RecipientStatus::Refused))
        };
        result.http_status = self.last_code;
        result.response_body = Some(truncate_bytes(&self.format_list(), EXCERPT_BYTES_MAX));
        result
    }

    /// The session's error, or the reply about the first recipient of this status; with the number of recipients affected.
    fn describe_error(&self, status: RecipientStatus) -> String {
        let total = self.recipients.len();
        let first = self.recipients.iter().find(|recipient| recipient.status == status);
        let (message, affected) = match (&self.error, first) {
            (Some(error), _) => {
                let settled = self.recipients.iter().filter(|recipient| recipient.status.is_final()).count();
                (error.message.clone(), total - settled)
            }
            (None, Some(recipient)) => {
                let message = format!("{} was {}: {}", recipient.to, status.as_str(), recipient.detail);
                (message, self.count(status))
            }
            (None, None) => ("the channel has no recipients left".to_owned(), 0),
        };
        if total > 1 && affected > 0 { format!("{message} ({affected} of {total} recipients)") } else { message }
    }

    /// One line per recipient.
    fn format_list(&self) -> String {
        let lines = self.recipients.iter().map(|recipient| match recipient.detail.as_str() {
            "" => format!("{}: {}", recipient.to, recipient.status.as_str()),
            detail => format!("{}: {} ({detail})", recipient.to, recipient.status.as_str()),
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod tests;

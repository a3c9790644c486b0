//! What became of a mail, recipient by recipient, over all tries: only the deferred are tried again.
//!
//! Between tries it lies in [`AttemptResult::carry`]. A mail is delivered when any recipient's was accepted and none is left
//! to try; it is dead when all were refused.

use lettre::Address;
use serde::{Deserialize, Serialize};
use tidings_domain::text::truncate_bytes;

use super::failure::Failure;
use super::wire::Reply;
use crate::report::EXCERPT_BYTES_MAX;
use crate::{AttemptResult, ErrorClass};

/// Where a recipient stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum State {
    /// Its turn did not come.
    Waiting,
    /// The server took its mail.
    Accepted,
    /// The server will never take it.
    Refused,
    /// The server may take it another time, or what it did is not known.
    Deferred,
}

impl State {
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

/// What is known of one recipient.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    to: String,
    state: State,
    words: String,
}

/// What became of the mail so far.
#[derive(Debug)]
pub(super) struct Ledger {
    entries: Vec<Entry>,
    failure: Option<Failure>,
    last_code: Option<u16>,
}

impl Ledger {
    /// Goes on where the last try stopped. Recipients that are new since then wait; those that are gone are left out.
    pub(super) fn resume(recipients: &[Address], attempt_state: Option<&str>) -> Self {
        let known: Vec<Entry> = attempt_state.and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default();
        let entries = recipients.iter().map(|address| {
            let to = address.to_string();
            match known.iter().find(|entry| entry.to == to) {
                Some(entry) => entry.clone(),
                None => Entry { to, state: State::Waiting, words: String::new() },
            }
        });
        Self { entries: entries.collect(), failure: None, last_code: None }
    }

    /// Whose turn it is, by position; those whose turn never came go first, so that one recipient at whom the server
    /// always stumbles does not keep the others waiting.
    pub(super) fn open(&self) -> Vec<usize> {
        let mut open: Vec<usize> = (0..self.entries.len()).filter(|at| !self.entries[*at].state.is_final()).collect();
        open.sort_by_key(|at| self.entries[*at].state == State::Deferred);
        open
    }

    /// Notes the reply that decided about this recipient.
    pub(super) fn decide(&mut self, at: usize, reply: &Reply) {
        let state = match reply.code {
            ..300 => State::Accepted,
            300..500 => State::Deferred,
            _ => State::Refused,
        };
        self.last_code = Some(reply.code);
        self.entries[at] = Entry { state, words: reply.describe(), ..self.entries[at].clone() };
    }

    /// Notes that the talk ended, at this recipient if at any.
    pub(super) fn fail(&mut self, at: Option<usize>, failure: Failure) {
        let for_good = failure.class == ErrorClass::Rejected;
        for (index, entry) in self.entries.iter_mut().enumerate().filter(|(_, entry)| !entry.state.is_final()) {
            let reached = at == Some(index);
            if for_good {
                entry.state = State::Refused;
            } else if reached {
                entry.state = State::Deferred;
            }
            // One that was deferred before keeps what was said to it then.
            if for_good || reached || entry.state == State::Waiting {
                entry.words.clone_from(&failure.words);
            }
        }
        self.last_code = failure.code.or(self.last_code);
        self.failure = Some(failure);
    }

    fn count(&self, state: State) -> usize {
        self.entries.iter().filter(|entry| entry.state == state).count()
    }

    /// What this try came to.
    pub(super) fn report(self) -> AttemptResult {
        let open = self.count(State::Waiting) + self.count(State::Deferred);
        let mut report = if open > 0 {
            let class = self.failure.as_ref().map_or(ErrorClass::Status, |failure| failure.class);
            let attempt_state = serde_json::to_string(&self.entries).ok();
            AttemptResult { attempt_state, ..AttemptResult::retry(class, self.error(State::Deferred)) }
        } else if self.count(State::Accepted) > 0 {
            AttemptResult::delivered(None, None)
        } else {
            AttemptResult::permanent_failure(ErrorClass::Rejected, self.error(State::Refused))
        };
        report.http_status = self.last_code;
        report.response_body = Some(truncate_bytes(&self.list(), EXCERPT_BYTES_MAX));
        report
    }

    /// What went wrong: the connection, or what was said to the first of the recipients in this state.
    fn error(&self, state: State) -> String {
        let all = self.entries.len();
        let (words, met) = match (&self.failure, self.entries.iter().find(|entry| entry.state == state)) {
            (Some(failure), _) => {
                (failure.words.clone(), all - self.entries.iter().filter(|e| e.state.is_final()).count())
            }
            (None, Some(entry)) => (format!("{} was {}: {}", entry.to, state.as_str(), entry.words), self.count(state)),
            (None, None) => ("nobody was left to send to".to_owned(), 0),
        };
        if all > 1 && met > 0 { format!("{words} ({met} of {all} recipients)") } else { words }
    }

    /// A line for each recipient.
    fn list(&self) -> String {
        let lines = self.entries.iter().map(|entry| match entry.words.as_str() {
            "" => format!("{}: {}", entry.to, entry.state.as_str()),
            words => format!("{}: {} ({words})", entry.to, entry.state.as_str()),
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
#[path = "outcome_tests.rs"]
mod tests;

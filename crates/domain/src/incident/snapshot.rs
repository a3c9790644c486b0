//! The outage as an event tells it: an incident as it stood then. It goes with the event, so that a message says the same
//! whenever it is sent.

use serde::{Deserialize, Serialize};

use super::{Cause, Incident, IncidentStatus};
use crate::id::ChannelId;
use crate::severity::Severity;
use crate::time::Timestamp;

/// A fact of the source's own, such as a label of an alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubjectField {
    /// What it is.
    pub label: String,
    /// What it says.
    pub value: String,
}

/// An incident as it stood when the event was made. Its id is the event's run id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IncidentSnapshot {
    /// The name of what is out of order, for people.
    pub name: String,
    /// Where it is, as far as that is no secret: the URL, or `host:port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Where a person can look at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// Why; the worst so far.
    pub cause: Cause,
    /// Why, in words, such as `HTTP 502 — expected 200`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// How bad the incident is now; see [`super::IncidentTrigger::severity`] for the event.
    pub severity: Severity,
    /// When it was opened.
    pub started_at: Timestamp,
    /// When the first failing check of the streak that opened it was.
    pub failing_since: Timestamp,
    /// When it was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved_at: Option<Timestamp>,
    /// When this happened.
    pub at: Timestamp,
    /// Openings and resolutions within the window, if it is flapping.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes: Option<u32>,
    /// The channel that this step of the escalation tells. Nobody else hears of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub escalates_to: Option<ChannelId>,
    /// Who brought it about, if somebody did: as people know them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// The source's own facts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<SubjectField>,
    /// Words of the user's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
}

impl IncidentSnapshot {
    /// Whether it went on.
    pub const fn status(&self) -> IncidentStatus {
        match self.resolved_at {
            None => IncidentStatus::Active,
            Some(_) => IncidentStatus::Resolved,
        }
    }

    /// How long it lasted by then, in milliseconds, from the first failing check on.
    pub const fn lasted_ms(&self) -> u64 {
        let until = match self.resolved_at {
            Some(resolved_at) => resolved_at,
            None => self.at,
        };
        until.since_ms(self.failing_since)
    }
}

/// What an incident is about, as messages show it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SubjectInfo {
    /// Its name, for people.
    pub name: String,
    /// Where it is, as far as that is no secret.
    pub url: Option<String>,
    /// Where a person can look at it.
    pub link: Option<String>,
    /// The source's own facts.
    pub fields: Vec<SubjectField>,
    /// Words of the user's own.
    pub tags: Vec<String>,
}

impl Incident {
    /// The incident as it stands at `at`, when something happened to it.
    pub fn snapshot(&self, about: SubjectInfo, at: Timestamp) -> IncidentSnapshot {
        let SubjectInfo { name, url, link, fields, tags } = about;
        IncidentSnapshot {
            name,
            url,
            link,
            cause: self.cause,
            detail: self.cause_detail.clone(),
            severity: self.severity(),
            started_at: self.started_at,
            failing_since: self.failing_since,
            resolved_at: self.resolved_at,
            at,
            changes: None,
            escalates_to: None,
            actor: None,
            fields,
            tags,
        }
    }
}

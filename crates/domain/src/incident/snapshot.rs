//! The snapshot of an incident that its events carry, so that a message has the same content whenever it is sent.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Cause, Incident, IncidentStatus};
use crate::id::ChannelId;
use crate::severity::Severity;
use crate::time::Timestamp;

/// A fact from the alert's source, such as a label of an Alertmanager alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SubjectField {
    pub label: String,
    pub value: String,
}

/// An incident at the time of an event. Its id is the event's run id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IncidentSnapshot {
    /// The name of the incident's subject.
    pub name: String,
    /// The URL or `host:port` of the subject, without secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// A page about the subject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// The worst cause so far.
    pub cause: Cause,
    /// The reason, such as `HTTP 502 — expected 200`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The severity of the incident; see [`super::IncidentTrigger::severity`] for that of the event.
    pub severity: Severity,
    pub started_at: Timestamp,
    /// When the first failing check of the opening streak was made.
    pub failing_since: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved_at: Option<Timestamp>,
    /// The time of the event; of a deferred notification the time at which it was evaluated.
    pub at: Timestamp,
    /// Of a resolution: how the incident ended, if its subject did not recover, such as `endpoint deleted`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolution: Option<String>,
    /// Of an opening: when the incident before it was resolved, if not all of those who were notified of that one were
    /// notified of its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_resolved_at: Option<Timestamp>,
    /// Openings and resolutions within the window, for flapping.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flap_changes: Option<u32>,
    /// The channel of this escalation step. No other channel is notified of the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub escalates_to: Option<ChannelId>,
    /// The display name of the user or API key that caused the event, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// Facts from the source.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<SubjectField>,
    /// Free-form labels of the subject.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
}

impl IncidentSnapshot {
    /// Active unless it was resolved by then.
    pub const fn status(&self) -> IncidentStatus {
        match self.resolved_at {
            None => IncidentStatus::Active,
            Some(_) => IncidentStatus::Resolved,
        }
    }

    /// The duration in milliseconds, from the first failing check to the resolution or the time of the event.
    pub const fn lasted_ms(&self) -> u64 {
        let until = match self.resolved_at {
            Some(resolved_at) => resolved_at,
            None => self.at,
        };
        until.since_ms(self.failing_since)
    }
}

/// The subject of an incident, as messages show it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SubjectInfo {
    pub name: String,
    /// The URL or `host:port`, without secrets.
    pub url: Option<String>,
    /// A page about the subject.
    pub link: Option<String>,
    pub fields: Vec<SubjectField>,
    pub tags: Vec<String>,
}

impl Incident {
    /// The snapshot for an event at `at`.
    pub fn snapshot(&self, subject: SubjectInfo, at: Timestamp) -> IncidentSnapshot {
        let SubjectInfo { name, url, link, fields, tags } = subject;
        IncidentSnapshot {
            name,
            url,
            link,
            cause: self.cause,
            detail: self.cause_detail.clone(),
            severity: self.severity,
            started_at: self.started_at,
            failing_since: self.failing_since,
            resolved_at: self.resolved_at,
            at,
            resolution: None,
            previous_resolved_at: None,
            flap_changes: None,
            escalates_to: None,
            actor: None,
            fields,
            tags,
        }
    }
}

//! The incident: an outage, from its opening to its end.
//!
//! Checks come in one by one; [`streak`] says when they open, worsen or resolve an incident, [`flapping`] when that
//! happens too often, [`schedule`] who is told next while it stays open. What each of them brings about is an event
//! ([`IncidentTrigger`]), which then goes the way of all events.

pub mod flapping;
pub mod reminders;
mod snapshot;
pub mod streak;
mod timeline;
mod trigger;

use serde::{Deserialize, Serialize};

use crate::id::{EndpointId, IncidentId, WorkspaceId};
use crate::resource::ResourceType;
use crate::severity::Severity;
use crate::time::Timestamp;

pub use snapshot::{IncidentSnapshot, SubjectField, SubjectInfo};
pub use timeline::{TimelineEntry, TimelineKind};
pub use trigger::IncidentTrigger;

/// Why there is an incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The endpoint does not do what it is for.
    EndpointDown,
    /// It answers, but not well.
    EndpointDegraded,
    /// Somebody else says so.
    Alert,
}

impl Cause {
    /// Every cause.
    pub const ALL: [Self; 3] = [Self::EndpointDown, Self::EndpointDegraded, Self::Alert];

    /// The word for it in the API, in the store and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EndpointDown => "endpoint_down",
            Self::EndpointDegraded => "endpoint_degraded",
            Self::Alert => "alert",
        }
    }

    /// The cause that this word names.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.as_str() == word)
    }

    /// How bad an incident of this cause is.
    pub const fn severity(self) -> Severity {
        match self {
            Self::EndpointDown => Severity::Critical,
            Self::EndpointDegraded | Self::Alert => Severity::Warning,
        }
    }
}

/// Whether it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IncidentStatus {
    /// It does.
    Active,
    /// It is over.
    Resolved,
}

impl IncidentStatus {
    /// The word for it in the API, in the store and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Resolved => "resolved",
        }
    }

    /// The status that this word names.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Active, Self::Resolved].into_iter().find(|status| status.as_str() == word)
    }
}

/// What is out of order.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Subject {
    /// An endpoint that Tidings watches, or whose checks are reported.
    Endpoint(EndpointId),
    /// Something that only alerts from outside tell of, by the caller's own id.
    Alert(String),
}

impl Subject {
    /// Its resource type.
    pub const fn resource_type(&self) -> ResourceType {
        match self {
            Self::Endpoint(_) => ResourceType::Endpoint,
            Self::Alert(_) => ResourceType::Alert,
        }
    }

    /// Its resource id.
    pub fn resource_id(&self) -> String {
        match self {
            Self::Endpoint(id) => id.to_string(),
            Self::Alert(id) => id.clone(),
        }
    }

    /// Reads what [`Self::resource_type`] and [`Self::resource_id`] wrote.
    pub fn parse(resource_type: ResourceType, resource_id: &str) -> Option<Self> {
        match resource_type {
            ResourceType::Endpoint => resource_id.parse().ok().map(Self::Endpoint),
            ResourceType::Alert => Some(Self::Alert(resource_id.to_owned())),
            _ => None,
        }
    }
}

/// An outage. Its id is the run id of its events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incident {
    /// Its id.
    pub id: IncidentId,
    /// The workspace it belongs to.
    pub workspace_id: WorkspaceId,
    /// What is out of order.
    pub subject: Subject,
    /// Why; the worst so far.
    pub cause: Cause,
    /// Why, in words, such as `HTTP 502 — expected 200`; those of the check that set the cause.
    pub cause_detail: Option<String>,
    /// How bad it was when it was opened.
    pub opening_severity: Severity,
    /// When it was opened. Escalation and reminders count from here.
    pub started_at: Timestamp,
    /// When the first failing check of the streak that opened it was; earlier than `started_at` if it takes more than
    /// one.
    pub failing_since: Timestamp,
    /// When it was over.
    pub resolved_at: Option<Timestamp>,
    /// When somebody took it on.
    pub acknowledged_at: Option<Timestamp>,
    /// Who that was: the id of a member or of an API key.
    pub acknowledged_by: Option<String>,
    /// Deliveries of its events that were sent. Survives them.
    pub notifications_sent: u64,
}

/// What an incident is opened with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncidentStart {
    /// What is out of order.
    pub subject: Subject,
    /// Why.
    pub cause: Cause,
    /// Why, in words.
    pub detail: Option<String>,
    /// Since when it has been failing.
    pub failing_since: Timestamp,
    /// When it is opened.
    pub at: Timestamp,
}

impl Incident {
    /// Opens an incident.
    pub fn open(id: IncidentId, workspace_id: WorkspaceId, opening: IncidentStart) -> Self {
        let IncidentStart { subject, cause, detail, failing_since, at } = opening;
        Self {
            id,
            workspace_id,
            subject,
            cause,
            cause_detail: detail,
            opening_severity: cause.severity(),
            started_at: at,
            failing_since: failing_since.min(at),
            resolved_at: None,
            acknowledged_at: None,
            acknowledged_by: None,
            notifications_sent: 0,
        }
    }

    /// Whether it goes on.
    pub const fn status(&self) -> IncidentStatus {
        match self.resolved_at {
            None => IncidentStatus::Active,
            Some(_) => IncidentStatus::Resolved,
        }
    }

    /// How bad it is now: what its escalations, reminders and flapping carry.
    pub const fn severity(&self) -> Severity {
        match self.cause {
            Cause::EndpointDown => Severity::Critical,
            Cause::EndpointDegraded | Cause::Alert => self.opening_severity,
        }
    }

    /// Whether escalation and reminders go on: it is active, and nobody has taken it on.
    pub const fn is_unacknowledged(&self) -> bool {
        self.resolved_at.is_none() && self.acknowledged_at.is_none()
    }

    /// The incident after its endpoint went from degraded to down; `None` if that changes nothing.
    #[must_use]
    pub fn worsened(&self, detail: Option<String>) -> Option<Self> {
        let changes = self.resolved_at.is_none() && self.cause == Cause::EndpointDegraded;
        changes.then(|| Self { cause: Cause::EndpointDown, cause_detail: detail, ..self.clone() })
    }

    /// The incident after somebody took it on; `None` if it is over, or somebody has already.
    #[must_use]
    pub fn acknowledged(&self, by: &str, at: Timestamp) -> Option<Self> {
        self.is_unacknowledged().then(|| Self {
            acknowledged_at: Some(at),
            acknowledged_by: Some(by.to_owned()),
            ..self.clone()
        })
    }

    /// The incident after its end; `None` if it is over already.
    #[must_use]
    pub fn resolved(&self, at: Timestamp) -> Option<Self> {
        // A clock that was set back does not make an outage of negative length.
        self.resolved_at.is_none().then(|| Self { resolved_at: Some(at.max(self.started_at)), ..self.clone() })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::id::Id;

    /// The instant so many seconds after the opening of [`incident`].
    pub(crate) fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_ms(1_777_694_400_000 + seconds * 1000)
    }

    /// An active incident that opened at second 0.
    pub(crate) fn incident(cause: Cause) -> Incident {
        let opening = IncidentStart {
            subject: Subject::Endpoint(EndpointId::from_bytes([7; 16])),
            cause,
            detail: Some("HTTP 502 — expected 200".into()),
            failing_since: at(-120),
            at: at(0),
        };
        Incident::open(IncidentId::from_bytes([8; 16]), WorkspaceId::from_bytes([2; 16]), opening)
    }

    #[test]
    fn words_read_back() {
        for cause in Cause::ALL {
            assert_eq!(Cause::parse(cause.as_str()), Some(cause));
            assert_eq!(serde_json::to_value(cause).unwrap(), cause.as_str());
        }
        for status in [IncidentStatus::Active, IncidentStatus::Resolved] {
            assert_eq!(IncidentStatus::parse(status.as_str()), Some(status));
        }
        for subject in [incident(Cause::Alert).subject, Subject::Alert("disk:/var".into())] {
            assert_eq!(Subject::parse(subject.resource_type(), &subject.resource_id()), Some(subject));
        }
        assert_eq!(Subject::parse(ResourceType::Flow, "f1"), None);
        assert_eq!(Subject::parse(ResourceType::Endpoint, "f1"), None);
    }

    #[test]
    fn an_incident_worsens_once_and_keeps_its_opening() {
        let opened = incident(Cause::EndpointDegraded);
        assert_eq!((opened.status(), opened.severity()), (IncidentStatus::Active, Severity::Warning));
        let worse = opened.worsened(Some("timed out".into())).unwrap();
        assert_eq!((worse.cause, worse.severity()), (Cause::EndpointDown, Severity::Critical));
        assert_eq!((worse.opening_severity, worse.started_at), (Severity::Warning, opened.started_at));
        assert_eq!(worse.worsened(None), None);
        assert_eq!(incident(Cause::Alert).worsened(None), None);
        assert_eq!(opened.resolved(at(1)).unwrap().worsened(None), None);
    }

    #[test]
    fn the_first_to_take_it_on_is_remembered() {
        let taken = incident(Cause::EndpointDown).acknowledged("usr_1", at(60)).unwrap();
        assert_eq!((taken.acknowledged_by.as_deref(), taken.acknowledged_at), (Some("usr_1"), Some(at(60))));
        assert_eq!(taken.status(), IncidentStatus::Active);
        assert_eq!(taken.acknowledged("usr_2", at(61)), None);
        let over = incident(Cause::EndpointDown).resolved(at(60)).unwrap();
        assert_eq!(over.acknowledged("usr_1", at(61)), None);
        assert_eq!(
            (over.status(), over.resolved_at, over.resolved(at(70))),
            (IncidentStatus::Resolved, Some(at(60)), None)
        );
        assert_eq!(incident(Cause::EndpointDown).resolved(at(-5)).unwrap().resolved_at, Some(at(0)));
        assert!(taken.resolved(at(61)).is_some());
    }
}

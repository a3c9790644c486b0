//! Incidents: outages of endpoints and alerts from external sources, from opening to resolution.
//!
//! [`streak`] decides after each check whether it opens, worsens or resolves an incident; [`episode`] whether the report of
//! an alert does; [`flapping`] whether that
//! happens too often; [`reminders`] when the next escalation step or reminder of an open incident is due. Each of these
//! transitions becomes an event with an [`IncidentTrigger`], which passes through the event pipeline. An event carries
//! an [`IncidentSnapshot`]; the incident itself keeps a timeline of [`TimelineEntry`]s.

pub mod episode;
pub mod flapping;
mod notified;
pub mod reminders;
mod snapshot;
pub mod streak;
mod timeline;
mod trigger;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::access::Actor;
use crate::id::{EndpointId, IncidentId, WorkspaceId};
use crate::resource::ResourceType;
use crate::severity::Severity;
use crate::time::Timestamp;

pub use notified::{Notified, NotifiedBy};
pub use snapshot::{IncidentSnapshot, SubjectField, SubjectInfo};
pub use timeline::{TimelineEntry, TimelineKind};
pub use trigger::IncidentTrigger;

/// Why there is an incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    EndpointDown,
    EndpointDegraded,
    /// An external source reported an alert.
    Alert,
}

impl Cause {
    /// Every cause.
    pub const ALL: [Self; 3] = [Self::EndpointDown, Self::EndpointDegraded, Self::Alert];

    /// The wire name: API, store and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EndpointDown => "endpoint_down",
            Self::EndpointDegraded => "endpoint_degraded",
            Self::Alert => "alert",
        }
    }

    /// Parses a wire name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.as_str() == name)
    }

    /// The severity of an incident that opens with this cause, unless its endpoint or its source sets another.
    pub const fn severity(self) -> Severity {
        match self {
            Self::EndpointDown => Severity::Critical,
            Self::EndpointDegraded | Self::Alert => Severity::Warning,
        }
    }
}

/// Whether an incident is still going on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum IncidentStatus {
    Active,
    Resolved,
}

impl IncidentStatus {
    /// The wire name: API, store and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Resolved => "resolved",
        }
    }

    /// Parses a wire name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Active, Self::Resolved].into_iter().find(|status| status.as_str() == name)
    }
}

/// What an incident is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Subject {
    /// An endpoint that Tidings or an external prober checks.
    Endpoint(EndpointId),
    /// Something that only external alerts report, by the caller's own id.
    Alert(String),
}

impl Subject {
    /// The resource type of its events.
    pub const fn resource_type(&self) -> ResourceType {
        match self {
            Self::Endpoint(_) => ResourceType::Endpoint,
            Self::Alert(_) => ResourceType::Alert,
        }
    }

    /// The resource id of its events.
    pub fn resource_id(&self) -> String {
        match self {
            Self::Endpoint(id) => id.to_string(),
            Self::Alert(id) => id.clone(),
        }
    }

    /// The inverse of [`Self::resource_type`] and [`Self::resource_id`].
    pub fn parse(resource_type: ResourceType, resource_id: &str) -> Option<Self> {
        match resource_type {
            ResourceType::Endpoint => resource_id.parse().ok().map(Self::Endpoint),
            ResourceType::Alert => Some(Self::Alert(resource_id.to_owned())),
            _ => None,
        }
    }
}

/// An incident. Its id is the run id of its events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incident {
    pub id: IncidentId,
    pub workspace_id: WorkspaceId,
    pub subject: Subject,
    /// The worst cause so far.
    pub cause: Cause,
    /// The reason of the check that set the cause, such as `HTTP 502 — expected 200`.
    pub cause_detail: Option<String>,
    /// The current severity, which escalations, reminders and flapping events carry.
    pub severity: Severity,
    /// When the incident opened. Escalation and reminders count from here.
    pub started_at: Timestamp,
    /// When the first failing check of the opening streak was made; earlier than `started_at` if the failure threshold is
    /// above one.
    pub failing_since: Timestamp,
    pub resolved_at: Option<Timestamp>,
    pub acknowledged_at: Option<Timestamp>,
    pub acknowledged_by: Option<Actor>,
    /// Deliveries of its events that were sent. Kept when the deliveries themselves are pruned.
    pub notifications_sent: u64,
}

/// The facts with which an incident opens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncidentStart {
    pub subject: Subject,
    pub cause: Cause,
    pub detail: Option<String>,
    pub failing_since: Timestamp,
    pub at: Timestamp,
}

impl Incident {
    /// Opens an incident with the severity of its cause; callers may set another.
    pub fn open(id: IncidentId, workspace_id: WorkspaceId, start: IncidentStart) -> Self {
        let IncidentStart { subject, cause, detail, failing_since, at } = start;
        Self {
            id,
            workspace_id,
            subject,
            cause,
            cause_detail: detail,
            severity: cause.severity(),
            started_at: at,
            failing_since: failing_since.min(at),
            resolved_at: None,
            acknowledged_at: None,
            acknowledged_by: None,
            notifications_sent: 0,
        }
    }

    /// Active until it is resolved.
    pub const fn status(&self) -> IncidentStatus {
        match self.resolved_at {
            None => IncidentStatus::Active,
            Some(_) => IncidentStatus::Resolved,
        }
    }

    /// Whether escalation and reminders continue: the incident is neither resolved nor acknowledged.
    pub const fn is_unacknowledged(&self) -> bool {
        self.resolved_at.is_none() && self.acknowledged_at.is_none()
    }

    /// The incident after its endpoint went from degraded to down, which has this severity; `None` if that changes
    /// nothing, as once it is down.
    #[must_use]
    pub fn worsened(&self, severity: Severity, detail: Option<String>) -> Option<Self> {
        let can_worsen = self.resolved_at.is_none() && self.cause == Cause::EndpointDegraded;
        can_worsen.then(|| Self { cause: Cause::EndpointDown, cause_detail: detail, severity, ..self.clone() })
    }

    /// The acknowledged incident; `None` if it is resolved or acknowledged already.
    #[must_use]
    pub fn acknowledged(&self, by: &Actor, at: Timestamp) -> Option<Self> {
        self.is_unacknowledged().then(|| Self {
            acknowledged_at: Some(at),
            acknowledged_by: Some(by.clone()),
            ..self.clone()
        })
    }

    /// The resolved incident; `None` if it is resolved already.
    #[must_use]
    pub fn resolved(&self, at: Timestamp) -> Option<Self> {
        // If the clock was set back, the incident must not end before it started.
        self.resolved_at.is_none().then(|| Self { resolved_at: Some(at.max(self.started_at)), ..self.clone() })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::id::{Id, UserId};

    /// The instant `seconds` after the opening of [`incident`].
    pub(crate) fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_ms(1_777_694_400_000 + seconds * 1000)
    }

    /// An active incident that opened at second 0.
    pub(crate) fn incident(cause: Cause) -> Incident {
        let start = IncidentStart {
            subject: Subject::Endpoint(EndpointId::from_bytes([7; 16])),
            cause,
            detail: Some("HTTP 502 — expected 200".into()),
            failing_since: at(-120),
            at: at(0),
        };
        Incident::open(IncidentId::from_bytes([8; 16]), WorkspaceId::from_bytes([2; 16]), start)
    }

    #[test]
    fn wire_names_round_trip() {
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
    fn incident_worsens_once_and_takes_the_severity_of_down() {
        let opened = incident(Cause::EndpointDegraded);
        assert_eq!((opened.status(), opened.severity), (IncidentStatus::Active, Severity::Warning));
        let worse = opened.worsened(Severity::Critical, Some("timed out".into())).unwrap();
        assert_eq!((worse.cause, worse.severity), (Cause::EndpointDown, Severity::Critical));
        assert_eq!(worse.started_at, opened.started_at);
        assert_eq!(opened.worsened(Severity::Info, None).unwrap().severity, Severity::Info, "of a minor endpoint");
        assert_eq!(worse.worsened(Severity::Critical, None), None);
        assert_eq!(incident(Cause::Alert).worsened(Severity::Critical, None), None);
        assert_eq!(opened.resolved(at(1)).unwrap().worsened(Severity::Critical, None), None);
    }

    #[test]
    fn first_acknowledgement_and_first_resolution_win() {
        let ana = Actor::user(UserId::from_bytes([4; 16]), "Ana");
        let acknowledged = incident(Cause::EndpointDown).acknowledged(&ana, at(60)).unwrap();
        assert_eq!((&acknowledged.acknowledged_by, acknowledged.acknowledged_at), (&Some(ana.clone()), Some(at(60))));
        assert_eq!(acknowledged.status(), IncidentStatus::Active);
        assert_eq!(acknowledged.acknowledged(&Actor::system(), at(61)), None);
        let resolved = incident(Cause::EndpointDown).resolved(at(60)).unwrap();
        assert_eq!(resolved.acknowledged(&ana, at(61)), None);
        assert_eq!(
            (resolved.status(), resolved.resolved_at, resolved.resolved(at(70))),
            (IncidentStatus::Resolved, Some(at(60)), None)
        );
        assert_eq!(incident(Cause::EndpointDown).resolved(at(-5)).unwrap().resolved_at, Some(at(0)));
        assert!(acknowledged.resolved(at(61)).is_some());
    }
}

//! Triggers, i.e. what caused an event, and trigger types, i.e. how a run was started. Rules filter by both.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::incident::IncidentTrigger;
use crate::resource::ResourceType;

/// What caused an event. Together with the resource and the run (or incident) it identifies the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Trigger {
    /// A run succeeded.
    Success,
    /// A run failed.
    Failure,
    /// A transition of an incident.
    Incident(IncidentTrigger),
}

impl Trigger {
    /// The triggers of runs, in documentation order.
    pub const OF_RUNS: [Self; 2] = [Self::Success, Self::Failure];

    /// The wire name: API, webhook bodies and store. `success`, `opened`, `escalated:900`, …
    pub fn wire_name(self) -> Cow<'static, str> {
        match self {
            Self::Success => Cow::Borrowed("success"),
            Self::Failure => Cow::Borrowed("failure"),
            Self::Incident(trigger) => trigger.wire_name(),
        }
    }

    /// Parses a wire name.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "success" => Some(Self::Success),
            "failure" => Some(Self::Failure),
            _ => IncidentTrigger::parse(name).map(Self::Incident),
        }
    }

    /// Parses the wire name of a run's trigger.
    pub fn parse_run(name: &str) -> Option<Self> {
        Self::parse(name).filter(|trigger| Self::OF_RUNS.contains(trigger))
    }

    /// The class by which rules and channels filter. Reminders and flapping report an ongoing problem and belong to
    /// openings; the end of flapping belongs to resolutions; a worsened incident belongs to escalations.
    pub const fn class(self) -> RuleTrigger {
        match self {
            Self::Success => RuleTrigger::Success,
            Self::Failure => RuleTrigger::Failure,
            Self::Incident(IncidentTrigger::Opened | IncidentTrigger::Reminder { .. } | IncidentTrigger::Flapping) => {
                RuleTrigger::Opened
            }
            Self::Incident(IncidentTrigger::Worsened | IncidentTrigger::Escalated { .. }) => RuleTrigger::Escalated,
            Self::Incident(IncidentTrigger::Resolved | IncidentTrigger::Stable) => RuleTrigger::Resolved,
        }
    }
}

/// A class of triggers, as rules list them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RuleTrigger {
    Success,
    Failure,
    /// Openings, reminders and flapping.
    Opened,
    /// Resolutions, and the end of flapping.
    Resolved,
    /// Escalations, and incidents that worsened.
    Escalated,
}

impl RuleTrigger {
    /// The classes for rules about runs, in documentation order.
    pub const OF_RUNS: [Self; 2] = [Self::Success, Self::Failure];
    /// The classes for rules about endpoints and alerts.
    pub const OF_INCIDENTS: [Self; 3] = [Self::Opened, Self::Resolved, Self::Escalated];

    /// The classes that a rule about this resource type can list.
    pub const fn allowed_for(resource_type: ResourceType) -> &'static [Self] {
        if resource_type.has_incidents() { &Self::OF_INCIDENTS } else { &Self::OF_RUNS }
    }

    /// The wire name: API and store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Opened => "opened",
            Self::Resolved => "resolved",
            Self::Escalated => "escalated",
        }
    }

    /// Parses the wire name of a class that a rule about this resource type can list.
    pub fn parse(resource_type: ResourceType, name: &str) -> Option<Self> {
        Self::allowed_for(resource_type).iter().copied().find(|trigger| trigger.as_str() == name)
    }

    /// The event name in the webhooks of use cases; `None` for classes of incidents.
    pub const fn workflow_event(self) -> Option<&'static str> {
        match self {
            Self::Success => Some("workflow.completed"),
            Self::Failure => Some("workflow.failed"),
            Self::Opened | Self::Resolved | Self::Escalated => None,
        }
    }

    /// The inverse of [`Self::workflow_event`].
    pub fn from_workflow_event(name: &str) -> Option<Self> {
        Self::OF_RUNS.into_iter().find(|trigger| trigger.workflow_event() == Some(name))
    }
}

/// How a run was started: `scheduled`, `manual`, `chat`, `api`, `backfill` or another name chosen by the caller.
///
/// On input, `schedule` is a synonym of `scheduled`, `in_app` and `in-app` of `manual`, and capitals are small letters.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TriggerType(String);

impl TriggerType {
    /// Parses a name: 1 to 40 of letters without accents, `0-9`, `_` and `-`.
    pub fn parse(name: &str) -> Option<Self> {
        let is_valid = (1..=40).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
        is_valid.then(|| {
            let name = name.to_ascii_lowercase();
            Self(match name.as_str() {
                "schedule" => "scheduled".to_owned(),
                "in_app" | "in-app" => "manual".to_owned(),
                _ => name,
            })
        })
    }

    /// The name, as used everywhere except in the webhook bodies of use cases.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name in the webhook bodies of use cases, which use `schedule`.
    pub fn as_workflow_str(&self) -> &str {
        if self.0 == "scheduled" { "schedule" } else { &self.0 }
    }
}

/// The form of a trigger type, for error messages.
pub const TRIGGER_TYPE_FORM: &str =
    "expected a word of letters, 0-9, _ or -, at most 40 long, such as scheduled, manual, chat, api or backfill";

impl PartialSchema for TriggerType {
    fn schema() -> RefOr<Schema> {
        let text = ObjectBuilder::new().schema_type(Type::String).pattern(Some("^[A-Za-z0-9_-]{1,40}$"));
        let about = "How a run was started: `scheduled`, `manual`, `chat`, `api`, `backfill` or a word of your own. `schedule` \
            is a synonym of `scheduled`, `in_app` of `manual`; capitals are small letters.";
        text.description(Some(about)).examples(["scheduled"]).into()
    }
}

impl ToSchema for TriggerType {}

impl fmt::Debug for TriggerType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for TriggerType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for TriggerType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&name).ok_or_else(|| serde::de::Error::custom(TRIGGER_TYPE_FORM))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wire_names_round_trip() {
        let of_incidents = [
            IncidentTrigger::Opened,
            IncidentTrigger::Worsened,
            IncidentTrigger::Escalated { after_seconds: 900 },
            IncidentTrigger::Reminder { number: 2 },
            IncidentTrigger::Flapping,
            IncidentTrigger::Stable,
            IncidentTrigger::Resolved,
        ];
        for trigger in Trigger::OF_RUNS.into_iter().chain(of_incidents.map(Trigger::Incident)) {
            assert_eq!(Trigger::parse(&trigger.wire_name()), Some(trigger));
        }
        assert_eq!(Trigger::parse_run("opened"), None);
        assert_eq!(RuleTrigger::parse(ResourceType::Flow, "opened"), None);
        assert_eq!(RuleTrigger::parse(ResourceType::Endpoint, "opened"), Some(RuleTrigger::Opened));
    }

    #[test]
    fn trigger_type_synonyms_are_normalised() {
        assert_eq!(TriggerType::parse("schedule"), TriggerType::parse("scheduled"));
        assert_eq!(TriggerType::parse("in_app"), TriggerType::parse("manual"));
        assert_eq!(TriggerType::parse("schedule").unwrap().as_workflow_str(), "schedule");
        assert_eq!(TriggerType::parse("schedule").unwrap().as_str(), "scheduled");
    }

    #[test]
    fn trigger_type_rejects_other_characters_and_lengths() {
        for wrong in ["", "In App", "a/b", "é", &"a".repeat(41)] {
            assert_eq!(TriggerType::parse(wrong), None, "{wrong}");
        }
    }
}

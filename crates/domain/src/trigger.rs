//! What makes a rule speak: what brought an event about (trigger), and how a run was started (trigger type).

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::incident::IncidentTrigger;
use crate::resource::ResourceType;

/// What brought an event about. With the resource and the run (or incident) it makes the event one of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Trigger {
    /// A run finished as it should.
    Success,
    /// A run did not.
    Failure,
    /// Something happened to an incident.
    Incident(IncidentTrigger),
}

impl Trigger {
    /// The ends of runs, in the order in which documents list them.
    pub const OF_RUNS: [Self; 2] = [Self::Success, Self::Failure];

    /// The word for it in the API, in bodies and in the store: `success`, `opened`, `escalated:900`, …
    pub fn word(self) -> Cow<'static, str> {
        match self {
            Self::Success => Cow::Borrowed("success"),
            Self::Failure => Cow::Borrowed("failure"),
            Self::Incident(trigger) => trigger.word(),
        }
    }

    /// The trigger that this word names.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "success" => Some(Self::Success),
            "failure" => Some(Self::Failure),
            _ => IncidentTrigger::parse(word).map(Self::Incident),
        }
    }

    /// The end of a run that this word names.
    pub fn parse_of_run(word: &str) -> Option<Self> {
        Self::parse(word).filter(|trigger| Self::OF_RUNS.contains(trigger))
    }

    /// What rules know it as. A reminder and flapping say again that something is wrong, and go with the opening; that
    /// it is stable again goes with the resolution; that it got worse with escalations.
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

/// What a rule lists: which events of its resource it speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleTrigger {
    /// Runs that finished as they should.
    Success,
    /// Runs that did not.
    Failure,
    /// Incidents that open, and what reminds of them.
    Opened,
    /// Incidents that are over.
    Resolved,
    /// Incidents that got worse.
    Escalated,
}

impl RuleTrigger {
    /// Those of rules about runs, in the order in which documents list them.
    pub const OF_RUNS: [Self; 2] = [Self::Success, Self::Failure];
    /// Those of rules about endpoints and alerts.
    pub const OF_INCIDENTS: [Self; 3] = [Self::Opened, Self::Resolved, Self::Escalated];

    /// Those that a rule about this type of resource may list.
    pub const fn of(resource_type: ResourceType) -> &'static [Self] {
        if resource_type.has_incidents() { &Self::OF_INCIDENTS } else { &Self::OF_RUNS }
    }

    /// The word for it in the API and in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Opened => "opened",
            Self::Resolved => "resolved",
            Self::Escalated => "escalated",
        }
    }

    /// The one of a rule about this type of resource that this word names.
    pub fn parse(resource_type: ResourceType, word: &str) -> Option<Self> {
        Self::of(resource_type).iter().copied().find(|trigger| trigger.as_str() == word)
    }

    /// The event name that use cases know it by; none for what runs do not do.
    pub const fn workflow_event(self) -> Option<&'static str> {
        match self {
            Self::Success => Some("workflow.completed"),
            Self::Failure => Some("workflow.failed"),
            Self::Opened | Self::Resolved | Self::Escalated => None,
        }
    }

    /// The trigger that a use case's event name stands for.
    pub fn from_workflow_event(name: &str) -> Option<Self> {
        Self::OF_RUNS.into_iter().find(|trigger| trigger.workflow_event() == Some(name))
    }
}

/// How a run was started: `scheduled`, `manual`, `chat`, `api`, `backfill` or another word of that form.
///
/// `schedule` and `in_app` are synonyms on the way in for `scheduled` and `manual`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TriggerType(String);

impl TriggerType {
    /// Reads a word: 1–40 of `a-z`, `0-9`, `_` and `-`.
    pub fn parse(word: &str) -> Option<Self> {
        let fits = (1..=40).contains(&word.len())
            && word.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'));
        fits.then(|| {
            Self(match word {
                "schedule" => "scheduled".to_owned(),
                "in_app" => "manual".to_owned(),
                other => other.to_owned(),
            })
        })
    }

    /// The word, as everywhere but in the bodies of use cases.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The word in the bodies of use cases, which say `schedule`.
    pub fn as_workflow_str(&self) -> &str {
        if self.0 == "scheduled" { "schedule" } else { &self.0 }
    }
}

/// What a trigger type's word must look like, for messages.
pub const TRIGGER_TYPE_FORM: &str =
    "expected a word of a-z, 0-9, _ or -, at most 40 long, such as scheduled, manual, chat, api or backfill";

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
        let word = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&word).ok_or_else(|| serde::de::Error::custom(TRIGGER_TYPE_FORM))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_read_back() {
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
            assert_eq!(Trigger::parse(&trigger.word()), Some(trigger));
        }
        assert_eq!(Trigger::parse_of_run("opened"), None);
        assert_eq!(RuleTrigger::parse(ResourceType::Flow, "opened"), None);
        assert_eq!(RuleTrigger::parse(ResourceType::Endpoint, "opened"), Some(RuleTrigger::Opened));
    }

    #[test]
    fn synonyms_are_one_word_inside() {
        assert_eq!(TriggerType::parse("schedule"), TriggerType::parse("scheduled"));
        assert_eq!(TriggerType::parse("in_app"), TriggerType::parse("manual"));
        assert_eq!(TriggerType::parse("schedule").unwrap().as_workflow_str(), "schedule");
        assert_eq!(TriggerType::parse("schedule").unwrap().as_str(), "scheduled");
    }

    #[test]
    fn odd_words_are_refused() {
        for wrong in ["", "In App", "a/b", "é", &"a".repeat(41)] {
            assert_eq!(TriggerType::parse(wrong), None, "{wrong}");
        }
    }
}

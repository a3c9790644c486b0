//! What makes a rule speak: how a run ended (trigger), and how it was started (trigger type).

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// It finished as it should.
    Success,
    /// It did not.
    Failure,
}

impl Trigger {
    /// Both, in the order in which documents list them.
    pub const ALL: [Self; 2] = [Self::Success, Self::Failure];

    /// The word for it in the API and in bodies.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
        }
    }

    /// The trigger that this word names.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|trigger| trigger.as_str() == word)
    }

    /// The event name that use cases know it by.
    pub const fn workflow_event(self) -> &'static str {
        match self {
            Self::Success => "workflow.completed",
            Self::Failure => "workflow.failed",
        }
    }

    /// The trigger that a use case's event name stands for.
    pub fn from_workflow_event(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|trigger| trigger.workflow_event() == name)
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

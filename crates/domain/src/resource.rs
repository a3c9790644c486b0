//! Resources: the things that end or break, named by the caller's own ids.

use serde::{Deserialize, Serialize};

use crate::text::has_control;

/// Longest resource id and run id, in bytes.
pub const RESOURCE_ID_BYTES_MAX: usize = 200;

/// What kind of thing a resource is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResourceType {
    /// A saved query with a schedule.
    ScheduledQuery,
    /// A data flow.
    Flow,
    /// A use case, under which workflow executions run.
    UseCase,
    /// A job, such as a cron job; behaves as a flow.
    Job,
    /// A thing that is watched.
    Endpoint,
    /// An incident that comes from outside, without checks.
    Alert,
    /// A channel, as the subject of its own test or digest; never that of a run or a rule.
    Channel,
}

impl ResourceType {
    /// Every type that has runs, in the order in which documents list them.
    pub const OF_RUNS: [Self; 4] = [Self::ScheduledQuery, Self::Flow, Self::UseCase, Self::Job];
    /// Every type that rules may name.
    pub const OF_RULES: [Self; 6] =
        [Self::ScheduledQuery, Self::Flow, Self::UseCase, Self::Job, Self::Endpoint, Self::Alert];
    /// Every type.
    pub const ALL: [Self; 7] =
        [Self::ScheduledQuery, Self::Flow, Self::UseCase, Self::Job, Self::Endpoint, Self::Alert, Self::Channel];

    /// The word for it in the API, in bodies, in the store and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ScheduledQuery => "scheduled_query",
            Self::Flow => "flow",
            Self::UseCase => "use_case",
            Self::Job => "job",
            Self::Endpoint => "endpoint",
            Self::Alert => "alert",
            Self::Channel => "channel",
        }
    }

    /// The type that this word names.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }

    /// The type with runs that this word names.
    pub fn parse_of_runs(word: &str) -> Option<Self> {
        Self::OF_RUNS.into_iter().find(|kind| kind.as_str() == word)
    }

    /// The type that this word names in a rule.
    pub fn parse_of_rules(word: &str) -> Option<Self> {
        Self::OF_RULES.into_iter().find(|kind| kind.as_str() == word)
    }

    /// Whether its events are those of incidents, not of runs.
    pub const fn has_incidents(self) -> bool {
        matches!(self, Self::Endpoint | Self::Alert)
    }

    /// How a person calls it, at the start of a sentence.
    pub const fn title(self) -> &'static str {
        match self {
            Self::ScheduledQuery => "Scheduled query",
            Self::Flow => "Flow",
            Self::UseCase => "Workflow",
            Self::Job => "Job",
            Self::Endpoint => "Endpoint",
            Self::Alert => "Alert",
            Self::Channel => "Channel",
        }
    }
}

/// Which resources of a type a rule is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ResourceSelector {
    /// Every resource of the type, `*` on the wire.
    All,
    /// The one with this id.
    One(String),
}

impl ResourceSelector {
    /// Reads the wire form.
    pub fn parse(text: &str) -> Self {
        if text == "*" { Self::All } else { Self::One(text.to_owned()) }
    }

    /// The wire form.
    pub fn as_str(&self) -> &str {
        match self {
            Self::All => "*",
            Self::One(id) => id,
        }
    }

    /// Whether the resource with this id is meant.
    pub fn matches(&self, resource_id: &str) -> bool {
        matches!(self, Self::All) || self.as_str() == resource_id
    }
}

/// Why the text may not be a resource id or run id, in words; `None` if it may.
pub fn invalid_external_id(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        Some("must not be empty")
    } else if text.len() > RESOURCE_ID_BYTES_MAX {
        Some("must be at most 200 bytes")
    } else if has_control(text) {
        Some("must not hold control characters")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_read_back() {
        for kind in ResourceType::ALL {
            assert_eq!(ResourceType::parse(kind.as_str()), Some(kind));
        }
        assert_eq!(ResourceType::parse("Flow"), None);
    }

    #[test]
    fn ids_are_opaque_but_bounded() {
        assert_eq!(invalid_external_id("65f:ä/x y"), None);
        assert!(invalid_external_id("").is_some());
        assert!(invalid_external_id(&"x".repeat(201)).is_some());
        assert!(invalid_external_id("a\nb").is_some());
    }
}

//! Resources: what events are about, identified by the caller's own ids.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::text::has_control;

/// Longest resource id and run id, in bytes.
pub const RESOURCE_ID_BYTES_MAX: usize = 200;

/// The type of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ResourceType {
    ScheduledQuery,
    Flow,
    /// A use case, whose runs are workflow executions.
    UseCase,
    /// Such as a cron job; treated like a flow.
    Job,
    /// A monitored endpoint.
    Endpoint,
    /// An alert from an external source, without checks.
    Alert,
    /// A channel, as the subject of its own test or digest; not used for runs and rules.
    Channel,
}

impl ResourceType {
    /// Every type that has runs, in documentation order.
    pub const OF_RUNS: [Self; 4] = [Self::ScheduledQuery, Self::Flow, Self::UseCase, Self::Job];
    /// Every type that rules can be about.
    pub const OF_RULES: [Self; 6] =
        [Self::ScheduledQuery, Self::Flow, Self::UseCase, Self::Job, Self::Endpoint, Self::Alert];
    /// Every type.
    pub const ALL: [Self; 7] =
        [Self::ScheduledQuery, Self::Flow, Self::UseCase, Self::Job, Self::Endpoint, Self::Alert, Self::Channel];

    /// The wire name: API, webhook bodies, store and metrics.
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

    /// Parses a wire name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// Parses the wire name of a type that has runs.
    pub fn parse_run_type(name: &str) -> Option<Self> {
        Self::OF_RUNS.into_iter().find(|kind| kind.as_str() == name)
    }

    /// Parses the wire name of a type that rules can be about.
    pub fn parse_rule_type(name: &str) -> Option<Self> {
        Self::OF_RULES.into_iter().find(|kind| kind.as_str() == name)
    }

    /// Whether its events belong to incidents, not to runs.
    pub const fn has_incidents(self) -> bool {
        matches!(self, Self::Endpoint | Self::Alert)
    }

    /// The name for people, at the start of a sentence.
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

/// Which resources of a type a rule applies to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ResourceSelector {
    /// Every resource of the type; `*` in the API.
    All,
    /// The resource with this id.
    One(String),
}

impl ResourceSelector {
    /// Parses the API's form.
    pub fn parse(text: &str) -> Self {
        if text == "*" { Self::All } else { Self::One(text.to_owned()) }
    }

    /// The API's form.
    pub fn as_str(&self) -> &str {
        match self {
            Self::All => "*",
            Self::One(id) => id,
        }
    }

    /// Whether the resource with this id is selected.
    pub fn matches(&self, resource_id: &str) -> bool {
        matches!(self, Self::All) || self.as_str() == resource_id
    }
}

/// What is wrong with the id of one resource, if anything.
pub fn validate_resource_id(text: &str) -> Option<&'static str> {
    match validate_external_id(text) {
        // A pattern such as `import-*` would match nothing, as ids are compared as a whole.
        None if text.contains('*') => Some("must not contain *, except that * alone in a rule means every resource"),
        fault => fault,
    }
}

/// What is wrong with the selector of a rule, if anything: the id of one resource, or `*`.
pub fn validate_resource_selector(text: &str) -> Option<&'static str> {
    if text == "*" { None } else { validate_resource_id(text) }
}

/// What is wrong with a resource id or run id, if anything.
pub fn validate_external_id(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        Some("must not be empty")
    } else if text.len() > RESOURCE_ID_BYTES_MAX {
        Some("must be at most 200 bytes")
    } else if has_control(text) {
        Some("must not contain control characters")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wire_names_round_trip() {
        for kind in ResourceType::ALL {
            assert_eq!(ResourceType::parse(kind.as_str()), Some(kind));
        }
        assert_eq!(ResourceType::parse("Flow"), None);
    }

    #[test]
    fn external_id_is_bounded_and_has_no_control_characters() {
        assert_eq!(validate_external_id("65f:ä/x y"), None);
        assert!(validate_external_id("").is_some());
        assert!(validate_external_id(&"x".repeat(201)).is_some());
        assert!(validate_external_id("a\nb").is_some());
    }

    #[test]
    fn star_is_a_selector_and_no_part_of_an_id() {
        for id in ["*", "import-*", "*x", "**"] {
            assert!(validate_resource_id(id).is_some(), "{id}");
            assert_eq!(validate_resource_selector(id).is_none(), id == "*", "{id}");
        }
        assert_eq!(validate_resource_id("f1"), None);
        assert_eq!(validate_external_id("run*1"), None, "a run's id is no selector");
    }
}

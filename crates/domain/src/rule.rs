//! Rules: connect resources to a channel and select which events to send.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};

use crate::id::{ChannelId, RuleId, WorkspaceId};
use crate::resource::{ResourceSelector, ResourceType};
use crate::severity::Severity;
use crate::time::Timestamp;
use crate::trigger::{RuleTrigger, TriggerType};
use crate::violation::{Violation, Violations};

/// A rule, also known as a notification rule or subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    pub id: RuleId,
    pub workspace_id: WorkspaceId,
    pub resource_type: ResourceType,
    pub resource: ResourceSelector,
    pub channel_id: ChannelId,
    /// A disabled rule gets no deliveries.
    pub enabled: bool,
    /// A paused rule gets suppressed deliveries (gate 1). Independent of `enabled`.
    pub paused: bool,
    pub settings: RuleSettings,
    /// Incremented when the rule is disabled; deliveries of an older generation are skipped.
    pub generation: u32,
    /// Incremented by every edit.
    pub revision: u32,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// What a rule sends and how. Requests, responses and the store hold this same struct, so that a further field, with a
/// default, is added here only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RuleSettings {
    /// The classes of events to send: of `success` and `failure` for runs; of `opened`, `resolved` and `escalated` for
    /// endpoints and alerts, where all three are the default.
    #[serde(default)]
    #[schema(min_items = 1)]
    pub triggers: Vec<RuleTrigger>,
    /// Restricts it to runs that were started in one of these ways; empty for all.
    #[serde(default)]
    #[schema(max_items = 20)]
    pub trigger_types: Vec<TriggerType>,
    /// The severity of a failed run.
    #[serde(default = "default_failure_severity")]
    #[schema(schema_with = failure_severity_schema)]
    pub failure_severity: Severity,
}

/// The severities that a failed run can have.
const FAILURE_SEVERITIES: [Severity; 3] = [Severity::Critical, Severity::Warning, Severity::Info];

const fn default_failure_severity() -> Severity {
    Severity::Warning
}

fn failure_severity_schema() -> Schema {
    let words = FAILURE_SEVERITIES.map(Severity::as_str);
    let text = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words));
    text.description(Some("The severity of a failed run.")).default(Some("warning".into())).into()
}

impl Rule {
    /// An enabled rule for every class of events of the resource.
    pub fn new(
        id: RuleId,
        workspace_id: WorkspaceId,
        (resource_type, resource): (ResourceType, ResourceSelector),
        channel_id: ChannelId,
        now: Timestamp,
    ) -> Self {
        Self {
            id,
            workspace_id,
            resource_type,
            resource,
            channel_id,
            enabled: true,
            paused: false,
            settings: RuleSettings::for_every_event(resource_type),
            generation: 1,
            revision: 1,
            created_at: now,
            updated_at: now,
        }
    }

    /// The rule as the next revision of `before`. A new generation skips what waits: it must not come back when the rule is
    /// enabled again, nor go to another channel.
    #[must_use]
    pub fn revised(mut self, before: &Self, now: Timestamp) -> Self {
        let is_disabled_now = before.enabled && !self.enabled;
        self.generation = before.generation + u32::from(is_disabled_now || self.channel_id != before.channel_id);
        (self.revision, self.updated_at) = (before.revision + 1, now);
        self
    }

    /// Whether it matches the same events as the other one and uses the same channel: of the two, one would never notify.
    pub fn is_identical(&self, other: &Self) -> bool {
        self.resource_type == other.resource_type
            && self.resource == other.resource
            && self.channel_id == other.channel_id
            && is_same_set(&self.settings.triggers, &other.settings.triggers)
            && is_same_set(&self.settings.trigger_types, &other.settings.trigger_types)
    }
}

/// Both lists are free of duplicates.
fn is_same_set<T: PartialEq>(one: &[T], other: &[T]) -> bool {
    one.len() == other.len() && one.iter().all(|item| other.contains(item))
}

impl RuleSettings {
    /// Every class of events that resources of this type have.
    pub fn for_every_event(resource_type: ResourceType) -> Self {
        Self {
            triggers: RuleTrigger::allowed_for(resource_type).to_vec(),
            trigger_types: Vec::new(),
            failure_severity: default_failure_severity(),
        }
    }

    /// Everything wrong with the settings of a rule for resources of this type.
    pub fn violations(&self, resource_type: ResourceType) -> Violations {
        let allowed = RuleTrigger::allowed_for(resource_type);
        let mut violations = Vec::new();
        if self.triggers.is_empty() {
            violations.push(Violation::new("/triggers", "is required"));
        } else if self.triggers.len() > allowed.len() {
            violations.push(Violation::new("/triggers", format!("must hold at most {} items", allowed.len())));
        }
        let names: Vec<_> = allowed.iter().map(|trigger| trigger.as_str()).collect();
        let others = self.triggers.iter().enumerate().filter(|(_, trigger)| !allowed.contains(trigger));
        violations.extend(others.map(|(index, _)| {
            let message = format!("must be one of {} for {}", names.join(", "), resource_type.as_str());
            Violation::new(format!("/triggers/{index}"), message)
        }));
        if resource_type.has_incidents() && !self.trigger_types.is_empty() {
            violations.push(Violation::new("/triggerTypes", "must be empty: it applies to runs only"));
        }
        violations
    }

    /// The same with each item of a list once.
    #[must_use]
    pub fn without_duplicates(mut self) -> Self {
        keep_first(&mut self.triggers);
        keep_first(&mut self.trigger_types);
        self
    }
}

fn keep_first<T: PartialEq>(items: &mut Vec<T>) {
    let mut kept = Vec::with_capacity(items.len());
    for item in items.drain(..) {
        if !kept.contains(&item) {
            kept.push(item);
        }
    }
    *items = kept;
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::event::Event;
    use crate::id::Id;

    /// A rule for all events of the event's resource.
    pub(crate) fn rule_for(event: &Event) -> Rule {
        Rule::new(
            RuleId::from_bytes([3; 16]),
            event.workspace_id,
            (event.resource_type, ResourceSelector::One(event.resource_id.clone())),
            ChannelId::from_bytes([4; 16]),
            event.received_at,
        )
    }

    #[test]
    fn stored_settings_without_a_field_have_its_default() {
        let stored: RuleSettings = serde_json::from_str(r#"{"triggers":["failure"]}"#).unwrap();
        let expected =
            RuleSettings { triggers: vec![RuleTrigger::Failure], ..RuleSettings::for_every_event(ResourceType::Flow) };
        assert_eq!(stored, expected);
    }

    #[test]
    fn settings_violations_depend_on_the_resource_type() {
        let pointers = |settings: &RuleSettings, kind| {
            settings.violations(kind).into_iter().map(|violation| violation.pointer).collect::<Vec<_>>()
        };
        let mut settings = RuleSettings::for_every_event(ResourceType::Flow);
        settings.trigger_types.extend(TriggerType::parse("manual"));
        assert_eq!(pointers(&settings, ResourceType::Job), [""; 0]);
        assert_eq!(pointers(&settings, ResourceType::Alert), ["/triggers/0", "/triggers/1", "/triggerTypes"]);
        settings.triggers.clear();
        assert_eq!(pointers(&settings, ResourceType::Job), ["/triggers"]);
        settings.triggers = vec![RuleTrigger::Failure; 3];
        assert_eq!(pointers(&settings, ResourceType::Job), ["/triggers"]);
        assert_eq!(settings.without_duplicates().triggers, [RuleTrigger::Failure]);
    }
}

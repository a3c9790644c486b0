//! `/notification-rules`: which events of which resource go to which channel. A rule uses a shared channel, or has one of its
//! own, whose destination is among the rule's fields.

mod all;
mod channel;
mod deliveries;
mod inline;
mod test;
pub mod use_case_webhooks;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidings_domain::audit::{AuditTarget, AuditVerb, note_secret};
use tidings_domain::channel::{Channel, ChannelType, DisabledReason};
use tidings_domain::id::{ChannelId, RuleId};
use tidings_domain::resource::{ResourceSelector, ResourceType, validate_external_id, validate_resource_selector};
use tidings_domain::rule::{self, RuleSettings};
use tidings_domain::time::Timestamp;
use tidings_domain::violation::{Violation, Violations};
use tidings_engine::EngineError;
use tidings_engine::clock::new_id;
use tidings_engine::settings::ConfigPlan;
use tidings_engine::snapshot::WorkspaceView;
use tidings_store::settings::{ConfigChange, Precondition};
use utoipa::ToSchema;

pub use all::{AllRulesQuery, all};
pub use deliveries::{RuleDelivery, deliveries};
pub use inline::{InlineFields, ShownFields};
pub use test::{RuleTest, test};

use crate::audit::Change;
use crate::contract::Input;
use crate::error::{AppError, Result};
use crate::page::{Page, PageQuery};
use crate::principal::{Authorized, Configure, Read};
use crate::quotas;
use crate::response::{Response, SecretOnce};
use crate::revision::Expected;
use crate::schemas;
use channel::Choice;

/// The editable part of a rule: the body of a creation, and what an edit is merged over. In an edit, absent fields keep their
/// values; so does an absent channel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({
    "resourceType": "flow", "resourceId": "import-orders", "triggers": ["failure"], "channelType": "webhook",
    "url": "https://example.com/hooks/tidings"
}))]
pub struct RuleDraft {
    /// Cannot be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(required, schema_with = schemas::rule_type)]
    pub resource_type: Option<ResourceType>,
    /// Cannot be changed.
    #[serde(default)]
    #[schema(required, schema_with = schemas::resource_selector)]
    pub resource_id: String,
    /// A disabled rule makes no deliveries. By default it is enabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = bool)]
    pub enabled: Option<bool>,
    /// The deliveries of a paused rule are suppressed.
    #[serde(default)]
    pub paused: bool,
    #[serde(flatten)]
    pub settings: RuleSettings,
    /// A shared channel; instead of the fields of a channel of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = ChannelId)]
    pub channel_id: Option<ChannelId>,
    /// The type of its own channel. With `channelId` it may be absent, or must be the type of that channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = ChannelType)]
    pub channel_type: Option<ChannelType>,
    #[serde(flatten)]
    pub inline: InlineFields,
    /// Gives its own webhook a new signing secret, which the response shows once.
    #[serde(default)]
    pub rotate_webhook_secret: bool,
}

impl RuleDraft {
    /// What an edit is merged over. Where an absent field means that nothing changes, it is absent.
    fn of(rule: &rule::Rule) -> Self {
        Self {
            resource_type: Some(rule.resource_type),
            resource_id: rule.resource.as_str().to_owned(),
            enabled: None,
            paused: rule.paused,
            settings: rule.settings.clone(),
            channel_id: None,
            channel_type: None,
            inline: InlineFields::default(),
            rotate_webhook_secret: false,
        }
    }
}

/// What is shown of a rule, and recorded of its changes.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RuleShown {
    #[schema(schema_with = schemas::rule_type)]
    pub resource_type: ResourceType,
    /// `*` for every resource of the type.
    pub resource_id: String,
    pub enabled: bool,
    pub paused: bool,
    #[serde(flatten)]
    pub settings: RuleSettings,
    pub channel_type: ChannelType,
    pub channel_id: ChannelId,
    #[serde(flatten)]
    pub inline: ShownFields,
}

/// A rule with its channel.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    pub id: RuleId,
    #[serde(flatten)]
    pub shown: RuleShown,
    /// Set if Tidings disabled the channel, not a user.
    pub channel_disabled_reason: Option<DisabledReason>,
    pub revision: u32,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// A rule that was created or edited.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RuleSaved {
    pub rule: Rule,
    /// The signing secret of a webhook of its own, if one was made: it is not shown again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signing_secret_once: Option<SecretOnce>,
}

/// One resource.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResourceQuery {
    #[schema(required, schema_with = schemas::rule_type)]
    pub resource_type: ResourceType,
    /// Your own id of the resource; `*` for all of the type.
    #[schema(min_length = 1, max_length = 200)]
    pub resource_id: String,
}

impl ResourceQuery {
    fn validate(&self) -> Result<()> {
        match validate_external_id(&self.resource_id) {
            Some(fault) => Err(AppError::invalid("/resourceId", fault)),
            None => Ok(()),
        }
    }
}

/// One resource, and a page of what belongs to it.
#[derive(Debug, Deserialize, ToSchema)]
pub struct ResourcePageQuery {
    #[serde(flatten)]
    pub resource: ResourceQuery,
    #[serde(flatten)]
    pub page: PageQuery,
}

impl Response for Rule {
    const IS_VERSIONED: bool = true;

    fn revision(&self) -> Option<u32> {
        Some(self.revision)
    }
}

impl Response for RuleSaved {
    const IS_VERSIONED: bool = true;

    fn revision(&self) -> Option<u32> {
        Some(self.rule.revision)
    }

    fn holds_secret(&self) -> bool {
        true
    }
}

impl RuleShown {
    pub(crate) fn of(rule: &rule::Rule, channel: &Channel) -> Self {
        Self {
            resource_type: rule.resource_type,
            resource_id: rule.resource.as_str().to_owned(),
            enabled: rule.enabled,
            paused: rule.paused,
            settings: rule.settings.clone(),
            channel_type: channel.channel_type,
            channel_id: channel.id,
            inline: ShownFields::of(channel),
        }
    }
}

impl Rule {
    /// The rule with its channel.
    pub fn of(rule: &rule::Rule, channel: &Channel) -> Self {
        Self {
            id: rule.id,
            shown: RuleShown::of(rule, channel),
            channel_disabled_reason: channel.disabled_reason,
            revision: rule.revision,
            created_at: rule.created_at,
            updated_at: rule.updated_at,
        }
    }

    /// These rules with their channels, oldest first.
    fn sorted<'a>(view: &WorkspaceView, rules: impl Iterator<Item = &'a Arc<rule::Rule>>) -> Vec<Self> {
        let with_channel =
            |rule: &Arc<rule::Rule>| view.channel(rule.channel_id).map(|loaded| Self::of(rule, &loaded.channel));
        let mut rules: Vec<_> = rules.filter_map(with_channel).collect();
        rules.sort_by_key(|rule| rule.id);
        rules
    }
}

/// The rules of one resource: its own, and those of every resource of its type.
///
/// # Errors
/// [`AppError::Invalid`].
pub fn list(by: &Authorized<Read>, query: &ResourceQuery) -> Result<Page<Rule>> {
    query.validate()?;
    let view = by.view()?;
    Ok(Page::complete(Rule::sorted(&view, view.rules_of(query.resource_type, &query.resource_id))))
}

/// One rule.
///
/// # Errors
/// If there is no such rule.
pub fn one(by: &Authorized<Read>, id: RuleId) -> Result<Rule> {
    let view = by.view()?;
    let rule = find(&view, id)?;
    let loaded = view.channel(rule.channel_id).ok_or(AppError::not_found("rule"))?;
    Ok(Rule::of(rule, &loaded.channel))
}

fn find(view: &WorkspaceView, id: RuleId) -> Result<&rule::Rule> {
    view.rule(id).map(AsRef::as_ref).ok_or(AppError::not_found("rule"))
}

/// Creates a rule, and its own channel if it has inline fields.
///
/// # Errors
/// [`AppError::Invalid`], [`AppError::Quota`], and [`EngineError::RuleExists`] for an identical rule.
pub async fn create(by: &Authorized<Configure>, input: Input<RuleDraft>) -> Result<RuleSaved> {
    let Created { rule, channel, signing_secret_once } = create_rule(by, input).await?;
    Ok(RuleSaved { rule: Rule::of(&rule, &channel), signing_secret_once })
}

/// A rule that was created, before it is shown.
struct Created {
    rule: rule::Rule,
    channel: Channel,
    signing_secret_once: Option<SecretOnce>,
}

async fn create_rule(by: &Authorized<Configure>, input: Input<RuleDraft>) -> Result<Created> {
    let settings = by.engine().settings();
    let plan = |view: &WorkspaceView, now| {
        let mut input = input.clone();
        let id = new_id(settings.clock(), now);
        validate_resource(view, &mut input);
        match input.value.resource_type {
            Some(kind) => {
                // By default a rule of a resource with incidents notifies of all their transitions; runs have no default.
                if kind.has_incidents() && input.value.settings.triggers.is_empty() {
                    input.value.settings.triggers = RuleSettings::for_every_event(kind).triggers;
                }
                input.refuse(input.value.settings.violations(kind));
            }
            None if input.value.settings.triggers.is_empty() => input.refuse_field("/triggers", "is required"),
            None => {}
        }
        let choice = Choice::read(by, view, &mut input, None);
        let draft = input.finish()?;
        let (Some(kind), Some(choice)) = (draft.resource_type, choice) else {
            return Err(AppError::invalid("/channelType", "is required"));
        };
        let selector = ResourceSelector::parse(&draft.resource_id);
        quotas::check_new_rules(by, view, kind, &selector, 1)?;
        let part = choice.apply(by, view, id, &draft, now)?;
        let rule = rule::Rule {
            enabled: draft.enabled.unwrap_or(true),
            paused: draft.paused,
            settings: draft.settings.without_duplicates(),
            ..rule::Rule::new(id, by.workspace_id(), (kind, selector), part.channel.id, now)
        };
        refuse_identical(view, &rule)?;
        let after = RuleShown::of(&rule, &part.channel);
        let mut changes = part.changes;
        changes.push(ConfigChange::PutRule(rule.clone(), Precondition::Absent));
        changes.push(audit(by, AuditVerb::Created, id, None, Some(&after), (now, false)));
        let signing_secret_once = part.signing_secret.map(SecretOnce);
        Ok(ConfigPlan { changes, value: Created { rule, channel: part.channel, signing_secret_once } })
    };
    settings.update(by.workspace_id(), plan).await
}

/// Edits a rule: `change` makes the new draft of the present one, again if another edit was faster.
///
/// # Errors
/// As [`create`], [`EngineError::RevisionMismatch`], and if there is no such rule.
pub async fn edit(
    by: &Authorized<Configure>,
    id: RuleId,
    expected: &Expected,
    change: impl Fn(&RuleDraft) -> std::result::Result<Input<RuleDraft>, Violations>,
) -> Result<RuleSaved> {
    let settings = by.engine().settings();
    let plan = |view: &WorkspaceView, now| {
        let before = find(view, id)?;
        expected.check(before.revision)?;
        let mut input = change(&RuleDraft::of(before))?;
        for (is_other, pointer) in [
            (input.value.resource_type != Some(before.resource_type), "/resourceType"),
            (input.value.resource_id != before.resource.as_str(), "/resourceId"),
        ] {
            if is_other {
                input.refuse_field(pointer, "cannot be changed: create another rule");
            }
        }
        input.refuse(input.value.settings.violations(before.resource_type));
        let choice = Choice::read(by, view, &mut input, Some(before));
        let draft = input.finish()?;
        let part = choice.unwrap_or(Choice::Unchanged).apply(by, view, id, &draft, now)?;
        let rule = rule::Rule {
            enabled: draft.enabled.unwrap_or(before.enabled),
            paused: draft.paused,
            settings: draft.settings.without_duplicates(),
            channel_id: part.channel.id,
            ..before.clone()
        }
        .revised(before, now);
        if !rule.is_identical(before) {
            refuse_identical(view, &rule)?;
        }
        // The channel before the rule, which refers to it; an abandoned channel of its own after it.
        let mut changes = part.changes;
        changes.push(ConfigChange::PutRule(rule.clone(), Precondition::Revision(before.revision)));
        if let Some(abandoned) = view.private_channel(before).filter(|loaded| loaded.channel.id != rule.channel_id) {
            changes.push(ConfigChange::DeleteChannel(abandoned.channel.id));
        }
        let shown = view.channel(before.channel_id).map(|loaded| RuleShown::of(before, &loaded.channel));
        let after = RuleShown::of(&rule, &part.channel);
        changes.push(audit(by, AuditVerb::Updated, id, shown.as_ref(), Some(&after), (now, part.has_new_secrets)));
        let saved = Rule::of(&rule, &part.channel);
        Ok::<_, AppError>(ConfigPlan { changes, value: (saved, part.signing_secret, part.has_new_config) })
    };
    let (rule, signing_secret, has_new_config) = settings.update(by.workspace_id(), plan).await?;
    if has_new_config {
        by.engine().queue().forget_pause(rule.shown.channel_id);
    }
    Ok(RuleSaved { rule, signing_secret_once: signing_secret.map(SecretOnce) })
}

/// Deletes a rule and its own channel. Its pending and held deliveries are skipped when they become due.
///
/// # Errors
/// [`EngineError::RevisionMismatch`], and if there is no such rule.
pub async fn delete(by: &Authorized<Configure>, id: RuleId, expected: &Expected) -> Result<()> {
    let plan = |view: &WorkspaceView, now| {
        let rule = find(view, id)?;
        expected.check(rule.revision)?;
        Ok::<_, AppError>(ConfigPlan { changes: deletion(by, view, rule, now), value: () })
    };
    by.engine().settings().update(by.workspace_id(), plan).await
}

/// The changes that delete a rule and its own channel, also with what it belongs to.
pub(crate) fn deletion<P>(
    by: &Authorized<P>,
    view: &WorkspaceView,
    rule: &rule::Rule,
    now: Timestamp,
) -> Vec<ConfigChange> {
    let mut changes = vec![ConfigChange::DeleteRule(rule.id)];
    changes.extend(view.private_channel(rule).map(|loaded| ConfigChange::DeleteChannel(loaded.channel.id)));
    let shown = view.channel(rule.channel_id).map(|loaded| RuleShown::of(rule, &loaded.channel));
    changes.push(audit(by, AuditVerb::Deleted, rule.id, shown.as_ref(), None, (now, false)));
    changes
}

/// Validates the resource of a new rule. An endpoint must exist; other resources have ids of the caller, of which none is
/// known here.
fn validate_resource(view: &WorkspaceView, input: &mut Input<RuleDraft>) {
    let id = &input.value.resource_id;
    let is_endpoint = input.value.resource_type == Some(ResourceType::Endpoint) && id != "*";
    let found = match validate_resource_selector(id) {
        Some(fault) => Some(fault),
        None if is_endpoint && id.parse().ok().and_then(|id| view.endpoint(id)).is_none() => {
            Some("there is no such endpoint in this workspace")
        }
        None => None,
    };
    input.refuse(found.map(|message| Violation::new("/resourceId", message)));
}

/// Fails if another rule matches exactly what this one does and sends it through the same channel: of the two, one would
/// never notify. (A channel of its own belongs to one rule, so that only rules with a shared one can be identical.)
fn refuse_identical(view: &WorkspaceView, rule: &rule::Rule) -> Result<()> {
    let mut others = view.rules_of(rule.resource_type, rule.resource.as_str());
    match others.find(|other| other.id != rule.id && other.is_identical(rule)) {
        Some(other) => Err(EngineError::RuleExists(other.id).into()),
        None => Ok(()),
    }
}

/// The audit entry of a change. New secrets are noted apart, as masks may be alike.
pub(crate) fn audit<P>(
    by: &Authorized<P>,
    verb: AuditVerb,
    id: RuleId,
    before: Option<&RuleShown>,
    after: Option<&RuleShown>,
    (now, has_new_secrets): (Timestamp, bool),
) -> ConfigChange {
    let name = after.or(before).map(|rule| format!("{} {}", rule.resource_type.as_str(), rule.resource_id));
    let change = Change { id: id.to_string(), name: name.as_deref().unwrap_or_default(), before, after };
    by.audit(AuditTarget::Rule.action(verb), &change, now, |changes| {
        if has_new_secrets {
            note_secret(changes, "secrets");
        }
    })
}

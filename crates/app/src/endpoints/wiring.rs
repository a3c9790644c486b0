//! `/endpoints/{id}/notifications`: which shared channels notify of an endpoint's incidents. A wired channel is an enabled
//! rule of this endpoint; of a channel that is not wired, the rule is disabled or does not exist.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidings_domain::audit::{AuditTarget, AuditVerb};
use tidings_domain::channel::ChannelType;
use tidings_domain::id::{ChannelId, EndpointId, RuleId};
use tidings_domain::resource::{ResourceSelector, ResourceType};
use tidings_domain::rule::Rule;
use tidings_domain::time::Timestamp;
use tidings_domain::trigger::RuleTrigger;
use tidings_domain::violation::{Violation, Violations};
use tidings_engine::clock::new_id;
use tidings_engine::settings::ConfigPlan;
use tidings_engine::settings::endpoints::rules_for;
use tidings_engine::snapshot::WorkspaceView;
use tidings_store::settings::{ConfigChange, Precondition};
use utoipa::ToSchema;

use super::found;
use crate::audit::Change;
use crate::contract::Input;
use crate::error::{AppError, Result};
use crate::principal::{Authorized, Configure};
use crate::quotas;
use crate::response::Response;

/// What notifies of an endpoint's incidents.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Wiring {
    /// The shared channels, oldest first.
    pub channels: Vec<WiredChannel>,
    /// The other rules that notify of the endpoint: those of every endpoint, its own with a private channel, and further
    /// ones through a wired channel.
    pub other_rules: Vec<OtherRule>,
}

/// A shared channel, and its rule of the endpoint.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WiredChannel {
    pub channel_id: ChannelId,
    pub channel_name: String,
    pub channel_type: ChannelType,
    pub channel_enabled: bool,
    /// Whether the channel is notified.
    pub wired: bool,
    /// Kept independently of `wired`.
    pub paused: bool,
    /// Null if the channel was never wired.
    pub rule_id: Option<RuleId>,
}

/// A rule that notifies of the endpoint beside those of the channels.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OtherRule {
    pub rule_id: RuleId,
    /// `*`: it notifies of every endpoint.
    pub resource_id: String,
    pub channel_id: ChannelId,
    pub channel_name: String,
    pub channel_type: ChannelType,
    pub channel_enabled: bool,
    pub enabled: bool,
    pub paused: bool,
    pub triggers: Vec<RuleTrigger>,
}

/// A change of the wiring, all or nothing. Channels that are not listed stay as they are.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
#[schema(example = json!({"channels": [{"channelId": "ch_01890a5d00007000800000000000002a", "wired": true}]}))]
pub struct WiringChange {
    #[schema(required, max_items = 1_000)]
    pub channels: Vec<ChannelWiring>,
}

/// The wiring of one shared channel. Absent fields keep their value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChannelWiring {
    pub channel_id: ChannelId,
    #[serde(default)]
    pub wired: Option<bool>,
    #[serde(default)]
    pub paused: Option<bool>,
}

/// The wiring of a channel as the audit log has it.
#[derive(Debug, Serialize)]
struct AuditedWiring {
    wired: bool,
    paused: bool,
}

/// The wirings that change, as the audit log has them.
#[derive(Debug, Default, Serialize)]
struct AuditedChange {
    channels: BTreeMap<String, AuditedWiring>,
}

impl Response for Wiring {}

/// What notifies of the endpoint.
///
/// # Errors
/// If there is no such endpoint.
pub fn wiring<P>(by: &Authorized<P>, id: EndpointId) -> Result<Wiring> {
    let view = by.view()?;
    found(&view, id)?;
    let mut shared: Vec<_> =
        view.channels().filter(|loaded| loaded.is_shared()).map(|loaded| &loaded.channel).collect();
    shared.sort_by_key(|channel| channel.id);
    let wired = shared.into_iter().map(|channel| {
        let rule = rule_of(&view, id, channel.id);
        WiredChannel {
            channel_id: channel.id,
            channel_name: channel.name.clone(),
            channel_type: channel.channel_type,
            channel_enabled: channel.enabled,
            wired: rule.is_some_and(|rule| rule.enabled),
            paused: rule.is_some_and(|rule| rule.paused),
            rule_id: rule.map(|rule| rule.id),
        }
    });
    let channels: Vec<_> = wired.collect();
    let is_other = |rule: &&Arc<Rule>| channels.iter().all(|wired| wired.rule_id != Some(rule.id));
    let others = view.rules_of(ResourceType::Endpoint, &id.to_string()).filter(is_other);
    let other_rules = others.filter_map(|rule| {
        let channel = &view.channel(rule.channel_id)?.channel;
        Some(OtherRule {
            rule_id: rule.id,
            resource_id: rule.resource.as_str().to_owned(),
            channel_id: channel.id,
            channel_name: channel.name.clone(),
            channel_type: channel.channel_type,
            channel_enabled: channel.enabled,
            enabled: rule.enabled,
            paused: rule.paused,
            triggers: rule.settings.triggers.clone(),
        })
    });
    let other_rules = other_rules.collect();
    Ok(Wiring { channels, other_rules })
}

/// Wires or unwires the listed channels, all or none.
///
/// # Errors
/// [`AppError::Invalid`], [`AppError::Quota`], and if there is no such endpoint.
pub async fn wire(by: &Authorized<Configure>, id: EndpointId, input: Input<WiringChange>) -> Result<Wiring> {
    found(&*by.view()?, id)?;
    let WiringChange { channels } = input.finish()?;
    let plan = |view: &WorkspaceView, now| {
        let endpoint = &found(view, id)?.endpoint;
        let (mut changes, mut violations, mut seen) = (Vec::new(), Violations::new(), HashSet::new());
        let (mut before, mut after) = (AuditedChange::default(), AuditedChange::default());
        for (index, wiring) in channels.iter().enumerate() {
            let at = format!("/channels/{index}/channelId");
            let channel = view.channel(wiring.channel_id).filter(|loaded| loaded.is_shared());
            let Some(channel) = channel else {
                violations.push(Violation::new(at, "there is no such channel in this workspace"));
                continue;
            };
            if !seen.insert(wiring.channel_id) {
                violations.push(Violation::new(at, "is listed twice"));
                continue;
            }
            let rule = rule_of(view, id, wiring.channel_id);
            let (is_wired, is_paused) = rule.map_or((false, false), |rule| (rule.enabled, rule.paused));
            let (wired, paused) = (wiring.wired.unwrap_or(is_wired), wiring.paused.unwrap_or(is_paused));
            if let Some(change) = rule_change(by, view, rule, (id, wiring.channel_id), (wired, paused), now) {
                let name = || format!("{} ({})", channel.channel.name, wiring.channel_id);
                before.channels.insert(name(), AuditedWiring { wired: is_wired, paused: is_paused });
                after.channels.insert(name(), AuditedWiring { wired, paused });
                changes.push(change);
            }
        }
        if !violations.is_empty() {
            return Err(AppError::Invalid(violations));
        }
        let is_new = |change: &&ConfigChange| matches!(change, ConfigChange::PutRule(_, Precondition::Absent));
        let new_rules = u32::try_from(changes.iter().filter(is_new).count()).unwrap_or(u32::MAX);
        if new_rules > 0 {
            let selector = ResourceSelector::One(id.to_string());
            quotas::check_new_rules(by, view, ResourceType::Endpoint, &selector, new_rules)?;
        }
        if !changes.is_empty() {
            let change =
                Change { id: id.to_string(), name: &endpoint.name, before: Some(&before), after: Some(&after) };
            changes.push(by.audit(AuditTarget::Endpoint.action(AuditVerb::Updated), &change, now, |_| ()));
        }
        Ok(ConfigPlan { changes, value: () })
    };
    by.engine().settings().update(by.workspace_id(), plan).await?;
    wiring(by, id)
}

/// The rule that notifies this channel of the endpoint: the oldest, if there are several.
fn rule_of(view: &WorkspaceView, id: EndpointId, channel_id: ChannelId) -> Option<&Arc<Rule>> {
    rules_for(view, id).find(|rule| rule.channel_id == channel_id)
}

/// The change that brings about this wiring; none if it is in place.
fn rule_change<P>(
    by: &Authorized<P>,
    view: &WorkspaceView,
    rule: Option<&Arc<Rule>>,
    (id, channel_id): (EndpointId, ChannelId),
    (wired, paused): (bool, bool),
    now: Timestamp,
) -> Option<ConfigChange> {
    let Some(rule) = rule else {
        let rule_id = new_id::<RuleId>(by.engine().clock(), now);
        let resource = (ResourceType::Endpoint, ResourceSelector::One(id.to_string()));
        let rule = Rule { paused, ..Rule::new(rule_id, view.workspace.id, resource, channel_id, now) };
        return wired.then_some(ConfigChange::PutRule(rule, Precondition::Absent));
    };
    if (rule.enabled, rule.paused) == (wired, paused) {
        return None;
    }
    let edited = Rule { enabled: wired, paused, ..Rule::clone(rule) }.revised(rule, now);
    Some(ConfigChange::PutRule(edited, Precondition::Revision(rule.revision)))
}

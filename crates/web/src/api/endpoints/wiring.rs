//! `/endpoints/{id}/notifications`: which shared channels notify of an endpoint's incidents. A wired channel is an enabled
//! rule of this endpoint; of a channel that is not wired, the rule is disabled or does not exist.

use std::sync::Arc;

use serde::Serialize;
use serde_json::json;
use tidings_domain::channel::Channel;
use tidings_domain::id::{ChannelId, EndpointId, RuleId, WorkspaceId};
use tidings_domain::rule::Rule;
use tidings_engine::Engine;
use tidings_engine::settings::endpoints::EndpointWiring;

use crate::auth::{Authorized, PathId, Read, Write};
use crate::body::Object;
use crate::fields::Fields;
use crate::response::{ApiResult, ok};

/// Channels in one request.
const CHANNELS_MAX: usize = 1_000;

/// A rule that notifies of the endpoint beside those of the channels.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OtherRule {
    rule_id: RuleId,
    /// `*`: it notifies of every endpoint.
    resource_id: String,
    channel_id: ChannelId,
    channel_name: String,
    channel_type: &'static str,
    channel_enabled: bool,
    enabled: bool,
    paused: bool,
    triggers: Vec<&'static str>,
}

impl OtherRule {
    fn of(rule: &Rule, channel: &Channel) -> Self {
        Self {
            rule_id: rule.id,
            resource_id: rule.resource.as_str().to_owned(),
            channel_id: channel.id,
            channel_name: channel.name.clone(),
            channel_type: channel.channel_type.as_str(),
            channel_enabled: channel.enabled,
            enabled: rule.enabled,
            paused: rule.paused,
            triggers: rule.settings.triggers.iter().map(|trigger| trigger.as_str()).collect(),
        }
    }
}

/// A shared channel, and its rule of the endpoint.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WiredChannel {
    channel_id: ChannelId,
    channel_name: String,
    channel_type: &'static str,
    channel_enabled: bool,
    wired: bool,
    paused: bool,
    rule_id: Option<RuleId>,
}

/// The shared channels, oldest first, each with its rule; and the other rules that notify of the endpoint.
pub(in crate::api) async fn wiring(caller: Authorized<Read>, PathId(id): PathId<EndpointId>) -> ApiResult {
    response(caller.engine(), caller.workspace_id(), id)
}

/// Wires or unwires the listed channels, all or none; others stay as they are.
pub(in crate::api) async fn rewire(
    caller: Authorized<Write>,
    PathId(id): PathId<EndpointId>,
    object: Object,
) -> ApiResult {
    let (engine, workspace_id) = (caller.engine(), caller.workspace_id());
    let before = engine.wiring(workspace_id, id)?;
    let read_wire = |fields: &mut Fields| {
        let expected = "must be a channel's id, such as ch_… of GET /channels";
        let channel_id = fields.parsed("channelId", expected, |text| text.parse().ok());
        let channel_id: Option<ChannelId> = fields.required("channelId", channel_id);
        let (wired, paused) = (fields.boolean("wired"), fields.boolean("paused"));
        let channel_id = channel_id?;
        // Absent fields keep their value.
        let rule = before.iter().find(|(id, _)| *id == channel_id).and_then(|(_, rule)| rule.as_ref());
        let wired = wired.unwrap_or(rule.is_some_and(|rule| rule.enabled));
        let paused = paused.unwrap_or(rule.is_some_and(|rule| rule.paused));
        Some(EndpointWiring { channel_id, wired, paused })
    };
    let mut fields = Fields::null_as_absent(object);
    let wires = fields.objects("channels", CHANNELS_MAX, read_wire);
    let wires = fields.required("channels", wires);
    let wires = fields.finish(|| wires)?;
    engine.set_wiring(workspace_id, id, &wires).await?;
    response(engine, workspace_id, id)
}

fn response(engine: &Engine, workspace_id: WorkspaceId, id: EndpointId) -> ApiResult {
    let mut channels = Vec::new();
    for (channel_id, rule) in engine.wiring(workspace_id, id)? {
        // Deleted since.
        let Ok(channel) = engine.channel(workspace_id, channel_id) else { continue };
        channels.push(WiredChannel {
            channel_id,
            channel_name: channel.name,
            channel_type: channel.channel_type.as_str(),
            channel_enabled: channel.enabled,
            wired: rule.as_ref().is_some_and(|rule| rule.enabled),
            paused: rule.as_ref().is_some_and(|rule| rule.paused),
            rule_id: rule.map(|rule| rule.id),
        });
    }
    let view = engine.view(workspace_id)?;
    let other_rules = engine.other_rules(workspace_id, id)?;
    let with_channel = |rule: &Arc<Rule>| Some(OtherRule::of(rule, &view.channel(rule.channel_id)?.channel));
    let other_rules: Vec<_> = other_rules.iter().filter_map(with_channel).collect();
    ok(&json!({"channels": channels, "otherRules": other_rules}))
}

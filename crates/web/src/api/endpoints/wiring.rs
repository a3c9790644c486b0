//! `/endpoints/{id}/notifications`: which shared channels tell of an endpoint's incidents. Each wire is a rule of this
//! endpoint; one that is not wired is disabled, or was never made.

use serde::Serialize;
use serde_json::json;
use tidings_domain::id::{ChannelId, EndpointId, RuleId, WorkspaceId};
use tidings_engine::Engine;
use tidings_engine::settings::endpoints::EndpointWiring;

use crate::answer::{Answer, ok};
use crate::auth::{PathId, Reader, Writer};
use crate::body::Object;
use crate::fields::Fields;

/// The most channels that one request wires.
const CHANNELS_MAX: usize = 1_000;

/// A channel, and whether it is wired to an endpoint.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Wired {
    channel_id: ChannelId,
    channel_name: String,
    channel_type: &'static str,
    channel_enabled: bool,
    wired: bool,
    paused: bool,
    rule_id: Option<RuleId>,
}

/// The shared channels, oldest first, each with its wire.
pub(in crate::api) async fn wiring(reader: Reader, PathId(id): PathId<EndpointId>) -> Answer {
    shown(reader.engine(), reader.workspace_id(), id)
}

/// Wires or unwires the channels that are listed, all or none.
pub(in crate::api) async fn rewire(writer: Writer, PathId(id): PathId<EndpointId>, object: Object) -> Answer {
    let (engine, workspace_id) = (writer.engine(), writer.workspace_id());
    let before = engine.wiring(workspace_id, id)?;
    let wire = |fields: &mut Fields| {
        let expected = "must be a channel's id, such as ch_… of GET /channels";
        let channel_id = fields.parsed("channelId", expected, |text| text.parse().ok());
        let channel_id: Option<ChannelId> = fields.required("channelId", channel_id);
        let (wired, paused) = (fields.boolean("wired"), fields.boolean("paused"));
        let channel_id = channel_id?;
        // What is not said stays as it is.
        let rule = before.iter().find(|(id, _)| *id == channel_id).and_then(|(_, rule)| rule.as_ref());
        let wired = wired.unwrap_or(rule.is_some_and(|rule| rule.enabled));
        let paused = paused.unwrap_or(rule.is_some_and(|rule| rule.paused));
        Some(EndpointWiring { channel_id, wired, paused })
    };
    let mut fields = Fields::where_null_is_absent(object);
    let wires = fields.objects("channels", CHANNELS_MAX, wire);
    let wires = fields.required("channels", wires);
    let wires = fields.finish(|| wires)?;
    engine.wire(workspace_id, id, &wires).await?;
    shown(engine, workspace_id, id)
}

fn shown(engine: &Engine, workspace_id: WorkspaceId, id: EndpointId) -> Answer {
    let mut channels = Vec::new();
    for (channel_id, rule) in engine.wiring(workspace_id, id)? {
        // One that was deleted just now is left out.
        let Ok(channel) = engine.channel(workspace_id, channel_id) else { continue };
        channels.push(Wired {
            channel_id,
            channel_name: channel.name,
            channel_type: channel.channel_type.as_str(),
            channel_enabled: channel.enabled,
            wired: rule.as_ref().is_some_and(|rule| rule.enabled),
            paused: rule.as_ref().is_some_and(|rule| rule.paused),
            rule_id: rule.map(|rule| rule.id),
        });
    }
    ok(&json!({"channels": channels}))
}

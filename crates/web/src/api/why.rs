//! `/events/{id}/why`: why the event did or did not notify someone.

use tidings_domain::calendar::Zone;
use tidings_domain::channel::Channel;
use tidings_domain::event::Event;
use tidings_domain::id::{ChannelId, EventId};
use tidings_domain::retry::RetryPolicy;
use tidings_domain::routing::NotRouted;
use tidings_engine::Engine;
use tidings_store::history::DeliveryRecord;

use crate::auth::{Authorized, PathId, Read};
use crate::problem::Problem;
use crate::query::Query;
use crate::response::{ApiResult, ok};
use crate::view::why::{DeliveryExplanation, Phrasing, UnroutedExplanation, Why, no_matching_rule};

/// Explains the event for every channel, or for the one of `?channel=`.
pub(super) async fn explain(caller: Authorized<Read>, PathId(id): PathId<EventId>, mut query: Query) -> ApiResult {
    let channel_filter = query.id::<ChannelId>("channel");
    query.finish(|| Some(()))?;
    let (engine, workspace_id) = (caller.engine(), caller.workspace_id());
    let (record, deliveries) = engine.event(workspace_id, id).await?;
    let zone = Zone::from_name(&caller.view()?.preferences.timezone).unwrap_or(Zone::UTC);
    let phrasing = Phrasing { now: caller.now(), zone: &zone };
    let channel_of = |id: ChannelId| engine.channel(workspace_id, id).ok();
    let is_selected = |id: Option<ChannelId>| channel_filter.is_none() || id == channel_filter;

    let explained = deliveries.iter().filter(|delivery| is_selected(Some(delivery.channel_id)));
    let explained: Vec<_> = explained
        .map(|delivery| explain_delivery(delivery, &deliveries, channel_of(delivery.channel_id), phrasing))
        .collect();
    let unrouted = record.not_routed.iter().map(|not_routed| explain_unrouted(not_routed, &record.event, engine));
    let unrouted: Vec<_> = unrouted.filter(|rule| is_selected(rule.channel_id)).collect();
    let channel = channel_filter.and_then(channel_of);
    // A deleted channel can still be asked about where the event has deliveries through it.
    if channel_filter.is_some() && channel.is_none() && explained.is_empty() {
        return Err(Problem::not_found("channel"));
    }
    let describe_none = || {
        no_matching_rule(
            &record.event,
            channel.as_ref().map(|channel| &*channel.name),
            has_matching_rule(engine, &record.event, channel_filter),
        )
    };
    ok(&Why::of(&record.event, channel_filter, explained, unrouted, describe_none))
}

fn explain_delivery<'a>(
    record: &'a DeliveryRecord,
    all: &[DeliveryRecord],
    channel: Option<Channel>,
    phrasing: Phrasing<'_>,
) -> DeliveryExplanation<'a> {
    let policy = RetryPolicy::default_for(record.event.resource_type);
    let attempts_max = channel.as_ref().map(|channel| channel.policies.retry_policy(&policy).attempts_max());
    let replaced_by = all.iter().find(|other| other.replaces_id == Some(record.id)).map(|other| other.id);
    DeliveryExplanation::of(record, channel.map(|channel| channel.name), attempts_max, replaced_by, phrasing)
}

/// With the current channel of the rule, if the rule still exists.
fn explain_unrouted(not_routed: &NotRouted, event: &Event, engine: &Engine) -> UnroutedExplanation {
    let view = engine.view(event.workspace_id).ok();
    let channel = view.as_ref().and_then(|view| view.channel(view.rule(not_routed.rule_id)?.channel_id));
    UnroutedExplanation::of(*not_routed, event, channel.map(|loaded| loaded.channel.clone()))
}

/// Whether a rule of the resource exists now, through this channel if one is named.
fn has_matching_rule(engine: &Engine, event: &Event, channel: Option<ChannelId>) -> bool {
    let is_selected = |id: ChannelId| channel.is_none_or(|channel| channel == id);
    engine.view(event.workspace_id).is_ok_and(|view| {
        view.rules_of(event.resource_type, &event.resource_id).any(|rule| is_selected(rule.channel_id))
    })
}

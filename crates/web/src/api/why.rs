//! `/events/{id}/why`: why somebody heard of it, or did not.

use tidings_domain::calendar::Zone;
use tidings_domain::channel::Channel;
use tidings_domain::event::Event;
use tidings_domain::id::{ChannelId, EventId};
use tidings_domain::resource::ResourceType;
use tidings_domain::retry::RetryPolicy;
use tidings_domain::routing::NotRouted;
use tidings_engine::Engine;
use tidings_store::history::DeliveryRecord;

use crate::answer::{Answer, ok};
use crate::auth::{PathId, Reader};
use crate::problem::Problem;
use crate::query::Query;
use crate::view::why::{Passed, Saying, Told, Why, nobody_asked};

/// What became of an event, in sentences: for every channel, or for the one of `?channel=`.
pub(super) async fn answer(reader: Reader, PathId(id): PathId<EventId>, mut query: Query) -> Answer {
    let wanted = query.id::<ChannelId>("channel");
    query.finish(|| Some(()))?;
    let (engine, workspace_id) = (reader.engine(), reader.workspace_id());
    let (record, deliveries) = engine.event(workspace_id, id).await?;
    let (preferences, _) = engine.preferences(workspace_id)?;
    let zone = Zone::from_name(&preferences.timezone).unwrap_or(Zone::UTC);
    let saying = Saying { now: reader.now(), zone: &zone };
    let channel_of = |id: ChannelId| engine.channel(workspace_id, id).ok();
    let is_wanted = |id: Option<ChannelId>| wanted.is_none() || id == wanted;

    let told = deliveries.iter().filter(|delivery| is_wanted(Some(delivery.channel_id)));
    let told: Vec<_> =
        told.map(|delivery| told_of(delivery, &deliveries, channel_of(delivery.channel_id), saying)).collect();
    let passed = record.not_routed.iter().map(|passed| passed_over(passed, &record.event, engine));
    let passed: Vec<_> = passed.filter(|passed| is_wanted(passed.channel_id)).collect();
    let named = wanted.and_then(channel_of);
    if wanted.is_some() && named.is_none() && told.is_empty() {
        return Err(Problem::not_found("channel"));
    }
    let nobody = || {
        nobody_asked(
            &record.event,
            named.as_ref().map(|channel| &*channel.name),
            is_asked_now(engine, &record.event, wanted),
        )
    };
    ok(&Why::of(&record.event, wanted, told, passed, nobody))
}

fn told_of<'a>(
    record: &'a DeliveryRecord,
    all: &[DeliveryRecord],
    channel: Option<Channel>,
    saying: Saying<'_>,
) -> Told<'a> {
    let policy = RetryPolicy::of(record.event.resource_type);
    let attempts_max = channel.as_ref().map(|channel| channel.policies.retries(&policy).attempts_max());
    let said_late = all.iter().find(|other| other.replaces_id == Some(record.id)).map(|other| other.id);
    Told::of(record, channel.map(|channel| channel.name), attempts_max, said_late, saying)
}

/// A rule that was passed over, with the channel that it speaks through now, if it is still there.
fn passed_over(passed: &NotRouted, event: &Event, engine: &Engine) -> Passed {
    let rule = engine.rule(event.workspace_id, passed.rule_id).ok();
    Passed::of(*passed, event, rule.map(|view| view.channel))
}

/// Whether there is a rule by now that would be asked.
fn is_asked_now(engine: &Engine, event: &Event, channel: Option<ChannelId>) -> bool {
    let rules = engine.rules(event.workspace_id).unwrap_or_default();
    let is_of = |kind: ResourceType| kind == event.resource_type;
    rules.iter().any(|view| {
        is_of(view.rule.resource_type)
            && view.rule.resource.matches(&event.resource_id)
            && channel.is_none_or(|channel| channel == view.channel.id)
    })
}

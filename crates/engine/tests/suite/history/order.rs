//! Invariants of order and time: the order of one subject's messages through one channel, the number of attempts, and
//! rate limits.

use std::collections::{BTreeMap, HashSet};

use tidings_domain::channel::DeliveryPriority;
use tidings_domain::delivery::{AttemptTrigger, Status};
use tidings_domain::event::EventKind;
use tidings_domain::id::{ChannelId, Id as _};
use tidings_store::history::DeliveryRecord;

use super::runner::{History, name};
use crate::receiver::ReceivedRequest;
use crate::records::is_incident;

/// Checks all of them.
pub fn check(history: &History) {
    let all = history.world.deliveries();
    for (number, channel) in history.channels.iter().enumerate() {
        let merges = history.setup.channels[number].merges;
        let requests = history.world.receiver.requests_to(&name(number, merges));
        check_channel(&all, *channel, (!merges).then_some(&requests));
        if history.is_settled_each {
            rate_limit_holds_in_any_minute(history, &all, number);
        }
    }
    check_channel(&all, history.boss, Some(&history.world.receiver.requests_to("boss")));
}

/// Checks the deliveries of each subject through a channel. `requests` are those that arrived, if they name their
/// deliveries.
fn check_channel(all: &[DeliveryRecord], channel: ChannelId, requests: Option<&Vec<ReceivedRequest>>) {
    let mut subjects: BTreeMap<&str, Vec<&DeliveryRecord>> = BTreeMap::new();
    for delivery in all.iter().filter(|it| it.channel_id == channel && is_incident(it)) {
        subjects.entry(&delivery.event.resource_id).or_default().push(delivery);
    }
    for deliveries in subjects.values() {
        match requests {
            Some(requests) => requests_arrive_in_order(deliveries, requests),
            None => messages_are_sent_in_order(deliveries),
        }
        deliveries.iter().for_each(|delivery| attempts_are_bounded(delivery));
    }
}

/// No request arrives after one of a later delivery of the same subject, over all of its incidents. One that was held
/// may come after requests that the receiver refused, but not after one that it accepted. And if the last delivery was
/// sent, its request is the last that the receiver accepted.
fn requests_arrive_in_order(deliveries: &[&DeliveryRecord], requests: &[ReceivedRequest]) {
    let arrivals = |delivery: &DeliveryRecord| -> Vec<(usize, bool)> {
        let id = Some(delivery.id.to_string());
        let of_delivery = requests.iter().enumerate().filter(|(_, it)| it.delivery_id == id);
        of_delivery.map(|(index, it)| (index, it.response_status == Some(200))).collect()
    };
    for (index, later) in deliveries.iter().enumerate() {
        let arrivals_of_later = arrivals(later);
        for earlier in &deliveries[..index] {
            let was_held = earlier.gate_evaluations.iter().any(|evaluation| evaluation.held().is_some());
            let first = arrivals_of_later.iter().find(|(_, is_accepted)| *is_accepted || !was_held);
            let Some((first, _)) = first else { continue };
            let is_after = arrivals(earlier).iter().any(|(at, _)| at > first);
            assert!(!is_after, "{later:#?}\narrived before this:\n{earlier:#?}");
        }
    }
    let Some(last) = deliveries.last().filter(|last| last.status == Status::Sent) else { return };
    let ids: HashSet<_> = deliveries.iter().map(|delivery| delivery.id.to_string()).collect();
    let is_accepted = |it: &&ReceivedRequest| it.response_status == Some(200);
    let of_subject = |it: &&ReceivedRequest| it.delivery_id.as_ref().is_some_and(|id| ids.contains(id));
    let last_accepted = requests.iter().rfind(|request| is_accepted(request) && of_subject(request));
    assert_eq!(last_accepted.and_then(|it| it.delivery_id.clone()), Some(last.id.to_string()), "{deliveries:#?}");
}

/// Where requests name no deliveries: none was sent before an earlier one, but for those that a digest carried, whose
/// entries show the state of then.
fn messages_are_sent_in_order(deliveries: &[&DeliveryRecord]) {
    let mut latest = None;
    for delivery in deliveries.iter().filter(|it| it.status == Status::Sent && it.digest_id.is_none()) {
        assert!(delivery.sent_at >= latest, "sent before an earlier one: {delivery:#?}");
        latest = delivery.sent_at;
    }
}

/// The retry policy is kept, and what newer events add is at most one attempt in five seconds.
fn attempts_are_bounded(delivery: &DeliveryRecord) {
    let of = |trigger| delivery.attempts.iter().filter(|attempt| attempt.trigger == trigger).count() as u64;
    assert!(of(AttemptTrigger::Scheduled) <= 3, "{delivery:#?}");
    let age_ms = delivery.completed_at.map_or(0, |at| at.since_ms(delivery.id.made_at()));
    assert!(of(AttemptTrigger::NewerEvent) <= 1 + age_ms / 5_000, "{delivery:#?}");
}

/// In any minute there are no more first attempts than the rate limit admits. Not counted are resolutions, which pass if
/// their opening was sent, and deliveries that were blocked by another, which were admitted before.
fn rate_limit_holds_in_any_minute(history: &History, all: &[DeliveryRecord], number: usize) {
    let channel = &history.setup.channels[number];
    let Some(limit) = channel.limit.filter(|_| channel.priority == DeliveryPriority::Standard) else { return };
    let is_counted = |it: &&DeliveryRecord| {
        it.channel_id == history.channels[number]
            && it.event.kind != EventKind::IncidentResolved
            && it.blocked_by.is_none()
            && it.digest_id.is_none()
    };
    let mut firsts: Vec<_> =
        all.iter().filter(is_counted).filter_map(|it| it.attempts.first()).map(|it| it.started_at).collect();
    firsts.sort_unstable();
    for window in firsts.windows(limit.max_per_minute as usize + 1) {
        let [first, .., last] = window else { continue };
        assert!(last.since_ms(*first) >= 60_000, "{} within {} ms", window.len(), last.since_ms(*first));
    }
}

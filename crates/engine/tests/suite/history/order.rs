//! Invariants of order and time: the order of one incident's messages through one webhook, and rate limits.

use tidings_domain::channel::DeliveryPriority;
use tidings_domain::event::EventKind;
use tidings_domain::id::ChannelId;
use tidings_store::history::DeliveryRecord;

use super::runner::{History, name};
use crate::receiver::ReceivedRequest;
use crate::records::is_incident;

/// Checks all of them.
pub fn check(history: &History) {
    let all = history.world.deliveries();
    for (number, channel) in history.channels.iter().enumerate() {
        if !history.setup.channels[number].merges {
            later_events_wait(&all, *channel, &history.world.receiver.requests_to(&name(number, false)));
        }
        if history.is_settled_each {
            rate_limit_holds_in_any_minute(history, &all, number);
        }
    }
    later_events_wait(&all, history.boss, &history.world.receiver.requests_to("boss"));
}

/// No delivery of an incident was attempted while an earlier one was in progress. (A held one is not in progress.)
fn later_events_wait(all: &[DeliveryRecord], channel: ChannelId, requests: &[ReceivedRequest]) {
    let of_channel: Vec<_> = all.iter().filter(|it| it.channel_id == channel && is_incident(it)).collect();
    let arrivals = |delivery: &DeliveryRecord| -> Vec<usize> {
        let id = Some(delivery.id.to_string());
        requests.iter().enumerate().filter(|(_, it)| it.delivery_id == id).map(|(index, _)| index).collect()
    };
    for (index, later) in of_channel.iter().enumerate() {
        let Some(&first) = arrivals(later).first() else { continue };
        for earlier in of_channel[..index].iter().filter(|it| it.event.run_id == later.event.run_id) {
            let was_held = earlier.gate_evaluations.iter().any(|evaluation| evaluation.held().is_some());
            let is_after = arrivals(earlier).iter().any(|at| *at > first);
            assert!(was_held || !is_after, "{later:#?}\nwas attempted before this was settled:\n{earlier:#?}");
        }
    }
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

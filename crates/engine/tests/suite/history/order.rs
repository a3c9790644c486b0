//! What came before what: the order of one incident's messages through one webhook, and rate limits.

use tidings_domain::channel::DeliveryPriority;
use tidings_domain::event::EventKind;
use tidings_domain::id::ChannelId;
use tidings_store::history::DeliveryRecord;

use super::run::{History, name};
use crate::log::is_of_incident;
use crate::receiver::Came;

/// All of it.
pub fn holds(history: &History) {
    let all = history.world.deliveries();
    for (number, channel) in history.channels.iter().enumerate() {
        if !history.setup.channels[number].merges {
            later_events_wait(&all, *channel, &history.world.receiver.through(&name(number, false)));
        }
        if history.is_calm {
            no_minute_has_too_many(history, &all, number);
        }
    }
    later_events_wait(&all, history.boss, &history.world.receiver.through("boss"));
}

/// Of one incident nothing was tried while something that was made before it was under way. What a gate holds back is not.
fn later_events_wait(all: &[DeliveryRecord], channel: ChannelId, came: &[Came]) {
    let of_channel: Vec<_> = all.iter().filter(|it| it.channel_id == channel && is_of_incident(it)).collect();
    let arrivals = |delivery: &DeliveryRecord| -> Vec<usize> {
        let id = Some(delivery.id.to_string());
        came.iter().enumerate().filter(|(_, came)| came.delivery_id == id).map(|(place, _)| place).collect()
    };
    for (place, later) in of_channel.iter().enumerate() {
        let Some(&first) = arrivals(later).first() else { continue };
        for earlier in of_channel[..place].iter().filter(|it| it.event.run_id == later.event.run_id) {
            let was_held = earlier.gate_evaluations.iter().any(|evaluation| evaluation.held().is_some());
            let is_after = arrivals(earlier).iter().any(|at| *at > first);
            assert!(was_held || !is_after, "{later:#?}\nwas tried before this was settled:\n{earlier:#?}");
        }
    }
}

/// In any minute there are no more first attempts than the limit admits. Resolutions are left out: they pass if their
/// opening was said. So is what waited for another: it was admitted before.
fn no_minute_has_too_many(history: &History, all: &[DeliveryRecord], number: usize) {
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
    for some in firsts.windows(limit.max_per_minute as usize + 1) {
        let [first, .., last] = some else { continue };
        assert!(last.since_ms(*first) >= 60_000, "{} within {} ms", some.len(), last.since_ms(*first));
    }
}

//! All lanes of this process: who may start now, and whose turn it is when the node is full.

use std::collections::VecDeque;
use std::sync::Arc;

use tidings_domain::event::Content;
use tidings_domain::id::ChannelId;
use tidings_domain::time::Timestamp;
use tidings_store::queue::{Claimed, LeaseRef};
use tokio::sync::Notify;

use super::channel_queue::{Lane, Limits};
use crate::ById;

/// The most deliveries that one fetch asks for, in all: it is one write, for which everybody waits.
const FETCH_MAX: usize = 128;
/// The most that it asks for of one channel, and the most if many channels share it.
const FETCH_OF_CHANNEL_MAX: usize = 32;
const FETCH_OF_CHANNEL_MIN: usize = 16;
/// Lanes that are kept even if nothing is under way, for the speed that they have learnt.
const LANES_KEPT: usize = 10_000;

/// All lanes. Every method is short and does no I/O: it is held under a lock.
pub(crate) struct Lanes {
    limits: Limits,
    lanes: ById<ChannelId, Lane>,
    /// Channels that have something ready and wait for the node, in their order.
    line: VecDeque<ChannelId>,
    in_flight: usize,
    /// Deliveries that wait for a slot, and places given to others.
    held: usize,
    /// Deliveries that found no place and wait in the store, as far as that is known.
    behind: usize,
    /// What those that wait take up, in bytes.
    ready_bytes: usize,
    /// Where the next fetch begins, so that with many channels each gets its turn.
    turn: usize,
    stopping: bool,
}

/// What follows from the end of an attempt.
#[derive(Default)]
pub(super) struct Finished {
    /// Deliveries to start now.
    pub start: Vec<Claimed>,
    /// Leases to give back, because the channel's breaker opened.
    pub give_back: Vec<LeaseRef>,
    /// Whether some lane should fetch what the store has for it.
    pub wants_more: bool,
}

impl Lanes {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            lanes: ById::default(),
            line: VecDeque::new(),
            in_flight: 0,
            held: 0,
            behind: 0,
            ready_bytes: 0,
            turn: 0,
            stopping: false,
        }
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight
    }

    pub(crate) fn ready(&self) -> usize {
        self.lanes.values().map(|lane| lane.ready.len()).sum()
    }

    /// How much of the node's memory for deliveries is taken, in deliveries.
    fn taken(&self) -> usize {
        if self.ready_bytes < self.limits.node_ready_bytes_max { self.held } else { self.limits.node_ready_max }
    }

    pub(crate) fn open_breakers(&self) -> usize {
        self.lanes.values().filter(|lane| lane.breaker.is_open()).count()
    }

    fn lane(&mut self, channel_id: ChannelId) -> &mut Lane {
        self.lanes.entry(channel_id).or_insert_with(Lane::new)
    }

    /// Whether any lane may be crowded.
    pub(super) fn is_pressed(&self) -> bool {
        self.held >= self.limits.channel_slots || self.behind > 0
    }

    /// The first of these channels that is crowded for one who brings so many deliveries, as what is told when it no
    /// longer is.
    pub(super) fn crowded(&self, channels: &[ChannelId], brought: usize) -> Option<Arc<Notify>> {
        let (taken, limits) = (self.taken(), self.limits);
        let mut lanes = channels.iter().filter_map(|channel_id| self.lanes.get(channel_id));
        lanes.find(|lane| lane.is_crowded(brought, taken, &limits)).map(|lane| Arc::clone(&lane.eased))
    }

    /// Gives a place in memory to a delivery that is about to be committed; false if it must wait in the store, behind
    /// what waits there already.
    pub(super) fn reserve(&mut self, channel_id: ChannelId, now: Timestamp) -> bool {
        let (limits, taken, stopping) = (self.limits, self.taken(), self.stopping);
        let lane = self.lane(channel_id);
        let granted = !stopping && !lane.has_backlog(now) && lane.room(taken, &limits) > 0;
        if granted {
            lane.reserved += 1;
            self.held += 1;
        } else {
            lane.behind += 1;
            self.behind += 1;
        }
        granted
    }

    /// Takes a place back.
    pub(super) fn unreserve(&mut self, channel_id: ChannelId, count: usize) {
        if let Some(lane) = self.lanes.get_mut(&channel_id) {
            lane.reserved = lane.reserved.saturating_sub(count);
            self.held = self.held.saturating_sub(count);
        }
    }

    /// A delivery is committed and may be sent: adds to `start` what may start now, it or others before it.
    pub(super) fn offer(&mut self, claimed: Claimed, start: &mut Vec<Claimed>) {
        let channel_id = claimed.channel_id;
        let (limits, in_flight, stopping) = (self.limits, self.in_flight, self.stopping);
        let lane = self.lane(channel_id);
        let may_start = !stopping && lane.may_start(in_flight, &limits);
        if may_start && lane.ready.is_empty() {
            lane.in_flight += 1;
            self.in_flight += 1;
            start.push(claimed);
            return;
        }
        let bytes = weight(&claimed);
        lane.ready.push_back(claimed);
        let queue_up = !lane.in_line;
        lane.in_line = true;
        self.held += 1;
        self.ready_bytes += bytes;
        if queue_up {
            self.line.push_back(channel_id);
        }
        if may_start {
            self.start_waiting(start);
        }
    }

    /// An attempt ended.
    pub(super) fn finish(&mut self, channel_id: ChannelId, now: Timestamp, took: Option<(u32, bool)>) -> Finished {
        let mut finished = Finished::default();
        self.in_flight = self.in_flight.saturating_sub(1);
        if let Some(lane) = self.lanes.get_mut(&channel_id) {
            lane.in_flight = lane.in_flight.saturating_sub(1);
            let opened = took.is_some_and(|(duration_ms, outage)| lane.learn(duration_ms, outage));
            if opened {
                self.held = self.held.saturating_sub(lane.ready.len());
                let given_back: usize = lane.ready.iter().map(weight).sum();
                self.ready_bytes = self.ready_bytes.saturating_sub(given_back);
                finished.give_back.extend(lane.ready.drain(..).map(|claimed| claimed.lease_ref()));
            }
            if !lane.ready.is_empty() && !lane.in_line {
                lane.in_line = true;
                self.line.push_back(channel_id);
            }
            finished.wants_more = lane.wants_more(now, &self.limits);
        }
        self.start_waiting(&mut finished.start);
        let (taken, limits) = (self.taken(), self.limits);
        if let Some(lane) = self.lanes.get(&channel_id).filter(|lane| !lane.is_crowded(1, taken, &limits)) {
            lane.eased.notify_one();
        }
        finished
    }

    /// Starts what may start, one of each lane in turn. A lane that has all it may have leaves the line; the end of one
    /// of its own attempts brings it back.
    fn start_waiting(&mut self, start: &mut Vec<Claimed>) {
        let mut refused_in_a_row = 0;
        while !self.stopping && refused_in_a_row < self.line.len() {
            let Some(channel_id) = self.line.pop_front() else { return };
            let Some(lane) = self.lanes.get_mut(&channel_id) else { continue };
            if lane.may_start(self.in_flight, &self.limits) {
                if let Some(claimed) = lane.ready.pop_front() {
                    lane.in_flight += 1;
                    self.in_flight += 1;
                    self.held = self.held.saturating_sub(1);
                    self.ready_bytes = self.ready_bytes.saturating_sub(weight(&claimed));
                    start.push(claimed);
                }
                refused_in_a_row = 0;
            } else if lane.in_flight < self.limits.channel_slots && !lane.breaker.is_open() {
                refused_in_a_row += 1;
            } else {
                lane.in_line = false;
                continue;
            }
            lane.in_line = !lane.ready.is_empty();
            if lane.in_line {
                self.line.push_back(channel_id);
            }
        }
    }

    /// The store has something for this channel at this instant.
    pub(super) fn note_due(&mut self, channel_id: ChannelId, at: Timestamp) {
        self.lane(channel_id).note_due(at);
    }

    /// What to fetch from the store now, and places for it: for each channel how many.
    pub(super) fn wanted(&mut self, now: Timestamp) -> Vec<(ChannelId, u32)> {
        if self.stopping {
            return Vec::new();
        }
        let limits = self.limits;
        let wanting = self.lanes.iter().filter(|(_, lane)| lane.wants_more(now, &limits));
        let mut wanting: Vec<ChannelId> = wanting.map(|(id, _)| *id).collect();
        wanting.sort_unstable();
        let turn = self.turn % wanting.len().max(1);
        wanting.rotate_left(turn);
        let mut wanted = Vec::new();
        let mut budget = FETCH_MAX;
        let share = (FETCH_MAX / wanting.len().max(1)).clamp(FETCH_OF_CHANNEL_MIN, FETCH_OF_CHANNEL_MAX);
        for channel_id in wanting {
            let taken = self.taken();
            let Some(lane) = self.lanes.get_mut(&channel_id) else { continue };
            let count = lane.room(taken, &limits).min(share).min(budget);
            if count > 0 {
                lane.reserved += count;
                self.held += count;
                budget -= count;
                wanted.push((channel_id, count as u32));
            }
            if budget == 0 {
                break;
            }
        }
        self.turn = turn + wanted.len();
        wanted
    }

    /// What was fetched: gives the places back and answers what may start. `wanted` is what was asked for.
    pub(super) fn fetched(&mut self, wanted: &[(ChannelId, u32)], claimed: Vec<Claimed>) -> (Vec<Claimed>, bool) {
        let mut got: ById<ChannelId, u32> = ById::default();
        for claimed in &claimed {
            *got.entry(claimed.channel_id).or_default() += 1;
        }
        let mut drained = false;
        for &(channel_id, count) in wanted {
            self.unreserve(channel_id, count as usize);
            if let Some(lane) = self.lanes.get_mut(&channel_id) {
                let got = got.get(&channel_id).copied().unwrap_or(0);
                self.behind = self.behind.saturating_sub(lane.caught_up(got as usize, got < count));
                drained |= got < count;
            }
        }
        let mut start = Vec::new();
        for claimed in claimed {
            self.offer(claimed, &mut start);
        }
        (start, drained)
    }

    /// Nothing could be fetched: gives the places back.
    pub(super) fn give_up(&mut self, wanted: &[(ChannelId, u32)]) {
        for &(channel_id, count) in wanted {
            self.unreserve(channel_id, count as usize);
        }
    }

    /// The earliest instant at which some lane that has room will have something due.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        let taken = self.taken();
        let hungry = |lane: &&Lane| lane.has_little_ready(&self.limits) && lane.room(taken, &self.limits) > 0;
        self.lanes.values().filter(hungry).filter_map(|lane| lane.due_at).min()
    }

    /// Forgets lanes that have nothing under way, once there are many.
    pub(super) fn sweep(&mut self) {
        if self.lanes.len() > LANES_KEPT {
            self.lanes.retain(|_, lane| !lane.is_idle() || lane.breaker.is_open());
        }
    }

    /// Starts nothing more; answers the leases that are to be given back.
    pub(super) fn stop(&mut self) -> Vec<LeaseRef> {
        self.stopping = true;
        self.line.clear();
        self.lanes.values_mut().flat_map(|lane| lane.ready.drain(..)).map(|claimed| claimed.lease_ref()).collect()
    }
}

/// What a delivery takes up in memory, in bytes, roughly.
fn weight(claimed: &Claimed) -> usize {
    1_024
        + match &claimed.event.content {
            Content::Run(run) => {
                run.output.as_ref().map_or(0, |output| output.get().len())
                    + run.error_message.as_ref().map_or(0, String::len)
            }
            Content::Incident(outage) => outage.fields.iter().map(|fact| fact.label.len() + fact.value.len()).sum(),
            Content::Digest(digest) => digest.entries.iter().map(|entry| entry.title.len() + 100).sum(),
        }
}

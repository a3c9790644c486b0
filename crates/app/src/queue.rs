//! `/queue`: what waits, and what becomes due next.

use serde::{Deserialize, Serialize};
use tidings_domain::channel::ChannelType;
use tidings_domain::id::{ChannelId, DeliveryId};
use tidings_domain::time::Timestamp;
use tidings_engine::EngineError;
use tidings_store::insights::UpcomingDelivery;
use utoipa::ToSchema;

use crate::error::Result;
use crate::principal::{Authorized, Read};
use crate::response::Response;

/// How much of the queue to show.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(default)]
pub struct QueueQuery {
    /// The most channels, and the most of each kind of what is next.
    #[schema(minimum = 1, maximum = 100)]
    pub limit: u32,
}

impl Default for QueueQuery {
    fn default() -> Self {
        Self { limit: 10 }
    }
}

/// The queue of a workspace.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Queue {
    pub at: Timestamp,
    #[serde(flatten)]
    pub total: Depth,
    /// The channels with the longest backlogs, and those that are paused.
    pub channels: Vec<ChannelBacklog>,
    pub next: Next,
}

/// How much waits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Depth {
    /// Deliveries that wait for an attempt: also for a retry, or behind an earlier one of their endpoint or alert.
    pub pending: u64,
    /// Deliveries that are being sent, or are about to be.
    pub sending: u64,
    /// Deliveries that a gate holds back.
    pub held: u64,
    /// When the oldest pending delivery was made; null if none is pending.
    pub oldest_made_at: Option<Timestamp>,
    /// When the next pending delivery is due. In the past while the queue does not keep up.
    pub next_due_at: Option<Timestamp>,
}

/// What waits for one channel.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChannelBacklog {
    pub channel_id: ChannelId,
    pub name: String,
    #[serde(rename = "type")]
    pub channel_type: ChannelType,
    /// Null for a shared channel; else the channel is private to a rule.
    pub is_private: bool,
    #[serde(flatten)]
    pub depth: Depth,
    /// When the next held delivery may be released.
    pub next_release_at: Option<Timestamp>,
    /// Until when the receiver wants no attempt, because it limits the rate.
    pub paused_until: Option<Timestamp>,
}

/// What becomes due next, the earliest first.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Next {
    /// Pending deliveries whose instant is still to come, most of them retries.
    pub retries: Vec<NextDelivery>,
    /// Held deliveries.
    pub held: Vec<NextDelivery>,
    /// When the held deliveries of a channel are released.
    pub releases: Vec<NextRelease>,
}

/// A delivery that becomes due.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NextDelivery {
    pub delivery_id: DeliveryId,
    pub channel_id: ChannelId,
    /// Of a retry through a paused channel: the end of the pause, if that is later.
    pub at: Timestamp,
}

/// A release of held deliveries.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NextRelease {
    pub channel_id: ChannelId,
    pub at: Timestamp,
    /// All that are held for the channel; some of them may stay held.
    pub held: u64,
    /// Whether they leave as one digest; webhooks get theirs singly.
    pub is_digest: bool,
}

impl Response for Queue {}

impl Depth {
    fn add(&mut self, other: &Self) {
        let earliest = |one: Option<Timestamp>, other| [one, other].into_iter().flatten().min();
        self.pending += other.pending;
        self.sending += other.sending;
        self.held += other.held;
        self.oldest_made_at = earliest(self.oldest_made_at, other.oldest_made_at);
        self.next_due_at = earliest(self.next_due_at, other.next_due_at);
    }
}

/// The queue.
///
/// # Errors
/// Those of history reads.
pub async fn queue(by: &Authorized<Read>, query: QueueQuery) -> Result<Queue> {
    let (view, now, limit) = (by.view()?, by.now(), query.limit as usize);
    let mut ids: Vec<ChannelId> = view.channels().map(|loaded| loaded.channel.id).collect();
    ids.sort_unstable();
    let store = by.engine().store();
    let backlogs = store.backlog(ids.clone()).await.map_err(EngineError::from)?;
    let upcoming = store.upcoming(ids, now, query.limit).await.map_err(EngineError::from)?;

    let mut total = Depth::default();
    let (mut channels, mut releases) = (Vec::new(), Vec::new());
    for backlog in backlogs {
        let Some(loaded) = view.channel(backlog.channel_id) else { continue };
        let depth = Depth {
            pending: backlog.pending,
            sending: backlog.sending,
            held: backlog.held,
            oldest_made_at: backlog.oldest_made_at,
            next_due_at: backlog.next_due_at,
        };
        total.add(&depth);
        releases.extend(backlog.next_release_at.map(|at| NextRelease {
            channel_id: backlog.channel_id,
            at,
            held: backlog.held,
            is_digest: loaded.channel.channel_type != ChannelType::Webhook,
        }));
        let paused_until = by.engine().queue().health(backlog.channel_id).paused_until;
        if depth.pending + depth.sending + depth.held > 0 || paused_until.is_some() {
            channels.push(ChannelBacklog {
                channel_id: backlog.channel_id,
                name: loaded.channel.name.clone(),
                channel_type: loaded.channel.channel_type,
                is_private: !loaded.is_shared(),
                depth,
                next_release_at: backlog.next_release_at,
                paused_until,
            });
        }
    }
    let waits = |channel: &ChannelBacklog| channel.depth.pending + channel.depth.sending + channel.depth.held;
    channels.sort_by_key(|channel| (channel.paused_until.is_none(), std::cmp::Reverse(waits(channel))));
    channels.truncate(limit);
    releases.sort_by_key(|release: &NextRelease| release.at);
    releases.truncate(limit);
    let next = |delivery: UpcomingDelivery, is_retry: bool| {
        let paused_until = by.engine().queue().health(delivery.channel_id).paused_until.filter(|_| is_retry);
        NextDelivery {
            delivery_id: delivery.delivery_id,
            channel_id: delivery.channel_id,
            at: paused_until.map_or(delivery.at, |until| until.max(delivery.at)),
        }
    };
    let mut retries: Vec<_> = upcoming.retries.into_iter().map(|delivery| next(delivery, true)).collect();
    retries.sort_by_key(|delivery| delivery.at);
    let held = upcoming.held.into_iter().map(|delivery| next(delivery, false)).collect();
    Ok(Queue { at: now, total, channels, next: Next { retries, held, releases } })
}

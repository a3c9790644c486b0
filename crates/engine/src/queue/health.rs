//! Health of channels: kept in memory, a few bytes for each channel, so that the event pipeline writes nothing for it, and
//! saved every few seconds. What a process that is killed did not save is lost. Tests of channels do not count; their
//! result is part of the channel's record.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tidings_domain::id::{ChannelId, WorkspaceId};
use tidings_domain::time::Timestamp;
use tidings_store::activity::ChannelHealthRecord;
use tidings_store::{Store, StoreError};

use super::Queue;
use crate::ById;
use crate::sync::lock;

/// Attempts that the success rate covers.
const WINDOW: u32 = 100;
/// How often changed health is saved.
const SAVE_EVERY: Duration = Duration::from_secs(5);
/// Channels that one write saves.
const SAVE_BATCH: usize = 500;

/// How recent attempts through a channel went.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Health {
    pub last_sent_at: Option<Timestamp>,
    pub last_failed_at: Option<Timestamp>,
    /// The first failure after the last success; none after a success.
    pub failing_since: Option<Timestamp>,
    /// Success rate over the last 100 attempts, from 0 to 1.
    pub success_rate: Option<f64>,
    /// Until when the receiver wants no attempt, because it limits the rate.
    pub paused_until: Option<Timestamp>,
}

/// The health of one channel with its sliding window.
#[derive(Debug, Clone, Copy)]
struct HealthWindow {
    record: ChannelHealthRecord,
    /// Whether it changed since it was saved.
    is_unsaved: bool,
}

impl HealthWindow {
    fn new(workspace_id: WorkspaceId, channel_id: ChannelId) -> Self {
        let (last_sent_at, last_failed_at, failing_since) = (None, None, None);
        let record = ChannelHealthRecord {
            workspace_id,
            channel_id,
            last_sent_at,
            last_failed_at,
            failing_since,
            outcomes: 0,
            count: 0,
        };
        Self { record, is_unsaved: false }
    }

    fn record(&mut self, is_delivered: bool, at: Timestamp) {
        let record = &mut self.record;
        if is_delivered {
            (record.last_sent_at, record.failing_since) = (Some(at), None);
        } else {
            record.last_failed_at = Some(at);
            record.failing_since = record.failing_since.or(Some(at));
        }
        record.outcomes = (record.outcomes << 1 | u128::from(is_delivered)) & ((1 << WINDOW) - 1);
        record.count = (record.count + 1).min(WINDOW);
        self.is_unsaved = true;
    }

    fn health(&self) -> Health {
        let ChannelHealthRecord { last_sent_at, last_failed_at, failing_since, outcomes, count, .. } = self.record;
        let success_rate = (count > 0).then(|| f64::from(outcomes.count_ones()) / f64::from(count));
        Health { last_sent_at, last_failed_at, failing_since, success_rate, paused_until: None }
    }
}

/// The health of all channels.
#[derive(Default)]
pub(super) struct ChannelHealthMap(Mutex<ById<ChannelId, HealthWindow>>);

impl ChannelHealthMap {
    /// The health that an earlier process saved.
    pub(super) async fn load(store: &dyn Store) -> Result<Self, StoreError> {
        let records = store.channel_health().await?.into_iter();
        let windows = records.map(|record| (record.channel_id, HealthWindow { record, is_unsaved: false }));
        Ok(Self(Mutex::new(windows.collect())))
    }

    fn windows(&self) -> MutexGuard<'_, ById<ChannelId, HealthWindow>> {
        lock(&self.0)
    }

    /// Records a settled attempt.
    pub(super) fn record(&self, (workspace_id, id): (WorkspaceId, ChannelId), is_delivered: bool, at: Timestamp) {
        self.windows().entry(id).or_insert_with(|| HealthWindow::new(workspace_id, id)).record(is_delivered, at);
    }

    pub(super) fn of(&self, id: ChannelId) -> Health {
        self.windows().get(&id).map(HealthWindow::health).unwrap_or_default()
    }

    /// Drops the health of a deleted channel.
    pub(super) fn forget(&self, id: ChannelId) {
        self.windows().remove(&id);
    }

    /// Saves what changed since the last call. After a failure it is saved by the next one.
    pub(super) async fn save(&self, store: &dyn Store) -> Result<(), StoreError> {
        let mut unsaved = Vec::new();
        for window in self.windows().values_mut().filter(|window| window.is_unsaved) {
            window.is_unsaved = false;
            unsaved.push(window.record);
        }
        for batch in unsaved.chunks(SAVE_BATCH) {
            if let Err(error) = store.save_channel_health(batch.to_vec()).await {
                let mut windows = self.windows();
                for record in &unsaved {
                    windows.entry(record.channel_id).and_modify(|window| window.is_unsaved = true);
                }
                return Err(error);
            }
        }
        Ok(())
    }
}

/// Saves the health of channels until the store is closed.
pub(super) async fn run(queue: Queue) {
    loop {
        tokio::time::sleep(SAVE_EVERY).await;
        match queue.0.health.save(queue.0.store.as_ref()).await {
            Ok(()) => {}
            Err(StoreError::Closed) => return,
            Err(error) => tracing::warn!(%error, "failed to save the health of channels, will retry"),
        }
    }
}

#[cfg(test)]
mod tests {
    use tidings_domain::id::Id;

    use super::*;

    fn channel() -> (WorkspaceId, ChannelId) {
        (WorkspaceId::from_bytes([9; 16]), ChannelId::from_bytes([1; 16]))
    }

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_unix_ms(ms)
    }

    #[test]
    fn failing_since_is_first_failure_after_last_success() {
        let (map, id) = (ChannelHealthMap::default(), channel().1);
        assert_eq!(map.of(id), Health::default());
        for (ms, is_delivered) in [(1, false), (2, true), (3, false), (4, false)] {
            map.record(channel(), is_delivered, at(ms));
        }
        let expected = Health {
            last_sent_at: Some(at(2)),
            last_failed_at: Some(at(4)),
            failing_since: Some(at(3)),
            success_rate: Some(0.25),
            paused_until: None,
        };
        assert_eq!(map.of(id), expected);
        map.record(channel(), true, at(5));
        assert_eq!(map.of(id).failing_since, None);
        map.forget(id);
        assert_eq!(map.of(id), Health::default());
    }

    #[test]
    fn success_rate_covers_last_hundred_attempts() {
        let (map, id) = (ChannelHealthMap::default(), channel().1);
        for ms in 0..200 {
            map.record(channel(), ms >= 150, at(ms));
        }
        assert_eq!(map.of(id).success_rate, Some(0.5));
        for ms in 200..260 {
            map.record(channel(), true, at(ms));
        }
        assert_eq!(map.of(id).success_rate, Some(1.0));
    }
}

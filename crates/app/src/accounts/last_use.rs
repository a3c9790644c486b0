//! When and from where API keys and sessions were last used.
//!
//! Recorded lazily, so that a request costs no write: of each key at most one use in [`INTERVAL_MS`], many keys in one
//! write. What a process has not written when it ends is lost, which is at most that much.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tidings_domain::id::{ApiKeyId, SessionId};
use tidings_domain::time::Timestamp;
use tidings_store::accounts::Use;

/// The least time between two recorded uses of one key or session.
pub const INTERVAL_MS: u64 = 60_000;
/// Keys that are remembered. Beyond it the oldest are forgotten, which costs one more write each.
const KEYS_MAX: usize = 16_384;

#[derive(Debug, Clone)]
struct Known {
    at: Timestamp,
    address: Option<IpAddr>,
    is_written: bool,
}

#[derive(Debug, Default)]
struct State {
    keys: HashMap<ApiKeyId, Known>,
    last_batch_at: Option<Timestamp>,
}

/// The uses of API keys.
#[derive(Debug, Default)]
pub struct LastUses(Mutex<State>);

impl LastUses {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a use. Returns the uses to write now, if the last batch is old enough.
    pub fn note(&self, id: ApiKeyId, now: Timestamp, address: Option<IpAddr>) -> Option<Vec<Use<ApiKeyId>>> {
        let mut state = self.lock();
        match state.keys.get_mut(&id) {
            Some(known) if is_recent(known.at, now) => {
                // The common case. Its instant stays that of the first use within the interval.
                if known.is_written {
                    return None;
                }
            }
            Some(known) => *known = Known { at: now, address, is_written: false },
            None => {
                if state.keys.len() >= KEYS_MAX {
                    state.keys.clear();
                }
                state.keys.insert(id, Known { at: now, address, is_written: false });
            }
        }
        if state.last_batch_at.is_some_and(|at| is_recent(at, now)) {
            return None;
        }
        state.last_batch_at = Some(now);
        let pending = state.keys.iter_mut().filter(|(_, known)| !known.is_written);
        let batch = pending.map(|(id, known)| {
            known.is_written = true;
            Use { id: *id, at: known.at, address: known.address.map(|address| address.to_string()) }
        });
        Some(batch.collect())
    }

    /// The last use that this process knows of, which may not be written yet.
    pub fn get(&self, id: ApiKeyId) -> Option<(Timestamp, Option<IpAddr>)> {
        self.lock().keys.get(&id).map(|known| (known.at, known.address))
    }
}

/// When this process last recorded a use of each session. The session itself says when its use is to be recorded; this keeps
/// requests that arrive before that is written, or while it cannot be written, from each causing a write.
#[derive(Debug, Default)]
pub struct SessionUses(Mutex<HashMap<SessionId, Timestamp>>);

impl SessionUses {
    /// Whether a use now is to be written: at most once in [`INTERVAL_MS`].
    pub fn is_due(&self, id: SessionId, now: Timestamp) -> bool {
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if written.get(&id).is_some_and(|at| is_recent(*at, now)) {
            return false;
        }
        if written.len() >= KEYS_MAX {
            written.clear();
        }
        written.insert(id, now);
        true
    }
}

/// Whether less than the interval has passed. A clock that was set back starts a new one.
fn is_recent(earlier: Timestamp, now: Timestamp) -> bool {
    earlier <= now && now.since_ms(earlier) < INTERVAL_MS
}

#[cfg(test)]
mod tests {
    use tidings_domain::id::Id as _;

    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_unix_ms(1_000_000 + ms)
    }

    fn id(number: u8) -> ApiKeyId {
        ApiKeyId::from_bytes([number; 16])
    }

    #[test]
    fn use_is_written_at_most_once_a_minute_and_many_keys_together() {
        let uses = LastUses::default();
        let address = "192.0.2.1".parse().ok();
        let ids = |batch: Option<Vec<Use<ApiKeyId>>>| {
            batch.map(|batch| {
                let mut ids: Vec<_> = batch.iter().map(|one| (one.id, one.at)).collect();
                ids.sort();
                ids
            })
        };
        assert_eq!(ids(uses.note(id(1), at(0), address)), Some(vec![(id(1), at(0))]));
        for ms in 1..1_000 {
            assert_eq!(ids(uses.note(id(1), at(ms), address)), None);
        }
        assert_eq!(ids(uses.note(id(2), at(1_000), address)), None);
        assert_eq!(ids(uses.note(id(3), at(2_000), None)), None);
        assert_eq!(uses.get(id(2)), Some((at(1_000), address)));
        let batch = ids(uses.note(id(1), at(60_000), address));
        assert_eq!(batch, Some(vec![(id(1), at(60_000)), (id(2), at(1_000)), (id(3), at(2_000))]));
        assert_eq!(ids(uses.note(id(1), at(60_001), address)), None);
        assert!(uses.note(id(1), at(-5_000), address).is_some(), "the clock was set back");
    }

    #[test]
    fn session_use_is_written_once_for_requests_that_arrive_together() {
        let (uses, session) = (SessionUses::default(), |number: u8| SessionId::from_bytes([number; 16]));
        let due = (0..1_000).filter(|ms| uses.is_due(session(1), at(*ms))).count();
        assert_eq!(due, 1);
        assert!(uses.is_due(session(2), at(5)));
        assert!(uses.is_due(session(1), at(60_000)) && !uses.is_due(session(1), at(60_001)));
        assert!(uses.is_due(session(1), at(-5_000)), "the clock was set back");
    }

    #[test]
    fn memory_is_bounded() {
        let uses = LastUses::default();
        for number in 0..2 * KEYS_MAX as u128 {
            uses.note(ApiKeyId::from_bytes(number.to_be_bytes()), at(0), None);
        }
        assert!(uses.lock().keys.len() <= KEYS_MAX);
    }
}

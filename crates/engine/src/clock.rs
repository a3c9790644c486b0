//! Where time and randomness come from: their one home. Everything else is given them.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};

use tidings_domain::id::{Id, id_suffix, uuid_v7};
use tidings_domain::time::Timestamp;

/// Tells the time and draws at random.
pub trait Clock: Send + Sync {
    /// The time of day.
    fn now(&self) -> Timestamp;

    /// Fills the buffer with random bytes that nobody can guess.
    fn random(&self, buffer: &mut [u8]);

    /// What stands behind the time in an id: unlikely to repeat, not secret; ids of one process rise within a
    /// millisecond, too.
    fn id_tail(&self) -> [u8; 10];
}

/// The system's own time and randomness.
#[derive(Debug, Default)]
pub struct SystemClock {
    /// Random bytes drawn ahead for ids, so that one id does not cost one system call.
    drawn: Mutex<Drawn>,
    /// Counts ids.
    made: AtomicU32,
}

#[derive(Debug)]
struct Drawn {
    bytes: [u8; 1_000],
    used: usize,
}

impl Default for Drawn {
    fn default() -> Self {
        Self { bytes: [0; 1_000], used: 1_000 }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        #[expect(clippy::disallowed_methods, reason = "this is where time comes in")]
        let now = std::time::SystemTime::now();
        let ms = match now.duration_since(std::time::UNIX_EPOCH) {
            Ok(since) => since.as_millis() as i64,
            Err(before) => -(before.duration().as_millis() as i64),
        };
        Timestamp::from_unix_ms(ms)
    }

    fn random(&self, buffer: &mut [u8]) {
        if let Err(error) = getrandom::fill(buffer) {
            // Without randomness there are no ids, secrets or nonces: nothing can go on.
            tracing::error!(%error, "the system gives no randomness");
            std::process::abort();
        }
    }

    fn id_tail(&self) -> [u8; 10] {
        let mut drawn = self.drawn.lock().unwrap_or_else(PoisonError::into_inner);
        if drawn.used + 10 > drawn.bytes.len() {
            self.random(&mut drawn.bytes);
            drawn.used = 0;
        }
        let mut bytes = [0; 10];
        let used = drawn.used;
        bytes.copy_from_slice(&drawn.bytes[used..used + 10]);
        drawn.used += 10;
        id_suffix(self.made.fetch_add(1, Ordering::Relaxed), bytes)
    }
}

/// A clock for tests: stands still until it is moved, and draws a fixed sequence.
#[derive(Debug)]
pub struct ManualClock {
    now_ms: AtomicI64,
    drawn: AtomicU64,
}

impl ManualClock {
    /// A clock that shows this instant.
    pub fn at(now: Timestamp) -> Self {
        Self { now_ms: AtomicI64::new(now.unix_ms()), drawn: AtomicU64::new(0) }
    }

    /// Moves it forward.
    pub fn advance_ms(&self, ms: u64) {
        self.now_ms.fetch_add(ms as i64, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_ms(self.now_ms.load(Ordering::SeqCst))
    }

    fn random(&self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(8) {
            // SplitMix64 over a counter: fixed, and spread over all bits.
            let mut x = self.drawn.fetch_add(1, Ordering::SeqCst).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            let bytes = (x ^ (x >> 31)).to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
    }

    fn id_tail(&self) -> [u8; 10] {
        id_suffix(self.drawn.fetch_add(1, Ordering::SeqCst) as u32, [0; 10])
    }
}

/// A new id, made now.
pub fn new_id<T: Id>(clock: &dyn Clock, now: Timestamp) -> T {
    T::from_uuid(uuid_v7(now.unix_ms().max(0).unsigned_abs(), &clock.id_tail()))
}

/// A number in −1..1, for jitter.
pub fn jitter(clock: &dyn Clock) -> f64 {
    let mut bytes = [0; 4];
    clock.random(&mut bytes);
    let drawn = u32::from_le_bytes(bytes);
    f64::from(drawn) / f64::from(u32::MAX) * 2.0 - 1.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_domain::id::EventId;

    #[test]
    fn ids_of_one_millisecond_rise() {
        let clock = SystemClock::default();
        let now = Timestamp::from_unix_ms(1_777_000_000_000);
        let ids: Vec<EventId> = (0..20_000).map(|_| new_id(&clock, now)).collect();
        assert!(ids.windows(2).all(|pair| pair[0] < pair[1] && pair[0].sort_key() < pair[1].sort_key()));
        assert!(jitter(&clock).abs() <= 1.0);
    }
}

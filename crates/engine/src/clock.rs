//! The only source of time and randomness: everything else takes them from a [`Clock`].

use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};

use tidings_domain::id::{Id, id_suffix, uuid_v7};
use tidings_domain::time::Timestamp;

use crate::sync::lock;

/// A source of time and randomness.
pub trait Clock: Send + Sync {
    /// The current instant.
    fn now(&self) -> Timestamp;

    /// Fills the buffer with cryptographically secure random bytes.
    fn random(&self, buffer: &mut [u8]);

    /// The part of an id behind its time: unlikely to repeat, not secret, and increasing, so that the ids that one process
    /// makes within a millisecond are ordered.
    fn id_suffix(&self) -> [u8; 10];
}

/// The operating system's clock and randomness.
#[derive(Debug, Default)]
pub struct SystemClock {
    entropy: Mutex<EntropyBuffer>,
    /// Number of ids made; orders those of one millisecond.
    ids_made: AtomicU32,
}

/// Random bytes drawn ahead, so that an id does not cost a system call.
#[derive(Debug)]
struct EntropyBuffer {
    bytes: [u8; 1_000],
    used: usize,
}

impl Default for EntropyBuffer {
    fn default() -> Self {
        Self { bytes: [0; 1_000], used: 1_000 }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        #[expect(clippy::disallowed_methods, reason = "the only place that reads the system's clock")]
        let now = std::time::SystemTime::now();
        let ms = match now.duration_since(std::time::UNIX_EPOCH) {
            Ok(since) => since.as_millis() as i64,
            Err(before) => -(before.duration().as_millis() as i64),
        };
        Timestamp::from_unix_ms(ms)
    }

    fn random(&self, buffer: &mut [u8]) {
        if let Err(error) = getrandom::fill(buffer) {
            // Without randomness there are no ids, secrets or nonces: continuing would be unsafe.
            tracing::error!(%error, "the operating system provides no randomness, aborting");
            std::process::abort();
        }
    }

    fn id_suffix(&self) -> [u8; 10] {
        let mut buffer = lock(&self.entropy);
        if buffer.used + 10 > buffer.bytes.len() {
            self.random(&mut buffer.bytes);
            buffer.used = 0;
        }
        let mut bytes = [0; 10];
        let used = buffer.used;
        bytes.copy_from_slice(&buffer.bytes[used..used + 10]);
        buffer.used += 10;
        id_suffix(self.ids_made.fetch_add(1, Ordering::Relaxed), bytes)
    }
}

/// A clock for tests: fixed until it is advanced; draws a fixed pseudo-random sequence.
#[derive(Debug)]
pub struct ManualClock {
    now_ms: AtomicI64,
    drawn: AtomicU64,
}

impl ManualClock {
    /// A clock at this instant.
    pub fn at(now: Timestamp) -> Self {
        Self { now_ms: AtomicI64::new(now.unix_ms()), drawn: AtomicU64::new(0) }
    }

    /// Advances the clock.
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

    fn id_suffix(&self) -> [u8; 10] {
        id_suffix(self.drawn.fetch_add(1, Ordering::SeqCst) as u32, [0; 10])
    }
}

/// A new id with this time.
pub fn new_id<T: Id>(clock: &dyn Clock, now: Timestamp) -> T {
    T::from_uuid(uuid_v7(now.unix_ms().max(0).unsigned_abs(), &clock.id_suffix()))
}

/// A random number from -1 to 1, for the jitter of retries.
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
    fn ids_of_one_millisecond_are_ordered() {
        let clock = SystemClock::default();
        let now = Timestamp::from_unix_ms(1_777_000_000_000);
        let ids: Vec<EventId> = (0..20_000).map(|_| new_id(&clock, now)).collect();
        assert!(ids.windows(2).all(|pair| pair[0] < pair[1] && pair[0].sort_key() < pair[1].sort_key()));
        assert!(jitter(&clock).abs() <= 1.0);
    }
}

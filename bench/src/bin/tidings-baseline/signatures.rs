//! Signatures per second on one core.

use std::{hint::black_box, time::Duration};

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::json;
use sha2::Sha256;
use tidings_bench::clock;

/// Signatures between two reads of the clock.
const ROUND: u64 = 1_000;

/// Signs until the time limit. The key is prepared once, as in the server.
pub fn measure(limit: Duration, body_bytes: usize) -> serde_json::Value {
    let prepared = Hmac::<Sha256>::new_from_slice(&[0x5a; 48]).expect("HMAC takes keys of any length");
    let body = vec![b'x'; body_bytes];
    let start = clock::now_nanos();
    let (mut count, mut seconds) = (0, 0.0);
    while seconds < limit.as_secs_f64() {
        for _ in 0..ROUND {
            let mut mac = prepared.clone();
            mac.update(black_box(&body));
            black_box(mac.finalize());
        }
        count += ROUND;
        seconds = clock::seconds_between(start, clock::now_nanos());
    }
    json!({ "bodyBytes": body_bytes, "perSecond": count as f64 / seconds })
}

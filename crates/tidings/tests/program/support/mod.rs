//! Shared by the tests: the program under test, a client of its API, receivers, and other servers.

pub mod api;
pub mod examples;
pub mod foreign;
pub mod incidents;
pub mod load;
pub mod mailbox;
pub mod marked;
pub mod observed;
pub mod page;
pub mod receiver;
pub mod server;
pub mod signed;
pub mod snippets;
pub mod tls;
pub mod wire;

use std::time::{Duration, Instant};

use tidings_domain::time::Timestamp;

pub use api::Api;
pub use mailbox::Mailbox;
pub use page::Page;
pub use receiver::{Receiver, Reply, Request};
pub use server::{Server, Setup};

/// How long to wait for what must happen: enough for a busy machine.
pub const WAIT_MAX: Duration = Duration::from_secs(30);
/// The interval of polls.
pub const POLL_INTERVAL: Duration = Duration::from_millis(15);

/// The real time: durations are part of what is tested.
#[expect(clippy::disallowed_methods, reason = "the program under test runs in real time")]
pub fn now() -> Instant {
    Instant::now()
}

/// The time of day `duration` from now.
#[expect(clippy::disallowed_methods, reason = "the program under test goes by the real time of day")]
pub fn ahead(duration: Duration) -> Timestamp {
    let unix = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap() + duration;
    Timestamp::from_unix_ms(i64::try_from(unix.as_millis()).unwrap())
}

/// Polls until `poll` returns a value. Only for state that the API has no signal for, such as that of a delivery.
#[track_caller]
pub fn eventually<T>(what: &str, mut poll: impl FnMut() -> Option<T>) -> T {
    let deadline = now() + WAIT_MAX;
    loop {
        if let Some(value) = poll() {
            return value;
        }
        assert!(now() < deadline, "not within {WAIT_MAX:?}: {what}");
        std::thread::sleep(POLL_INTERVAL);
    }
}

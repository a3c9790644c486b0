//! What the tests share: the program under test, a client for it, and receivers of every character.

pub mod api;
pub mod foreign;
pub mod load;
pub mod mailbox;
pub mod marked;
pub mod outages;
pub mod page;
pub mod receiver;
pub mod server;
pub mod signed;
pub mod snippets;
pub mod tls;
pub mod watch;
pub mod wire;

use std::time::{Duration, Instant};

use tidings_domain::time::Timestamp;

pub use api::Api;
pub use mailbox::Mailbox;
pub use page::Page;
pub use receiver::{Receiver, Reply, Request};
pub use server::{Server, Setup};

/// When at the latest something that will happen has happened, on however busy a machine.
pub const SURELY: Duration = Duration::from_secs(30);
/// The time between two looks at what cannot say by itself that it has changed.
const LOOK: Duration = Duration::from_millis(15);

/// The real time: how long the program takes is part of what is tested.
#[expect(clippy::disallowed_methods, reason = "the program under test runs in real time")]
pub fn now() -> Instant {
    Instant::now()
}

/// The time of day so far from now, as the API writes it.
#[expect(clippy::disallowed_methods, reason = "the program under test goes by the real time of day")]
pub fn ahead(duration: Duration) -> Timestamp {
    let unix = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap() + duration;
    Timestamp::from_unix_ms(i64::try_from(unix.as_millis()).unwrap())
}

/// Looks again and again until there is something to see. For what can only be asked for, such as a delivery's state;
/// everything else is waited for by its signal.
#[track_caller]
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = now() + SURELY;
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(now() < deadline, "not within {SURELY:?}: {what}");
        std::thread::sleep(LOOK);
    }
}

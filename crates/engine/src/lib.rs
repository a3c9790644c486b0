//! The way of an event: accept → route → gates → queue → claim → send → settle.
//!
//! [`accept`] takes facts in and commits them with all that follows; [`queue`] sends what is due, fairly, and settles
//! it; [`settings`] changes rules and channels; [`snapshot`] is what all of them look at. The doors (HTTP, command
//! line) call [`Engine`] and nothing else.

pub mod accept;
mod channel_quota;
pub mod clock;
mod detach;
mod engine;
pub mod error;
mod fanout;
mod history;
pub mod incidents;
mod metrics;
mod monitoring;
pub mod queue;
mod quiescence;
mod retention;
pub mod settings;
mod simulate;
pub mod snapshot;
mod test_send;
pub mod vault;

pub use channel_quota::ChannelQuota;
pub use engine::{Engine, Options};
pub use error::EngineError;
pub use simulate::{SimulatedDelivery, Simulation, SimulationRequest};
pub use test_send::{TestConfig, TestSend};

/// The outcome of what the doors ask for.
pub type Result<T> = std::result::Result<T, EngineError>;

/// A map by ids. They are made here, not by callers, so that the hash need not be one that nobody can foresee.
type ById<K, V> = foldhash::HashMap<K, V>;

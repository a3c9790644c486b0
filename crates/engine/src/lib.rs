//! The way of an event: accept → route → gates → queue → claim → send → settle.
//!
//! [`accept`] takes facts in and commits them with all that follows; [`queue`] sends what is due, fairly, and settles
//! it; [`settings`] changes rules and channels; [`snapshot`] is what all of them look at. The doors (HTTP, command
//! line) call [`Engine`] and nothing else.

pub mod accept;
pub mod clock;
mod engine;
pub mod error;
mod explain;
pub mod incidents;
mod log;
mod measure;
mod pulse;
pub mod queue;
pub mod settings;
pub mod snapshot;
mod standing;
mod tell;
mod trial;
mod unbroken;
mod upkeep;
pub mod vault;
mod watching;

pub use engine::{Engine, Options};
pub use error::EngineError;
pub use explain::{Foretold, Outlook, Question};
pub use standing::ChannelQuota;
pub use trial::{Trial, TrialConfig};

/// The outcome of what the doors ask for.
pub type Result<T> = std::result::Result<T, EngineError>;

/// A map by ids. They are made here, not by callers, so that the hash need not be one that nobody can foresee.
type ById<K, V> = foldhash::HashMap<K, V>;

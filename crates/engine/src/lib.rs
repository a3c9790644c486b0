//! The notification engine: turns runs, checks and alerts into deliveries, and sends them.
//!
//! # Cast
//!
//! - [`Engine`] is the facade that the HTTP API and the command line call.
//! - [`snapshot::ConfigCache`] holds the configuration of all workspaces in memory. The event pipeline reads nothing
//!   else, so routing and gates cost no query.
//! - [`settings::Settings`] changes the configuration: validate, seal secrets, commit, reload the snapshot.
//! - [`accept`] takes finished runs; [`incidents`] takes checks, alerts and acknowledgements, and opens and resolves
//!   incidents. Both end in events.
//! - `fanout` matches an event with the rules of its resource and evaluates the gates: one planned delivery for each
//!   rule. It is pure.
//! - [`queue`] owns everything between commit and settlement: reservations and backpressure
//!   (`queue::channel_queues`), claiming of due deliveries under a lease (`queue::claimer`), attempts
//!   (`queue::sender`), the circuit breaker of each channel (`queue::breaker`), and the release of held deliveries
//!   (`queue::release_loop`).
//! - `index_loop` indexes the history for lists.
//! - `retention` summarises checks and prunes expired rows.
//! - [`changes`] notifies subscribers, such as open pages, that something of a topic changed.
//!
//! # Flow
//!
//! ```text
//! run ─▶ accept ─┐                                        ┌─▶ sent, failed, suppressed, skipped
//!                ├─▶ fan_out ─▶ reserve ─▶ commit ─▶ dispatch ─▶ settle
//! check, alert ──┘                          │        ▲    └─▶ retry at a later instant
//!  └▶ incidents (opened, worsened, …)       ▼        │
//!                                     due in the store: claim (under a lease)
//!                                     held by a gate:   release (a digest, or one by one)
//! ```
//!
//! A delivery that may be sent at once is inserted already leased to this process, and dispatched from memory after
//! the commit: no second write, no poll. What does not fit in memory, retries, and what an earlier process left behind
//! (its leases are reclaimed at start) are claimed from the store. Before every attempt the gates that may have changed
//! are evaluated again. An incident's opening that a gate suppressed is deferred: it is sent once that gate opens, if
//! the incident is still active.

pub mod accept;
pub mod changes;
pub mod clock;
mod detach;
mod engine;
pub mod error;
mod fanout;
mod history;
pub mod incidents;
mod index_loop;
mod insights;
mod metrics;
mod monitoring;
pub mod queue;
mod quiescence;
mod retention;
pub mod settings;
mod simulate;
pub mod snapshot;
mod sync;
mod test_send;
pub mod vault;

pub use engine::{Engine, Options};
pub use error::EngineError;
pub use history::DeliveryMessage;
pub use simulate::{SimulatedDelivery, Simulation, SimulationRequest};
pub use test_send::{TestConfig, TestSend};

/// The result of an engine operation.
pub type Result<T> = std::result::Result<T, EngineError>;

/// A map keyed by ids. Ids are made here and not chosen by callers, so the hash need not resist crafted keys.
type ById<K, V> = foldhash::HashMap<K, V>;

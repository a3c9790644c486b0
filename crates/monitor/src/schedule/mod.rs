//! The schedule: starts every endpoint's probe when it is due, without letting one endpoint delay another.
//!
//! ```text
//! EndpointSource ──endpoints──▶ scheduler ──EndpointProber──▶ prober ──Observation──▶ EndpointSource::record
//!                                  │
//!                schedule_table (pure), stagger (pure)
//! ```
//!
//! Each endpoint has at most one probe in flight, which bounds the number of tasks. A probe that hangs delays only the
//! next runs of its own endpoint. Due times use the monotonic clock; wall-clock time is only written into observations.

mod endpoint_source;
mod schedule_table;
mod scheduler;
mod stagger;

pub use endpoint_source::{EndpointProber, EndpointSet, EndpointSource, MonitoredEndpoint};
pub use scheduler::{Handle, PENDING_WRITES_MAX, Scheduler, WallClock};

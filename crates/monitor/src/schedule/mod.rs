//! The schedule: sees to it that every endpoint is looked at in time, and that no one's trouble is another's.
//!
//! ```text
//! EndpointSource ──what is watched──▶ scheduler ──EndpointProber──▶ prober ──Observation──▶ EndpointSource::observed
//!                                 │
//!                             timetable (pure), spread (pure)
//! ```
//!
//! Each endpoint has at most one probe under way, which is also the bound of all that wait. A probe that hangs holds
//! nothing but its own turns. Everything goes by monotonic time; the time of day is only written on what was seen.

mod check;
mod roster;
mod scheduler;
mod spread;
mod tally;
mod timetable;

pub use roster::{EndpointProber, EndpointSet, EndpointSource, MonitoredEndpoint};
pub use scheduler::{Handle, PENDING_WRITES_MAX, Scheduler, WallClock};

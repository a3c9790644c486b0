//! The schedule: sees to it that every endpoint is looked at in time, and that no one's trouble is another's.
//!
//! ```text
//! Roster ──what is watched──▶ scheduler ──Look──▶ prober ──Observation──▶ Roster::observed
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

pub use roster::{Look, Roster, Watch, Watched};
pub use scheduler::{Handle, Scheduler, UNWRITTEN_MAX, WallClock};

//! Monitoring: checks, endpoint states and summaries, incidents with their timelines, and transitions.

pub(super) mod check;
pub(super) mod episode;
pub(super) mod incident;
pub(super) mod incident_deliveries;
pub(super) mod state;
pub(super) mod summary;
mod timeline;
pub(super) mod transition;

/// The outcome of a statement that leaves the database unchanged if it refuses: an error here needs no rollback, unlike
/// one in the outer result.
type Refusable<T> = crate::Result<T>;

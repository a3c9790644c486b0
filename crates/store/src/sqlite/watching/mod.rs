//! Watching: endpoints' states and checks, incidents with their timelines, and what is written together when something
//! follows from a check.

pub(super) mod check;
pub(super) mod follow;
pub(super) mod incident;
pub(super) mod state;
pub(super) mod summary;
mod timeline;
pub(super) mod told;

/// What became of a verb that looks before it writes: an error here is a refusal, and nothing was written.
type Decided<T> = crate::Result<T>;

//! The JSON shapes of responses, made from domain types and store records.

mod content;
pub(crate) mod delivery;
pub(crate) mod event;
pub(crate) mod why;

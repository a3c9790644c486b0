//! The JSON shapes of responses, made from domain types and store records.

pub(crate) mod check;
mod content;
pub(crate) mod delivery;
pub(crate) mod endpoint;
pub(crate) mod event;
pub(crate) mod incident;
pub(crate) mod rule;
pub(crate) mod simulate;
pub(crate) mod subscription;
pub(crate) mod test_send;
pub(crate) mod why;

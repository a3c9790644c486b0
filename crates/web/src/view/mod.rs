//! What goes out: the shapes of the answers, made from what the engine gives.

pub(crate) mod channel;
pub(crate) mod check;
mod content;
pub(crate) mod delivery;
pub(crate) mod endpoint;
pub(crate) mod event;
pub(crate) mod incident;
pub(crate) mod mute;
pub(crate) mod preferences;
pub(crate) mod rule;
pub(crate) mod simulate;
pub(crate) mod subscription;
pub(crate) mod trial;
pub(crate) mod why;

//! What goes out: the shapes of the answers, made from what the engine gives.

pub(crate) mod channel;
pub(crate) mod delivery;
pub(crate) mod event;
pub(crate) mod rule;
pub(crate) mod subscription;
pub(crate) mod trial;

//! The check engine: what is watched is probed here.
//!
//! In the way of an event this crate stands before the first step: a [`Prober`] looks at an endpoint and says what it
//! saw (an `Observation`); what that means is judged by `tidings_domain::check`, and only what follows from it becomes
//! an event. Everything that leaves for the network goes through `tidings_channels::egress`, with a guard of its own:
//! what may be watched is not what may be delivered to.

mod aim;
mod certificate;
mod failure;
mod http;
mod icmp;
mod names;
mod prober;
mod reach;
mod room;
mod target;
mod tls;
mod trace;

/// The setting that lets refused addresses be watched, for messages.
pub const ALLOW_SETTING: &str = "TIDINGS_ALLOW_WATCH_TARGETS";

pub use http::body::BODY_BYTES_MAX;
pub use http::pool::{IDLE_MAX, IDLE_TIMEOUT, KEPT_AGE_MAX};
pub use names::NameService;
pub use prober::{Prober, Surroundings};
pub use room::{PER_TARGET_MAX, PROBES_MAX};

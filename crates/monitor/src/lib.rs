//! The check engine: what is watched is probed here.
//!
//! In the way of an event this crate stands before the first step: a [`Scheduler`] sees to it that every endpoint is
//! looked at in time; a [`Prober`] looks at it and says what it saw (an `Observation`); what that means is judged by
//! `tidings_domain::check`, and only what follows from it becomes an event. Everything that leaves for the network goes through `tidings_channels::egress`, with a guard of its own:
//! what may be watched is not what may be delivered to.

mod aim;
mod certificate;
mod failure;
mod http;
mod icmp;
mod measure;
mod names;
mod prober;
mod reach;
mod references;
mod room;
mod schedule;
mod target;
mod tls;
mod trace;
mod watchman;

/// The setting that lets refused addresses be watched, for messages.
pub const ALLOW_SETTING: &str = "TIDINGS_ALLOW_WATCH_TARGETS";

/// What probes call themselves, unless the endpoint has a `User-Agent` of its own.
pub const USER_AGENT: &str = concat!("Tidings/", env!("CARGO_PKG_VERSION"));

pub use http::body::BODY_BYTES_MAX;
pub use http::pool::{IDLE_MAX, IDLE_TIMEOUT, KEPT_AGE_MAX};
pub use names::DnsResolver;
pub use prober::{Prober, ProberConfig};
pub use references::{REFERENCE_GAP, REFERENCE_TIMEOUT};
pub use room::{PER_TARGET_MAX, PROBES_MAX};
pub use schedule::{
    EndpointProber, EndpointSet, EndpointSource, Handle, MonitoredEndpoint, PENDING_WRITES_MAX, Scheduler, WallClock,
};
pub use watchman::EngineEndpointSource;

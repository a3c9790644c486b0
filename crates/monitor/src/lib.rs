//! Monitoring: probes every endpoint on schedule and reports what each probe observed.
//!
//! ## Cast
//!
//! - [`EndpointSource`] lists the endpoints to monitor and takes observations. [`EngineEndpointSource`] implements it
//!   on top of the engine's configuration snapshot.
//! - [`Scheduler`] starts each endpoint's probe when it is due, at a fixed rate and at most one at a time per endpoint.
//!   Its state is a pure `ScheduleTable`; `stagger` spreads first runs so that they do not start all at once.
//! - [`Prober`] makes one probe (HTTP, TCP, ICMP, DNS or TLS) and returns an `Observation`; a failure is part of it, not
//!   an error. Time and memory stay within the probe's timeout and the caps, whatever the other end does.
//! - `ProbePlan` is the validated form of an endpoint's definition. `ProbeLimiter` bounds concurrent probes, in total
//!   and per target. `TimingRecorder` keeps phase timings and the certificate even when the timeout cuts a probe off.
//! - `Connector` resolves, asks the egress guard, connects and does the TLS handshake. [`DnsResolver`] resolves names.
//!   `ConnectionPool` keeps HTTP connections open between probes.
//! - `ReferenceTargets` are hosts that the operator named. If none of them responds, a failure counts as this machine's
//!   own (`own_network`) and the check is inconclusive.
//!
//! ## Flow
//!
//! ```text
//!  EndpointSource ──endpoints──▶ Scheduler ──due──▶ Prober ──Observation──▶ EndpointSource::record ──▶ engine
//!                                                     │
//!            ProbePlan ▶ ProbeLimiter ▶ Connector / DnsResolver / icmp ▶ ReferenceTargets (on failure)
//! ```
//!
//! This crate only observes. `tidings_domain::check` decides whether an observation is healthy, degraded or down, and
//! the engine turns state changes into incidents and events. All traffic passes `tidings_channels::egress` with a guard
//! of its own, because probes and deliveries are allowed different addresses.

mod connector;
mod engine_source;
mod failure;
mod http;
mod icmp;
mod limiter;
mod metrics;
mod plan;
mod prober;
mod references;
mod schedule;
mod target;
mod timing;
mod tls;

/// The setting that allows addresses which the guard blocks by default. Failure messages name it.
pub const ALLOW_SETTING: &str = "TIDINGS_ALLOW_WATCH_TARGETS";

/// The `User-Agent` of HTTP probes, unless the endpoint sets one itself.
pub const USER_AGENT: &str = concat!("Tidings/", env!("CARGO_PKG_VERSION"));

pub use engine_source::EngineEndpointSource;
pub use http::connection::DISCARDED_BYTES_MAX;
pub use http::pool::{CONNECTION_AGE_MAX, IDLE_MAX, IDLE_TIMEOUT};
pub use limiter::{PER_TARGET_MAX, PROBES_MAX};
pub use prober::{Prober, ProberConfig};
pub use references::{REFERENCE_INTERVAL_MIN, REFERENCE_TIMEOUT};
pub use schedule::{
    EndpointProber, EndpointSet, EndpointSource, Handle, MonitoredEndpoint, PENDING_WRITES_MAX, Scheduler, WallClock,
};
pub use tidings_channels::egress::DnsResolver;

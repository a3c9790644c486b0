//! Reference targets: distinguish a failing endpoint from a failing network on this machine.
//!
//! They are probed only when a probe failed in a way that this machine's network can cause. At most one reference probe
//! runs at a time, and at most one per second; failures in between wait for it. A result counts for a failure only if
//! the reference probe ended after it: a network that worked a moment earlier proves nothing about one that broke
//! since.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use ipnet::IpNet;
use tidings_channels::egress::{DialError, DialOptions, Dialer, Guard, Resolve};
use tidings_domain::check::{Failure, FailureClass};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

use crate::connector::LOOKUP_LIMITS;
use crate::metrics;

/// Timeout of one reference probe, which connects to all targets concurrently.
pub const REFERENCE_TIMEOUT: Duration = Duration::from_secs(2);
/// Minimum time from the start of one reference probe to the start of the next.
pub const REFERENCE_INTERVAL_MIN: Duration = Duration::from_secs(1);
/// Appended to the message of a failure that is reclassified as this machine's own.
const MESSAGE_SUFFIX: &str = "; none of the reference targets responds either";

/// Hosts that the operator expects to be reachable whenever this machine's network works.
pub(crate) struct ReferenceTargets {
    targets: Vec<(String, u16)>,
    dialer: Dialer,
    /// Locked during a reference probe, so that concurrent failures share its result.
    state: Mutex<ReferenceState>,
}

#[derive(Default)]
struct ReferenceState {
    /// Start and end of the last reference probe.
    last_probe: Option<(Instant, Instant)>,
    /// End of the last reference probe that no target responded to.
    all_failed_at: Option<Instant>,
}

impl ReferenceTargets {
    /// `None` if there are no targets.
    pub fn new(targets: Vec<(String, u16)>, resolver: Arc<dyn Resolve>) -> Option<Self> {
        // The operator chose these hosts, so the guard for endpoints that users enter does not apply.
        let everywhere = ["0.0.0.0/0", "::/0"].iter().filter_map(|net| net.parse::<IpNet>().ok()).collect();
        let dialer = Dialer::new(Guard { allow: everywhere, allow_http: false }, resolver, LOOKUP_LIMITS);
        (!targets.is_empty()).then(|| Self { targets, dialer, state: Mutex::default() })
    }

    /// Reclassifies a failure as [`FailureClass::OwnNetwork`] if its class allows that and no target responds.
    /// `probe_started` is when the failed probe started: an outage of the network since then makes it meaningless.
    pub async fn reclassify(&self, failure: &mut Failure, probe_started: Instant) {
        let may_be_own = matches!(failure.class, FailureClass::Dns | FailureClass::Connect | FailureClass::Timeout);
        if may_be_own && self.all_failed(probe_started, Instant::now()).await {
            failure.class = FailureClass::OwnNetwork;
            failure.message.push_str(MESSAGE_SUFFIX);
        }
    }

    /// Whether no target responded at some time since `probe_started`, or none responds now.
    async fn all_failed(&self, probe_started: Instant, failed_at: Instant) -> bool {
        let mut state = self.state.lock().await;
        if state.all_failed_at.is_some_and(|at| at >= probe_started) {
            return true;
        }
        if let Some((started, ended)) = state.last_probe {
            // It ended while this failure waited for the lock, so its result is recent enough.
            if ended >= failed_at {
                return false;
            }
            sleep_until(started + REFERENCE_INTERVAL_MIN).await;
        }
        let started = Instant::now();
        let responds = self.any_responds(started + REFERENCE_TIMEOUT).await;
        let ended = Instant::now();
        metrics::record_reference_probe(responds);
        let had_failed = state.all_failed_at.is_some() && state.all_failed_at == state.last_probe.map(|(_, end)| end);
        state.last_probe = Some((started, ended));
        if !responds {
            state.all_failed_at = Some(ended);
        }
        match (responds, had_failed) {
            (false, false) => {
                tracing::warn!("no reference target responds, failing checks are inconclusive until one does");
            }
            (true, true) => tracing::info!("a reference target responds again, failing checks count again"),
            _ => {}
        }
        !responds
    }

    async fn any_responds(&self, deadline: Instant) -> bool {
        let mut attempts: FuturesUnordered<_> =
            self.targets.iter().map(|(host, port)| self.responds(host, *port, deadline)).collect();
        while let Some(responds) = attempts.next().await {
            if responds {
                return true;
            }
        }
        false
    }

    async fn responds(&self, host: &str, port: u16, deadline: Instant) -> bool {
        let Ok(addresses) = self.dialer.vetted(host, port, DialOptions::default(), deadline).await else {
            return false;
        };
        match self.dialer.connect(&addresses, deadline).await {
            Ok(_) => true,
            // A refusal is a packet from the host: the network path works.
            Err(DialError::ConnectFailed(error)) => error.kind() == ErrorKind::ConnectionRefused,
            Err(_) => false,
        }
    }
}

#[cfg(test)]
mod tests;

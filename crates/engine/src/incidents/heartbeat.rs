//! Heartbeats of external endpoints: silence for as long as `heartbeatSeconds` is a `down` check, and so is each further
//! such period.
//!
//! The periods are in memory only. They begin anew when the process starts, when an endpoint is resumed, and when its
//! heartbeat changes: that nothing could be reported meanwhile is no silence.

use std::collections::HashMap;
use std::time::Duration;

use tidings_domain::check::Check;
use tidings_domain::endpoint::Probe;
use tidings_domain::id::{EndpointId, WorkspaceId};
use tidings_domain::time::Timestamp;
use tidings_store::StoreError;

use super::Incidents;
use crate::error::EngineError;
use crate::quiescence::Component;

/// The longest sleep: the system's clock may have been set.
const POLL_INTERVAL: Duration = Duration::from_secs(10);
/// Pause after the store failed.
const ERROR_PAUSE: Duration = Duration::from_secs(1);

type Key = (WorkspaceId, EndpointId);

/// The current period of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Period {
    heartbeat_seconds: u32,
    /// When it began: with the last sign of life, or when the endpoint could first give one.
    since: Timestamp,
}

impl Period {
    fn due(self) -> Timestamp {
        self.since.plus_ms(u64::from(self.heartbeat_seconds) * 1_000)
    }

    /// The period after a check that was made then. A prober's clock may be ahead, and this machine's may be set back.
    fn renewed(self, last_check: Option<Timestamp>, now: Timestamp) -> Self {
        Self { since: self.since.max(last_check.unwrap_or(self.since)).min(now), ..self }
    }
}

pub(super) async fn run(incidents: Incidents) {
    let mut changes = incidents.0.config.changes();
    let mut stopping = incidents.0.stopping.subscribe();
    let mut quiescence = incidents.0.queue.quiescence().listen(Component::Heartbeats);
    let mut periods = HashMap::new();
    // The first round reads the configuration.
    changes.mark_changed();
    loop {
        // Both are observed *before* the work, so that a change in between causes another round.
        quiescence.observe_tick();
        if changes.has_changed().unwrap_or(false) {
            changes.mark_unchanged();
            periods = incidents.current_periods(&periods);
        }
        let outcome = incidents.check_silent(&mut periods).await;
        let pause = match outcome {
            Ok(()) => {
                quiescence.complete();
                let now = incidents.0.clock.now();
                let next = periods.values().map(|period| Duration::from_millis(period.due().since_ms(now))).min();
                next.map_or(POLL_INTERVAL, |next| next.min(POLL_INTERVAL))
            }
            Err(StoreError::Closed) => return,
            Err(error) => {
                tracing::error!(%error, "failed to record that an external endpoint is silent, will retry");
                ERROR_PAUSE
            }
        };
        tokio::select! {
            _ = stopping.wait_for(|stopping| *stopping) => return,
            () = tokio::time::sleep(pause) => {}
            () = quiescence.poll_requested() => {}
            changed = changes.changed() => {
                if changed.is_err() {
                    return;
                }
                // `changed` marked it as seen; the next round must see it.
                changes.mark_changed();
            }
        }
    }
}

impl Incidents {
    /// The periods of all endpoints with a heartbeat that are not paused, nor their workspace suspended. One that is known goes on unless its heartbeat
    /// changed.
    fn current_periods(&self, known: &HashMap<Key, Period>) -> HashMap<Key, Period> {
        let now = self.0.clock.now();
        let snapshot = self.0.config.snapshot();
        let mut periods = HashMap::new();
        // Nothing can be reported to a suspended workspace, so that its silence says nothing.
        for view in snapshot.workspaces().filter(|view| view.workspace.suspended_at.is_none()) {
            for endpoint in view.endpoints().map(|loaded| &loaded.endpoint).filter(|endpoint| endpoint.enabled) {
                let Probe::External { heartbeat_seconds: Some(heartbeat_seconds) } = endpoint.definition.probe else {
                    continue;
                };
                let key = (view.workspace.id, endpoint.id);
                let known = known.get(&key).filter(|period| period.heartbeat_seconds == heartbeat_seconds).copied();
                periods.insert(key, known.unwrap_or(Period { heartbeat_seconds, since: now }));
            }
        }
        periods
    }

    /// Records a check of each endpoint whose period is over.
    async fn check_silent(&self, periods: &mut HashMap<Key, Period>) -> Result<(), StoreError> {
        let now = self.0.clock.now();
        for ((workspace_id, id), period) in periods {
            *period = period.renewed(None, now);
            if period.due() > now {
                continue;
            }
            // Only now: reports do not cost anything for the sake of heartbeats.
            let last_check = self.endpoint_state(*workspace_id, *id).await.last_check;
            *period = period.renewed(last_check.map(|check| check.checked_at), now);
            let due = period.due();
            if due > now {
                continue;
            }
            // Not before `due`: a report that was made before it and is on its way is then older, and changes nothing. If
            // this process did not run for a whole period, there is one check for all that it missed.
            let is_late = now.since_ms(due) > u64::from(period.heartbeat_seconds) * 1_000;
            let check = Check::of_silence(period.heartbeat_seconds, if is_late { now } else { due });
            match self.report(*workspace_id, *id, None, check).await {
                // Deleted meanwhile: the change of the configuration is on its way.
                Ok(_) | Err(EngineError::NotFound(_)) => period.since = now,
                Err(EngineError::Store(error)) => return Err(error),
                Err(error) => {
                    tracing::error!(%error, endpoint = %id, "failed to record that an external endpoint is silent");
                    period.since = now;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn period_is_renewed_by_newer_checks_only_and_never_lies_ahead() {
        let at = |seconds: i64| Timestamp::from_unix_ms(1_777_694_400_000 + seconds * 1_000);
        let period = Period { heartbeat_seconds: 60, since: at(0) };
        for (last_check, now, since) in [
            (None, 30, 0),
            (Some(20), 30, 20),
            (Some(-20), 30, 0),
            (Some(90), 30, 30),
            // The clock was set back.
            (None, -100, -100),
        ] {
            let renewed = period.renewed(last_check.map(at), at(now));
            assert_eq!(renewed, Period { since: at(since), ..period }, "{last_check:?} {now}");
            assert_eq!(renewed.due(), at(since + 60));
        }
    }
}

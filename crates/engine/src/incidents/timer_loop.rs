//! The timer loop: processes subjects for which an instant has come, or that a change of the configuration may concern.
//! All timers are derived from stored state, so a restart loses none.

use std::collections::HashMap;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use tidings_domain::endpoint::Definition;
use tidings_domain::id::{EndpointId, WorkspaceId};
use tidings_domain::incident::{IncidentTrigger, Subject};
use tidings_domain::time::Timestamp;
use tidings_store::StoreError;
use tidings_store::monitoring::{EndpointState, IncidentFilter, IncidentRecord};

use super::state::IncidentState;
use super::transition::{IncidentNotification, IncidentTransition, next_wake, on_time, stabilized};
use super::{Incidents, SubjectKey};
use crate::quiescence::Component;
use crate::snapshot::{LoadedEndpoint, WorkspaceView};
use crate::sync::{Conflict as _, lock, retry_on_conflict};

/// The longest sleep: the system's clock may have been set.
const POLL_INTERVAL: Duration = Duration::from_secs(10);
/// Pause after the store failed.
const ERROR_PAUSE: Duration = Duration::from_secs(1);

pub(super) async fn run(incidents: Incidents) {
    let mut changes = incidents.0.config.changes();
    let mut stopping = incidents.0.stopping.subscribe();
    let mut quiescence = incidents.0.queue.quiescence().listen(Component::TimerLoop);
    // The first round processes every active incident: the previous process may have ended before it did.
    changes.mark_changed();
    loop {
        // All of these are observed *before* the work, so that a change in between causes another round.
        quiescence.observe_tick();
        let mut has_failed = false;
        let is_config_changed = changes.has_changed().unwrap_or(false);
        changes.mark_unchanged();
        let mut keys = match incidents.take_suppressed().await {
            Ok(keys) => keys,
            Err(StoreError::Closed) => return,
            Err(error) => {
                tracing::error!(%error, "failed to read unfinished incidents, will retry");
                has_failed = true;
                Vec::new()
            }
        };
        for key in &keys {
            if let Err(error) = incidents.refresh_deferred(key).await {
                tracing::error!(%error, subject = ?key.1, "failed to read suppressed openings, will retry");
                incidents.0.queue.suppressed_openings().add(key.0, Some(key.1.clone()));
                has_failed = true;
            }
        }
        keys.extend(incidents.due_subjects(is_config_changed));
        for key in keys {
            match incidents.run_due(&key).await {
                Ok(()) => {}
                Err(StoreError::Closed) => return,
                Err(error) => {
                    tracing::error!(%error, subject = ?key.1, "failed to process timers of an incident, will retry");
                    has_failed = true;
                }
            }
        }
        if !has_failed {
            quiescence.complete();
        }
        let pause = if has_failed { ERROR_PAUSE } else { incidents.sleep_until_next() };
        tokio::select! {
            _ = stopping.wait_for(|stopping| *stopping) => return,
            () = incidents.0.timer_wakeup.notified() => {}
            () = incidents.0.queue.suppressed_openings().notified() => {}
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
    fn wake_times(&self) -> MutexGuard<'_, HashMap<SubjectKey, Timestamp>> {
        lock(&self.0.wake_times)
    }

    /// The subjects to process now: those that are due; after a change of the configuration all with an active incident.
    fn due_subjects(&self, is_config_changed: bool) -> Vec<SubjectKey> {
        let now = self.0.clock.now();
        let is_due = |at: Timestamp| at <= now || is_config_changed;
        self.wake_times().iter().filter(|(_, at)| is_due(**at)).map(|(key, _)| key.clone()).collect()
    }

    /// The subjects with openings and resolutions that the queue found suppressed.
    async fn take_suppressed(&self) -> Result<Vec<SubjectKey>, StoreError> {
        let suppressed = self.0.queue.suppressed_openings().take();
        let any_subject: Vec<_> =
            suppressed.iter().filter(|(_, subject)| subject.is_none()).map(|(id, _)| *id).collect();
        let mut keys: Vec<SubjectKey> =
            suppressed.into_iter().filter_map(|(id, subject)| Some((id, subject?))).collect();
        keys.extend(self.wake_times().keys().filter(|(id, _)| any_subject.contains(id)).cloned());
        // A resolved incident has no wake-up in memory yet.
        for workspace_id in any_subject {
            match self.unfinished_subjects(workspace_id).await {
                Ok(subjects) => keys.extend(subjects),
                Err(error) => {
                    self.0.queue.suppressed_openings().add(workspace_id, None);
                    return Err(error);
                }
            }
        }
        keys.sort_unstable_by_key(|(workspace_id, subject)| (*workspace_id, subject.resource_id()));
        keys.dedup();
        Ok(keys)
    }

    fn sleep_until_next(&self) -> Duration {
        let now = self.0.clock.now();
        let next = self.next_poll_at().map(|at| Duration::from_millis(at.since_ms(now)));
        next.map_or(POLL_INTERVAL, |next| next.min(POLL_INTERVAL))
    }

    /// When a subject is due next.
    pub(crate) fn next_poll_at(&self) -> Option<Timestamp> {
        self.wake_times().values().min().copied()
    }

    /// Schedules the next wake-up of a subject.
    pub(super) fn schedule_wake(&self, key: &SubjectKey, state: &IncidentState) {
        let snapshot = self.0.config.load();
        let definition = snapshot.workspace(key.0).and_then(|view| self.timed_definition(view, key, &state.endpoint));
        let next = next_wake(state, definition, self.0.clock.now());
        // An active incident stays in the map even without a time: a change of the configuration may concern it.
        let next = next.or_else(|| state.active.as_ref().map(|_| Timestamp::from_unix_ms(i64::MAX)));
        let mut wake_times = self.wake_times();
        let before = wake_times.values().min().copied();
        match next {
            Some(at) => wake_times.insert(key.clone(), at),
            None => wake_times.remove(key),
        };
        drop(wake_times);
        if next.is_some_and(|at| before.is_none_or(|before| at < before)) {
            self.0.timer_wakeup.notify_one();
        }
    }

    /// The incident of this endpoint is over: openings that the dependency gate suppressed for its children may be sent.
    pub(super) fn wake_children(&self, workspace_id: WorkspaceId, parent_id: EndpointId) {
        let snapshot = self.0.config.snapshot();
        let Some(view) = snapshot.workspace(workspace_id) else { return };
        let now = self.0.clock.now();
        let mut wake_times = self.wake_times();
        for loaded in view.endpoints().filter(|loaded| loaded.endpoint.definition.parent_id == Some(parent_id)) {
            if let Some(at) = wake_times.get_mut(&(workspace_id, Subject::Endpoint(loaded.endpoint.id))) {
                *at = now;
            }
        }
        drop(wake_times);
        self.0.timer_wakeup.notify_one();
    }

    /// Does what is due for one subject.
    async fn run_due(&self, key: &SubjectKey) -> Result<(), StoreError> {
        match retry_on_conflict(|| self.try_run_due(key)).await {
            // The conflict reloaded the state, which scheduled the next wake-up.
            Err(error) if error.is_conflict() => Ok(()),
            outcome => outcome,
        }
    }

    async fn try_run_due(&self, key: &SubjectKey) -> Result<(), StoreError> {
        let shared = self.state(key);
        let mut state = shared.lock().await;
        let snapshot = self.0.config.snapshot();
        let Some(view) = snapshot.workspace(key.0) else {
            self.forget(key);
            return Ok(());
        };
        // Ends before beginnings, in the order in which they happened.
        self.process_unfinished(key, view, &mut state).await?;
        if matches!(key.1, Subject::Endpoint(_)) && self.loaded_endpoint(view, key).is_none() {
            // Deleted: all that may be left is to notify of the end of its incidents.
            self.forget(key);
            if !state.unfinished.is_empty() {
                state.active = None;
                self.keep(key, &shared);
                self.schedule_wake(key, &state);
            }
            return Ok(());
        }
        self.process_due(key, view, &mut state).await
    }

    async fn process_due(
        &self,
        key: &SubjectKey,
        view: &Arc<WorkspaceView>,
        state: &mut IncidentState,
    ) -> Result<(), StoreError> {
        let now = self.0.clock.now();
        let definition = self.timed_definition(view, key, &state.endpoint);
        let transition = on_time(state, definition, now);
        if !transition.notifications.is_empty() || self.can_send_deferred(key, view, state, now) {
            self.write_transition(key, view, state, None, transition, now).await?;
        }
        if let Some(endpoint) = stabilized(&state.endpoint, now)
            && let Some(record) = self.last_incident(key).await?
        {
            let transition = IncidentTransition {
                endpoint: Some(endpoint),
                incident: Some(record),
                notifications: vec![IncidentNotification::of(IncidentTrigger::Stable)],
                ..IncidentTransition::default()
            };
            self.write_transition(key, view, state, None, transition, now).await?;
        }
        self.schedule_deferred(key, view, state, now);
        self.schedule_wake(key, state);
        if matches!(key.1, Subject::Alert(_)) && state.is_idle() {
            self.drop_idle(key);
        }
        Ok(())
    }

    /// The newest incident of a subject, active or not.
    async fn last_incident(&self, key: &SubjectKey) -> Result<Option<IncidentRecord>, StoreError> {
        let filter = IncidentFilter { subject: Some(key.1.clone()), limit: 1, ..IncidentFilter::default() };
        Ok(self.0.store.incidents(key.0, filter).await?.pop())
    }

    /// The definition by which a subject escalates and reminds now. In a suspended workspace nothing is checked and no one
    /// can acknowledge, so that nothing does.
    fn timed_definition<'a>(
        &self,
        view: &'a WorkspaceView,
        key: &SubjectKey,
        state: &EndpointState,
    ) -> Option<&'a Definition> {
        let loaded = self.loaded_endpoint(view, key).filter(|_| view.workspace.suspended_at.is_none())?;
        active_definition(loaded, state)
    }

    /// Drops the state of a deleted endpoint.
    fn forget(&self, key: &SubjectKey) {
        self.wake_times().remove(key);
        self.states().remove(key);
        if let Subject::Endpoint(id) = key.1 {
            self.0.active.set(id, None);
            self.0.active.set_status(id, None);
            self.wake_children(key.0, id);
        }
    }
}

/// The endpoint's definition, unless it is paused or was not checked since it was resumed: nothing escalates and no
/// reminders are sent about a state that is not known.
pub(super) fn active_definition<'a>(loaded: &'a LoadedEndpoint, state: &EndpointState) -> Option<&'a Definition> {
    (loaded.endpoint.enabled && state.streak.since.is_some()).then_some(&loaded.endpoint.definition)
}

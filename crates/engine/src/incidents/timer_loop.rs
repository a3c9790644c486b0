//! The keeper: looks at cases when time or a change of the configuration may have brought something about. What it goes by
//! lies in the store, so that a restart forgets nothing.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tidings_domain::endpoint::Definition;
use tidings_domain::id::{EndpointId, WorkspaceId};
use tidings_domain::incident::{IncidentTrigger, Subject};
use tidings_domain::time::Timestamp;
use tidings_store::StoreError;
use tidings_store::monitoring::{IncidentFilter, IncidentRecord};

use super::state::Case;
use super::transition::{Change, Happening, calmed, next_wake, on_time};
use super::{Incidents, Key};
use crate::quiescence::Part;
use crate::snapshot::LoadedEndpoint;

/// How often it looks at the time if nothing else is heard: the clock may have been set.
const POLL: Duration = Duration::from_secs(10);
/// How long to wait after the store failed.
const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(1);
/// How often a case is looked at anew when somebody else was faster.
const TRIES: u32 = 5;

pub(super) async fn run(incidents: Incidents) {
    let mut changes = incidents.0.live.changes();
    let mut stopping = incidents.0.stopping.subscribe();
    let mut pulse = incidents.0.queue.pulse().listen(Part::Keeper);
    // What the last process did not come to is done first.
    changes.mark_changed();
    loop {
        pulse.hear();
        let is_changed = changes.has_changed().unwrap_or(false);
        changes.mark_unchanged();
        let mut failed = false;
        let mut keys = incidents.stopped();
        for key in &keys {
            if let Err(error) = incidents.learn(key).await {
                tracing::error!(%error, subject = ?key.1, "what was stopped of an incident could not be read");
                incidents.0.queue.stopped().add(key.0, Some(key.1.clone()));
                failed = true;
            }
        }
        keys.extend(incidents.keys(is_changed));
        for key in keys {
            match incidents.look(&key).await {
                Ok(()) => {}
                Err(StoreError::Closed) => return,
                Err(error) => {
                    tracing::error!(%error, subject = ?key.1, "an incident could not be looked after; trying again");
                    failed = true;
                }
            }
        }
        if !failed {
            pulse.done();
        }
        let pause = if failed { PAUSE_AFTER_ERROR } else { incidents.until_next() };
        tokio::select! {
            _ = stopping.wait_for(|stopping| *stopping) => return,
            () = incidents.0.woken.notified() => {}
            () = incidents.0.queue.stopped().told() => {}
            () = tokio::time::sleep(pause) => {}
            () = pulse.asked() => {}
            changed = changes.changed() => {
                if changed.is_err() {
                    return;
                }
                // It is to be seen by the next look.
                changes.mark_changed();
            }
        }
    }
}

impl Incidents {
    /// The cases to be looked at now: those whose time has come; after a change all with an active incident.
    fn keys(&self, is_changed: bool) -> Vec<Key> {
        let now = self.0.clock.now();
        let wakes = self.0.wakes.lock().unwrap_or_else(PoisonError::into_inner);
        let due = |at: Timestamp| at <= now || is_changed;
        wakes.iter().filter(|(_, at)| due(**at)).map(|(key, _)| key.clone()).collect()
    }

    /// The active cases of which something was stopped elsewhere.
    fn stopped(&self) -> Vec<Key> {
        let stopped = self.0.queue.stopped().take();
        let of_any: Vec<_> = stopped.iter().filter(|(_, subject)| subject.is_none()).map(|(id, _)| *id).collect();
        let mut keys: Vec<Key> = stopped.into_iter().filter_map(|(id, subject)| Some((id, subject?))).collect();
        let wakes = self.0.wakes.lock().unwrap_or_else(PoisonError::into_inner);
        keys.extend(wakes.keys().filter(|(id, _)| of_any.contains(id)).cloned());
        keys
    }

    /// Learns what of an incident was stopped elsewhere.
    async fn learn(&self, key: &Key) -> Result<(), StoreError> {
        let case = self.case(key);
        let mut case = case.lock().await;
        self.recall(key, &mut case).await
    }

    fn until_next(&self) -> Duration {
        let now = self.0.clock.now();
        let wakes = self.0.wakes.lock().unwrap_or_else(PoisonError::into_inner);
        let next = wakes.values().min().map(|at| Duration::from_millis(at.since_ms(now)));
        next.map_or(POLL, |next| next.min(POLL))
    }

    /// When a case is next looked at.
    pub(crate) fn next_look(&self) -> Option<Timestamp> {
        self.0.wakes.lock().unwrap_or_else(PoisonError::into_inner).values().min().copied()
    }

    /// Notes when the case is next to be looked at.
    pub(super) fn plan(&self, key: &Key, case: &Case) {
        let snapshot = self.0.live.load();
        let definition = snapshot.workspace(key.0).and_then(|view| self.endpoint(view, key));
        let definition = definition.and_then(|live| watched(live));
        let next = next_wake(case, definition, self.0.clock.now());
        // What is open is kept in the list even without a time: a change of the configuration may concern it.
        let next = next.or_else(|| case.open.as_ref().map(|_| Timestamp::from_unix_ms(i64::MAX)));
        let mut wakes = self.0.wakes.lock().unwrap_or_else(PoisonError::into_inner);
        let before = wakes.values().min().copied();
        match next {
            Some(at) => wakes.insert(key.clone(), at),
            None => wakes.remove(key),
        };
        drop(wakes);
        if next.is_some_and(|at| before.is_none_or(|before| at < before)) {
            self.0.woken.notify_one();
        }
    }

    /// The incident of this endpoint is over: openings that it held back may be said.
    pub(super) fn look_at_children(&self, workspace_id: WorkspaceId, parent_id: EndpointId) {
        let snapshot = self.0.live.now();
        let Some(view) = snapshot.workspace(workspace_id) else { return };
        let now = self.0.clock.now();
        let mut wakes = self.0.wakes.lock().unwrap_or_else(PoisonError::into_inner);
        for live in view.endpoints().filter(|live| live.endpoint.definition.parent_id == Some(parent_id)) {
            if let Some(at) = wakes.get_mut(&(workspace_id, Subject::Endpoint(live.endpoint.id))) {
                *at = now;
            }
        }
        drop(wakes);
        self.0.woken.notify_one();
    }

    /// Does for one case what is due.
    pub(super) async fn look(&self, key: &Key) -> Result<(), StoreError> {
        for _ in 0..TRIES {
            let case = self.case(key);
            let mut case = case.lock().await;
            let snapshot = self.0.live.now();
            let gone = matches!(key.1, Subject::Endpoint(_))
                && snapshot.workspace(key.0).is_none_or(|view| self.endpoint(view, key).is_none());
            let Some(view) = snapshot.workspace(key.0).filter(|_| !gone) else {
                self.forget(key);
                return Ok(());
            };
            match self.look_at(key, view, &mut case).await {
                Err(StoreError::Conflict | StoreError::Exists) => {}
                outcome => return outcome,
            }
        }
        Ok(())
    }

    async fn look_at(
        &self,
        key: &Key,
        view: &Arc<crate::snapshot::WorkspaceView>,
        case: &mut Case,
    ) -> Result<(), StoreError> {
        let now = self.0.clock.now();
        let definition = self.endpoint(view, key).and_then(|live| watched(live));
        let change = on_time(case, definition, now);
        if !change.happenings.is_empty() || self.may_say_late(key, view, case, now) {
            self.write(key, view, case, None, change, now).await?;
        }
        if let Some(state) = calmed(&case.state, now)
            && let Some(record) = self.last_incident(key).await?
        {
            let happenings = vec![Happening::of(IncidentTrigger::Stable)];
            let change = Change { state: Some(state), incident: Some(record), happenings, ..Change::default() };
            self.write(key, view, case, None, change, now).await?;
        }
        self.expect_late(key, view, case, now);
        self.plan(key, case);
        Ok(())
    }

    /// The newest incident of a case, active or not.
    async fn last_incident(&self, key: &Key) -> Result<Option<IncidentRecord>, StoreError> {
        let filter = IncidentFilter { subject: Some(key.1.clone()), limit: 1, ..IncidentFilter::default() };
        Ok(self.0.store.incidents(key.0, filter).await?.pop())
    }

    /// Forgets a case whose endpoint is gone.
    fn forget(&self, key: &Key) {
        self.0.wakes.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
        self.cases().remove(key);
        if let Subject::Endpoint(id) = key.1 {
            self.0.down.set(id, None);
            self.look_at_children(key.0, id);
        }
    }
}

/// The endpoint's definition, unless it is paused: nobody is reminded of what nobody looks at.
pub(super) fn watched(live: &LoadedEndpoint) -> Option<&Definition> {
    live.endpoint.enabled.then_some(&live.endpoint.definition)
}

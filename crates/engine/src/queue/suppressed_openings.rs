//! Openings that a gate stopped after all, when they came up or were let go: whoever looks after incidents has to hear of
//! them, as they may be said late.

use std::sync::{Arc, Mutex, PoisonError};

use tidings_domain::event::{Event, EventKind};
use tidings_domain::id::WorkspaceId;
use tidings_domain::incident::Subject;
use tokio::sync::Notify;

/// Whose openings were stopped. Cheap to clone: all clones are one.
#[derive(Clone, Default)]
pub(crate) struct Stopped(Arc<Inner>);

#[derive(Default)]
struct Inner {
    subjects: Mutex<Vec<(WorkspaceId, Option<Subject>)>>,
    told: Notify,
}

impl Stopped {
    /// A delivery of this event was stopped. A digest may carry openings of any subject.
    pub(super) fn note(&self, event: &Event) {
        let subject = match event.kind {
            EventKind::IncidentOpened => Subject::parse(event.resource_type, &event.resource_id),
            EventKind::Digest => None,
            _ => return,
        };
        self.add(event.workspace_id, subject);
    }

    /// Something of this subject was stopped, or of any.
    pub(crate) fn add(&self, workspace_id: WorkspaceId, subject: Option<Subject>) {
        let mut subjects = self.0.subjects.lock().unwrap_or_else(PoisonError::into_inner);
        if !subjects.iter().any(|known| *known == (workspace_id, subject.clone())) {
            subjects.push((workspace_id, subject));
        }
        drop(subjects);
        self.0.told.notify_one();
    }

    /// Takes what was noted.
    pub(crate) fn take(&self) -> Vec<(WorkspaceId, Option<Subject>)> {
        std::mem::take(&mut *self.0.subjects.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until something is noted.
    pub(crate) async fn told(&self) {
        self.0.told.notified().await;
    }
}

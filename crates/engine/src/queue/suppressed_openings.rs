//! Openings and resolutions of incidents that a gate suppressed on a later evaluation, before an attempt or on release.
//! The timer loop of [`crate::incidents`] consumes them: such a delivery is deferred, and may be sent once the gate opens.
//! The store has recorded it, so that a restart loses none.

use std::sync::{Arc, Mutex};

use tidings_domain::event::{Event, EventKind};
use tidings_domain::id::WorkspaceId;
use tidings_domain::incident::Subject;
use tokio::sync::Notify;

use crate::sync::lock;

/// Subjects with newly suppressed openings or resolutions. Clones share their state.
#[derive(Clone, Default)]
pub(crate) struct SuppressedOpenings(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// Without a subject: any subject of the workspace.
    subjects: Mutex<Vec<(WorkspaceId, Option<Subject>)>>,
    changed: Notify,
}

impl SuppressedOpenings {
    /// Records that a delivery of this event was suppressed. A digest may contain those of any subject.
    pub(super) fn record(&self, event: &Event) {
        let subject = match event.kind {
            EventKind::IncidentOpened | EventKind::IncidentResolved => {
                Subject::parse(event.resource_type, &event.resource_id)
            }
            EventKind::Digest => None,
            _ => return,
        };
        self.add(event.workspace_id, subject);
    }

    pub(crate) fn add(&self, workspace_id: WorkspaceId, subject: Option<Subject>) {
        let mut subjects = lock(&self.0.subjects);
        if !subjects.iter().any(|known| *known == (workspace_id, subject.clone())) {
            subjects.push((workspace_id, subject));
        }
        drop(subjects);
        self.0.changed.notify_one();
    }

    /// Removes and returns what was recorded.
    pub(crate) fn take(&self) -> Vec<(WorkspaceId, Option<Subject>)> {
        std::mem::take(&mut *lock(&self.0.subjects))
    }

    /// Waits until something is recorded.
    pub(crate) async fn notified(&self) {
        self.0.changed.notified().await;
    }
}

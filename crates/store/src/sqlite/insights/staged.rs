//! What a batch of writes did, noted in memory by the writer and published when the batch is committed.
//!
//! It costs the event pipeline a few additions for each row and no statement.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use tidings_domain::delivery::Status;
use tidings_domain::event::Event;
use tidings_domain::id::{Id as _, WorkspaceId};
use tidings_domain::time::Timestamp;
use tidings_domain::trigger::Trigger;

use crate::insights::Activity;

const MINUTE_MS: i64 = 60_000;

/// What is not folded yet, shared between the writer and those who fold.
#[derive(Debug)]
pub(in crate::sqlite) struct Unfolded {
    /// The least sort key of an event that may not be folded yet; `i64::MAX` if there is none.
    first_event: AtomicI64,
    has_counts: AtomicBool,
}

impl Default for Unfolded {
    fn default() -> Self {
        Self { first_event: AtomicI64::new(i64::MAX), has_counts: AtomicBool::new(false) }
    }
}

impl Unfolded {
    /// Events from this sort key on are to be folded, possibly again.
    pub(in crate::sqlite) fn add(&self, sort_key: i64) {
        self.first_event.fetch_min(sort_key, Ordering::AcqRel);
    }

    /// The least sort key to fold from. Events that are committed from now on are added again, also those with a lower
    /// key: ids are made before their commit, so that keys are not committed in their order.
    pub(super) fn take(&self) -> Option<i64> {
        let first = self.first_event.swap(i64::MAX, Ordering::AcqRel);
        (first != i64::MAX).then_some(first)
    }

    pub(super) fn has_counts(&self) -> bool {
        self.has_counts.load(Ordering::Acquire)
    }
}

/// The counts of one minute of one workspace.
pub(super) type Minute = (WorkspaceId, i64);

/// The notes of a batch that is not committed yet.
#[derive(Debug, Clone, Default)]
pub(in crate::sqlite) struct Staged {
    first_event: Option<i64>,
    counts: Counts,
    /// The published counts were written by this batch.
    is_flushed: bool,
}

/// Counts by minute. Nearly all of a batch are of one minute, the last one.
#[derive(Debug, Clone, Default)]
pub(super) struct Counts(pub(super) Vec<(Minute, Activity)>);

impl Counts {
    fn at(&mut self, workspace_id: WorkspaceId, at: Timestamp) -> &mut Activity {
        let minute = (workspace_id, at.unix_ms().div_euclid(MINUTE_MS));
        let found = self.0.iter().rposition(|(other, _)| *other == minute);
        let index = found.unwrap_or_else(|| {
            self.0.push((minute, Activity::default()));
            self.0.len() - 1
        });
        &mut self.0[index].1
    }

    fn merge(&mut self, more: &Self) {
        for ((workspace_id, minute), more) in &more.0 {
            let counts = self.at(*workspace_id, Timestamp::from_unix_ms(minute * MINUTE_MS));
            counts.sent += more.sent;
            counts.failed += more.failed;
            counts.suppressed += more.suppressed;
            counts.skipped += more.skipped;
            counts.runs_succeeded += more.runs_succeeded;
            counts.runs_failed += more.runs_failed;
        }
    }
}

/// The writer's notes.
#[derive(Debug, Default)]
pub(in crate::sqlite) struct Notes {
    staged: RefCell<Staged>,
    published: RefCell<Counts>,
    unfolded: Arc<Unfolded>,
}

impl Notes {
    pub(in crate::sqlite) fn new(unfolded: Arc<Unfolded>) -> Self {
        Self { unfolded, ..Self::default() }
    }

    /// An event was inserted.
    pub(in crate::sqlite) fn event(&self, event: &Event) {
        let mut staged = self.staged.borrow_mut();
        let sort_key = event.id.sort_key();
        staged.first_event = Some(staged.first_event.map_or(sort_key, |first| first.min(sort_key)));
        if event.kind.is_run() {
            let counts = staged.counts.at(event.workspace_id, event.received_at);
            match event.trigger {
                Trigger::Success => counts.runs_succeeded += 1,
                _ => counts.runs_failed += 1,
            }
        }
    }

    /// Deliveries were settled, `count` of them and no test among them.
    pub(in crate::sqlite) fn settled(&self, workspace_id: WorkspaceId, status: Status, at: Timestamp, count: u64) {
        if count == 0 || !status.is_settled() {
            return;
        }
        let mut staged = self.staged.borrow_mut();
        let counts = staged.counts.at(workspace_id, at);
        match status {
            Status::Sent => counts.sent += count,
            Status::Failed => counts.failed += count,
            Status::Suppressed => counts.suppressed += count,
            Status::Skipped => counts.skipped += count,
            Status::Pending | Status::Held | Status::Sending => {}
        }
    }

    /// Forgets what a transaction noted, which is begun or rolled back.
    pub(in crate::sqlite) fn discard(&self) {
        *self.staged.borrow_mut() = Staged::default();
    }

    /// The notes up to a savepoint, for [`Self::roll_back_to`].
    pub(in crate::sqlite) fn savepoint(&self) -> Staged {
        self.staged.borrow().clone()
    }

    pub(in crate::sqlite) fn roll_back_to(&self, savepoint: Staged) {
        *self.staged.borrow_mut() = savepoint;
    }

    /// The transaction was committed.
    pub(in crate::sqlite) fn publish(&self) {
        let staged = self.staged.take();
        if let Some(first) = staged.first_event {
            self.unfolded.add(first);
        }
        if staged.is_flushed || !staged.counts.0.is_empty() {
            let mut published = self.published.borrow_mut();
            if staged.is_flushed {
                published.0.clear();
            }
            published.merge(&staged.counts);
            self.unfolded.has_counts.store(!published.0.is_empty(), Ordering::Release);
        }
    }

    /// Writes the published counts with this function. They are forgotten when the transaction is committed.
    pub(super) fn flush<E>(&self, mut write: impl FnMut(Minute, &Activity) -> Result<(), E>) -> Result<(), E> {
        // Two folds may be in one batch.
        if self.staged.borrow().is_flushed {
            return Ok(());
        }
        for (minute, counts) in &self.published.borrow().0 {
            write(*minute, counts)?;
        }
        self.staged.borrow_mut().is_flushed = true;
        Ok(())
    }
}

//! Checkpoints: the write-ahead log (WAL) is copied into the database file when it has grown, and restarts.
//!
//! A helper thread copies the bulk (`PASSIVE`) while the writer goes on committing; the writer copies the short
//! remainder between two commits. SQLite restarts the WAL with the next commit that finds all of it copied and no
//! reader in it. Overlapping readers could put that off for ever, so above a size the writer briefly waits for them
//! (`RESTART`).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use rusqlite::Connection;

use super::write_queue::JoinOnDrop;
use crate::Result;

/// The size to which a restarted WAL file is truncated (`journal_size_limit`), and its growth between two checkpoints.
/// Smaller in tests, so that they need not write as much.
pub(super) const CHECKPOINT_BYTES: u64 = if cfg!(test) { 1 << 20 } else { 16 << 20 };
/// The WAL size above which the writer waits for readers.
const RESTART_BYTES: u64 = 4 * CHECKPOINT_BYTES;
/// How long it waits for them, once for each [`CHECKPOINT_BYTES`] of growth.
const READERS_MAX_WAIT: Duration = Duration::from_millis(100);
/// Commits between two checks of the file's size: a system call that most commits need not make.
const SIZE_CHECK_COMMITS: u32 = 16;

/// Decides when to checkpoint, and owns the helper thread.
pub(super) struct Checkpointer {
    requests: SyncSender<()>,
    /// Set by the helper when it has finished a copy.
    copied: Arc<AtomicBool>,
    /// A copy was requested and not yet seen to be finished.
    copying: bool,
    wal: PathBuf,
    /// The size from which the next checkpoint is due.
    due_bytes: u64,
    commits: u32,
    /// The usual busy timeout of the writer's connection.
    busy_timeout: Duration,
    /// Whether no other process uses the database.
    is_alone: bool,
    _helper: JoinOnDrop,
}

impl Checkpointer {
    /// `helper` is a connection of its own; `database` the path of the database file.
    pub(super) fn start(helper: Connection, database: &Path, busy_timeout: Duration, is_alone: bool) -> Result<Self> {
        let (requests, receiver) = sync_channel::<()>(1);
        let copied = Arc::new(AtomicBool::new(false));
        let done = Arc::clone(&copied);
        let helper = JoinOnDrop::spawn("store-checkpoint", move || {
            while receiver.recv().is_ok() {
                checkpoint(&helper, "PASSIVE");
                done.store(true, Ordering::Release);
            }
        })?;
        let mut wal = database.as_os_str().to_owned();
        wal.push("-wal");
        Ok(Self {
            requests,
            copied,
            copying: false,
            wal: wal.into(),
            due_bytes: CHECKPOINT_BYTES,
            commits: 0,
            busy_timeout,
            is_alone,
            _helper: helper,
        })
    }

    /// Requests or completes a checkpoint if one is due. Called by the writer after each commit.
    pub(super) fn after_commit(&mut self, writer: &Connection) {
        if self.copying {
            if self.copied.swap(false, Ordering::Acquire) {
                self.copying = false;
                self.copy_remainder(writer);
            }
            return;
        }
        self.commits = self.commits.wrapping_add(1);
        if !self.commits.is_multiple_of(SIZE_CHECK_COMMITS) {
            return;
        }
        let bytes = self.wal_bytes();
        if bytes <= CHECKPOINT_BYTES {
            // The WAL restarted: SQLite truncated the file to its limit.
            self.due_bytes = CHECKPOINT_BYTES;
        } else if bytes > self.due_bytes {
            // The file does not shrink before it restarts, so the next threshold is relative to this size. Otherwise
            // each commit from here on would ask for a checkpoint.
            self.due_bytes = bytes + CHECKPOINT_BYTES;
            self.copying = self.requests.try_send(()).is_ok();
        }
    }

    /// Copies what was committed while the helper copied. Without this step the WAL would never be copied completely
    /// under constant writes, and so never restart.
    fn copy_remainder(&self, writer: &Connection) {
        if self.wal_bytes() <= RESTART_BYTES {
            checkpoint(writer, "PASSIVE");
        } else {
            let _ = writer.busy_timeout(READERS_MAX_WAIT);
            checkpoint(writer, "RESTART");
            let _ = writer.busy_timeout(self.busy_timeout);
        }
    }

    fn wal_bytes(&self) -> u64 {
        std::fs::metadata(&self.wal).map_or(0, |file| file.len())
    }

    /// Empties the WAL after the last commit, so that the database file alone holds everything.
    pub(super) fn finish(self, writer: &Connection) {
        if !self.is_alone {
            // The other process goes on writing, and would have to wait for this.
            return;
        }
        // Joins the helper first: SQLite runs one checkpoint at a time, and this one must not find it busy.
        drop(self);
        if !checkpoint(writer, "TRUNCATE") {
            tracing::warn!("failed to empty the write-ahead log, the next start will read it");
        }
    }
}

/// Returns whether the checkpoint was completed.
fn checkpoint(connection: &Connection, mode: &str) -> bool {
    let is_busy = connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| row.get::<_, bool>(0));
    match is_busy {
        Ok(is_busy) => !is_busy,
        Err(error) => {
            tracing::warn!(%error, mode, "checkpoint failed, will retry");
            false
        }
    }
}

//! Checkpoints: the log (WAL) is copied into the database when it has grown, and starts again at its beginning.
//!
//! The bulk is copied beside the writer on a thread of its own, the short rest by the writer between two commits. The
//! log starts again with the next commit that finds all of it copied and no reader in it. Readers that relieve each
//! other without a gap would put that off for ever; past a size the writer therefore waits for them, for a moment.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use rusqlite::Connection;

use super::thread::Joined;
use crate::Result;

/// The size that the log has after it started again, and by which it grows between two checkpoints. Less in tests, which
/// need not write so much then.
pub(super) const CHECKPOINT_BYTES: u64 = if cfg!(test) { 1 << 20 } else { 16 << 20 };
/// The size from which the writer waits for readers.
const PATIENCE_BYTES: u64 = 4 * CHECKPOINT_BYTES;
/// How long it waits for them, once for each [`CHECKPOINT_BYTES`] of growth.
const PATIENCE: Duration = Duration::from_millis(100);
/// How often the log's size is looked at, in commits.
const LOOK_COMMITS: u32 = 16;

/// When to copy, and the thread that does.
pub(super) struct Checkpoints {
    requests: SyncSender<()>,
    copied: Arc<AtomicBool>,
    copying: bool,
    wal: PathBuf,
    /// The size from which the next one is due.
    due_bytes: u64,
    commits: u32,
    /// How long the writer's connection waits for others, except here.
    busy_timeout: Duration,
    _helper: Joined,
}

impl Checkpoints {
    /// `helper` is a connection beside the writer's; `database` the path of the file.
    pub(super) fn start(helper: Connection, database: &Path, busy_timeout: Duration) -> Result<Self> {
        let (requests, wanted) = sync_channel::<()>(1);
        let copied = Arc::new(AtomicBool::new(false));
        let done = Arc::clone(&copied);
        let helper = Joined::spawn("store-checkpoint", move || {
            while wanted.recv().is_ok() {
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
            _helper: helper,
        })
    }

    /// Looks after the log, after a commit on the writer's connection.
    pub(super) fn after_commit(&mut self, writer: &Connection) {
        if self.copying {
            if self.copied.swap(false, Ordering::Acquire) {
                self.copying = false;
                self.copy_rest(writer);
            }
            return;
        }
        self.commits = self.commits.wrapping_add(1);
        if !self.commits.is_multiple_of(LOOK_COMMITS) {
            return;
        }
        let bytes = self.log_bytes();
        if bytes <= CHECKPOINT_BYTES {
            self.due_bytes = CHECKPOINT_BYTES;
        } else if bytes > self.due_bytes {
            self.due_bytes = bytes + CHECKPOINT_BYTES;
            self.copying = self.requests.try_send(()).is_ok();
        }
    }

    fn copy_rest(&self, writer: &Connection) {
        if self.log_bytes() <= PATIENCE_BYTES {
            checkpoint(writer, "PASSIVE");
        } else {
            let _ = writer.busy_timeout(PATIENCE);
            checkpoint(writer, "RESTART");
            let _ = writer.busy_timeout(self.busy_timeout);
        }
    }

    fn log_bytes(&self) -> u64 {
        std::fs::metadata(&self.wal).map_or(0, |file| file.len())
    }

    /// Empties the log, after the last commit.
    pub(super) fn last(self, writer: &Connection) {
        // Two checkpoints at once are one too many: the helper ends first.
        drop(self);
        if !checkpoint(writer, "TRUNCATE") {
            tracing::warn!("the log could not be emptied; it is kept and read at the next start");
        }
    }
}

/// Whether all was copied that was to be.
fn checkpoint(connection: &Connection, mode: &str) -> bool {
    let is_busy = connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| row.get::<_, bool>(0));
    match is_busy {
        Ok(is_busy) => !is_busy,
        Err(error) => {
            tracing::warn!(%error, "a checkpoint failed; it is tried again");
            false
        }
    }
}

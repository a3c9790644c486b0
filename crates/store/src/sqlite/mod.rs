//! The embedded store: SQLite in WAL mode with `synchronous=FULL`, one writer thread, a few readers.
//!
//! Writes: the caller encodes JSON columns and pushes a request into `write_queue`; `writer` commits everything queued
//! as one transaction, with the statements that `db` keeps prepared, and `checkpoint` keeps the write-ahead log short.
//! Reads run on connections of their own (`reader`) and never wait for the writer.
//!
//! One process at a time serves a data directory, which a lock file ensures. Commands may read and change accounts and
//! settings beside it.

mod accept;
mod accounts;
mod activity;
mod attempts;
mod chain;
mod checkpoint;
mod claim;
mod db;
mod follow_ups;
mod held;
mod history;
mod index;
mod initial_state;
mod insert;
mod insights;
mod metrics;
mod migrate;
mod monitoring;
mod operation;
mod prune;
mod rate_limit;
mod reader;
mod release;
mod resend;
mod row;
mod scan;
mod search;
mod settings;
mod settle;
#[cfg(test)]
mod tests;

mod write_queue;
mod writer;

use std::fs::{DirBuilder, File, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, OpenFlags};
use tidings_domain::audit::AuditEntry;
use tidings_domain::gate::GateEvaluation;
use tidings_domain::id::{ChannelId, DeliveryId, EndpointId, EventId, IncidentId, WorkspaceId};
use tidings_domain::incident::{Notified, TimelineEntry};
use tidings_domain::time::Timestamp;

use crate::error::StoreError;
use crate::history::{DeliveryFilter, DeliveryRecord, EventFilter, EventRecord, IndexProgress, Page};
use crate::monitoring::{
    CheckFilter, CheckRecord, EndpointState, IncidentDelivery, IncidentFilter, IncidentRecord, TransitionOutcome,
    TransitionRecord,
};
use crate::queue::{
    Acceptance, Claimed, Due, HeldDelivery, Lease, LeaseRef, NewEvent, RateLimitRequest, ReleaseBatch, ReleaseOutcome,
    Resend, Settled, Settlement, TestRecord,
};
use crate::retention::{PruneCursor, Pruned, Retention, SummaryFilter, SummaryProgress, SummaryRecord};
use crate::settings::{ConfigChange, Configuration, InstanceKey, Version};
use crate::{Result, Store};

pub(crate) use search::fold;

/// The name of the database file in the data directory.
pub const DATABASE_FILE: &str = "tidings.db";
const LOCK_FILE: &str = "tidings.lock";
/// Connections for the engine's reads, which are always short.
const READERS: u32 = 1;
/// Connections for history reads. A text search may scan the whole history, so they are apart from the engine's.
const HISTORY_READERS: u32 = 2;
/// After this time a list with filters returns what it has found.
const SEARCH_MAX: Duration = Duration::from_millis(150);
/// The time limit of a history read, so that a slow one does not block the others for long.
const HISTORY_READ_MAX: Duration = Duration::from_secs(10);
/// How long a connection waits for a lock of another.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// A store in a data directory.
pub struct SqliteStore {
    writer: writer::Writer,
    readers: reader::Readers,
    history_readers: reader::Readers,
    /// A connection of its own, so that building blocks delays no other read.
    index_reader: reader::Readers,
    indexer: tokio::sync::Mutex<index::Indexer>,
    /// What is not folded yet into what [`insights`] reads.
    unfolded: Arc<insights::staged::Unfolded>,
    /// The lock is released when the file is closed. Last, so that the threads have ended by then. None beside another
    /// process that has it.
    _lock: Option<File>,
}

impl SqliteStore {
    /// Opens the store in this directory, creates what is missing, and applies missing migrations.
    ///
    /// # Errors
    /// [`StoreError::Locked`] if another process uses it, [`StoreError::TooNew`] if a newer Tidings wrote it,
    /// [`StoreError::OtherSchema`] if an unreleased build with another schema did.
    pub fn open(directory: &Path) -> Result<Self> {
        // Before anything is opened: only the process with the lock may migrate, and take the leases of all others for
        // dead.
        let lock = lock(directory)?;
        let path = directory.join(DATABASE_FILE);
        create_private(&path).map_err(|error| cannot_use(directory, &error))?;
        let mut connection = connect(&path, OpenFlags::default())?;
        migrate::up(&mut connection, directory)?;
        Self::start(connection, &path, Some(lock))
    }

    /// Opens the store in this directory while another process uses it, for a command that reads or changes accounts and
    /// settings. SQLite keeps the two apart; the other process sees changes as it polls for versions. Creates and
    /// migrates nothing, and must not touch the queue, whose leases belong to the other process.
    ///
    /// # Errors
    /// [`StoreError::TooNew`] or [`StoreError::OtherSchema`] if the other process is of another version.
    pub fn open_beside(directory: &Path) -> Result<Self> {
        let path = directory.join(DATABASE_FILE);
        let connection = connect(&path, OpenFlags::default() & !OpenFlags::SQLITE_OPEN_CREATE)?;
        migrate::verify_current(&connection, directory)?;
        Self::start(connection, &path, None)
    }

    fn start(connection: Connection, path: &Path, lock: Option<File>) -> Result<Self> {
        let helper = connect(path, OpenFlags::default())?;
        let unfolded = Arc::<insights::staged::Unfolded>::default();
        unfolded.add(insights::fold::start(&connection)?);
        let checkpointer = checkpoint::Checkpointer::start(helper, path, BUSY_TIMEOUT, lock.is_some())?;
        Ok(Self {
            writer: writer::Writer::start(connection, checkpointer, Arc::clone(&unfolded))?,
            readers: reader::Readers::open(path, READERS, None)?,
            history_readers: reader::Readers::open(path, HISTORY_READERS, Some(HISTORY_READ_MAX))?,
            unfolded,
            index_reader: reader::Readers::open(path, 1, Some(HISTORY_READ_MAX))?,
            indexer: tokio::sync::Mutex::default(),
            _lock: lock,
        })
    }
}

impl SqliteStore {
    /// See [`index`] for the steps. Returns the indexer as it is after them.
    async fn index(&self, mut indexer: index::Indexer, now: Timestamp) -> Result<(IndexProgress, index::Indexer)> {
        let next = self.index_reader.run(move |db| {
            let next = indexer.next_ranges(db, now)?;
            Ok((next, indexer))
        });
        let ((ranges, mut has_more), indexer) = next.await?;
        if !ranges.is_empty() {
            self.writer.run_batched("index_history", move |db| index::insert_ranges(db, &ranges)).await?;
        }
        let (outdated, more_stale) = self.index_reader.run(move |db| index::outdated(db, now)).await?;
        has_more |= more_stale;
        let mut progress = IndexProgress { blocks: 0, has_more };
        for some in outdated.chunks(index::TOGETHER_MAX) {
            let some = some.to_vec();
            let rebuild = move |db: &Connection| some.into_iter().map(|block| index::Rebuilt::of(db, block)).collect();
            let rebuilt: Vec<_> = self.index_reader.run::<Vec<_>>(rebuild).await?;
            progress.blocks += index::count_blocks(&rebuilt);
            self.writer.run_batched("index_history", move |db| index::replace(db, &rebuilt, now)).await?;
        }
        Ok((progress, indexer))
    }
}

/// Creates the data directory and locks it.
fn lock(directory: &Path) -> Result<File> {
    let failed = |error| cannot_use(directory, &error);
    if let Some(parent) = directory.parent() {
        std::fs::create_dir_all(parent).map_err(failed)?;
    }
    // Only the service's user may read the data. The mode of an existing directory is the operator's choice and stays.
    DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
    let mut options = File::options();
    options.create(true).truncate(false).write(true).mode(0o600);
    let file = options.open(directory.join(LOCK_FILE)).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked(directory.display().to_string())),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

/// Creates an empty database file, if there is none, that only its owner can read. SQLite takes it for a new database,
/// and gives the WAL and its index the same mode.
fn create_private(path: &Path) -> std::io::Result<()> {
    match File::options().create_new(true).write(true).mode(0o600).open(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

fn cannot_use(directory: &Path, error: &std::io::Error) -> StoreError {
    StoreError::Database(format!("cannot use {}: {error}", directory.display()))
}

/// Opens a connection with the settings common to all. Automatic checkpoints are off, because a large one would run
/// inside some caller's commit; see [`checkpoint`].
fn connect(path: &Path, flags: OpenFlags) -> Result<Connection> {
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    let mode: String = connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
    // SQLite answers with the old mode instead of an error where WAL is impossible.
    if mode != "wal" {
        let why = format!(
            "{} is on a file system without shared memory (journal mode {mode}): use a local one",
            path.display()
        );
        return Err(StoreError::Database(why));
    }
    connection.pragma_update(None, "journal_size_limit", checkpoint::CHECKPOINT_BYTES as i64)?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.pragma_update(None, "temp_store", "memory")?;
    connection.set_prepared_statement_cache_capacity(128);
    Ok(connection)
}

#[async_trait]
impl Store for SqliteStore {
    async fn ready(&self) -> Result<()> {
        self.writer.run_batched("ready", |db| migrate::rewrite_version(db)).await
    }

    async fn close(&self) {
        // The readers first: the final checkpoint cannot empty the WAL while a read transaction uses it.
        // Counts are in memory until they are folded.
        let _ = self.catch_up().await;
        self.history_readers.close().await;
        self.index_reader.close().await;
        self.readers.close().await;
        self.writer.close().await;
    }

    async fn instance_key(&self) -> Result<Option<InstanceKey>> {
        self.readers.run(settings::instance_key).await
    }

    async fn set_instance_key(&self, key: InstanceKey) -> Result<()> {
        self.writer.run_separately("set_instance_key", move |db| settings::set_instance_key(db, &key)).await
    }

    async fn configuration(&self, workspace_id: WorkspaceId, endpoints_since: Version) -> Result<Configuration> {
        self.readers.run(move |db| settings::configuration(db, workspace_id, endpoints_since)).await
    }

    async fn versions(&self) -> Result<Vec<(WorkspaceId, Version)>> {
        self.readers.run(settings::versions).await
    }

    async fn apply_changes(&self, workspace_id: WorkspaceId, changes: Vec<ConfigChange>) -> Result<Version> {
        self.writer.run_separately("apply_changes", move |db| settings::apply_changes(db, workspace_id, &changes)).await
    }

    async fn accept(&self, batch: Vec<NewEvent>) -> Result<Vec<Acceptance>> {
        self.writer.accept(batch.into_iter().map(accept::EncodedEvent::new).collect::<Result<_>>()?).await
    }

    async fn claim(&self, now: Timestamp, lease: Lease, wanted: Vec<(ChannelId, u32)>) -> Result<Vec<Claimed>> {
        self.writer.run_batched("claim", move |db| claim::claim(db, now, lease, &wanted)).await
    }

    async fn settle(&self, settlement: Settlement) -> Result<Settled> {
        self.writer.settle(settlement).await
    }

    async fn return_leases(&self, leases: Vec<LeaseRef>) -> Result<u64> {
        self.writer.run_batched("return_leases", move |db| claim::return_leases(db, &leases)).await
    }

    async fn reclaim_leases(&self, now: Timestamp, owner: i64) -> Result<u64> {
        self.writer.run_batched("reclaim_leases", move |db| claim::reclaim_leases(db, now, owner)).await
    }

    async fn due(&self) -> Result<Vec<Due>> {
        self.readers.run(claim::due).await
    }

    async fn resend(&self, resend: Resend, audit: Option<AuditEntry>) -> Result<()> {
        self.writer.run_separately("resend", move |db| resend::resend(db, &resend, audit.as_ref())).await
    }

    async fn recover(
        &self,
        workspace_id: WorkspaceId,
        channel_id: ChannelId,
        since: Timestamp,
        now: Timestamp,
        limit: Option<u32>,
        audit: Option<AuditEntry>,
    ) -> Result<u64> {
        match limit {
            None => self.history_readers.run(move |db| resend::count_failed(db, workspace_id, channel_id, since)).await,
            Some(limit) => {
                let recover = move |db: &db::Db<'_>| {
                    resend::recover(db, workspace_id, channel_id, since, now, limit, audit.as_ref())
                };
                self.writer.run_batched("recover", recover).await
            }
        }
    }

    async fn record_test(&self, test: TestRecord) -> Result<()> {
        self.writer.run_separately("record_test", move |db| settle::record_test(db, &test)).await
    }

    async fn next_releases(&self) -> Result<Vec<Due>> {
        self.readers.run(held::next_releases).await
    }

    async fn list_held(
        &self,
        workspace_id: WorkspaceId,
        channel_id: ChannelId,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<HeldDelivery>> {
        let read = move |db: &Connection| held::list(db, workspace_id, channel_id, until, limit);
        let (found, unreadable) = self.readers.run(read).await?;
        // Otherwise the release loop would find them again in each run.
        if !unreadable.is_empty() {
            self.writer
                .run_batched("fail_unreadable", move |db| claim::fail_unreadable(db, &unreadable, until))
                .await?;
        }
        Ok(found)
    }

    async fn preview_rate_limit(
        &self,
        channel_id: ChannelId,
        request: RateLimitRequest,
        evaluation: GateEvaluation,
        at: Timestamp,
    ) -> Result<GateEvaluation> {
        self.readers.run(move |db| rate_limit::preview(db, channel_id, &request, evaluation, at)).await
    }

    async fn release_held(&self, release: ReleaseBatch) -> Result<ReleaseOutcome> {
        let encoded = release::EncodedRelease::new(release)?;
        self.writer.run_separately("release_held", move |db| release::release(db, &encoded)).await
    }

    async fn endpoint_states(&self, workspace_id: WorkspaceId) -> Result<Vec<EndpointState>> {
        self.readers.run(move |db| monitoring::state::all(db, workspace_id)).await
    }

    async fn record_transition(
        &self,
        workspace_id: WorkspaceId,
        transition: TransitionRecord,
    ) -> Result<TransitionOutcome> {
        let encoded = monitoring::transition::EncodedTransition::new(transition)?;
        if encoded.is_check_only() {
            // Its refusal is an `Ok` for the writer, hence the two results: it wrote nothing that must be rolled back.
            let record = move |db: &db::Db<'_>| monitoring::transition::record_check(db, workspace_id, &encoded);
            return self.writer.run_batched("record_transition", record).await?;
        }
        let record = move |db: &db::Db<'_>| monitoring::transition::record(db, workspace_id, &encoded);
        self.writer.run_separately("record_transition", record).await
    }

    async fn active_incidents(&self) -> Result<Vec<IncidentRecord>> {
        self.readers.run(monitoring::incident::active).await
    }

    async fn unfinished_incidents(&self) -> Result<Vec<IncidentRecord>> {
        self.readers.run(monitoring::incident::unfinished).await
    }

    async fn notified_channels(&self, workspace_id: WorkspaceId, incident_id: IncidentId) -> Result<Notified> {
        self.readers.run(move |db| monitoring::incident::notified(db, workspace_id, incident_id)).await
    }

    async fn last_episode_end(&self, workspace_id: WorkspaceId, resource_id: &str) -> Result<Option<Timestamp>> {
        let resource_id = resource_id.to_owned();
        self.readers.run(move |db| monitoring::episode::last_end(db, workspace_id, &resource_id)).await
    }

    async fn incident_deliveries(
        &self,
        workspace_id: WorkspaceId,
        incident_id: IncidentId,
    ) -> Result<Vec<IncidentDelivery>> {
        self.readers.run(move |db| monitoring::incident_deliveries::list(db, workspace_id, incident_id)).await
    }

    async fn incidents(&self, workspace_id: WorkspaceId, filter: IncidentFilter) -> Result<Vec<IncidentRecord>> {
        self.history_readers.run(move |db| monitoring::incident::list(db, workspace_id, &filter)).await
    }

    async fn incident(
        &self,
        workspace_id: WorkspaceId,
        id: IncidentId,
    ) -> Result<Option<(IncidentRecord, Vec<TimelineEntry>)>> {
        self.history_readers.run(move |db| monitoring::incident::get(db, workspace_id, id)).await
    }

    async fn checks(
        &self,
        workspace_id: WorkspaceId,
        endpoint_id: EndpointId,
        filter: CheckFilter,
    ) -> Result<Vec<CheckRecord>> {
        self.history_readers.run(move |db| monitoring::check::list(db, workspace_id, endpoint_id, &filter)).await
    }

    async fn summaries(
        &self,
        workspace_id: WorkspaceId,
        endpoint_id: EndpointId,
        filter: SummaryFilter,
    ) -> Result<Vec<SummaryRecord>> {
        self.history_readers.run(move |db| monitoring::summary::list(db, workspace_id, endpoint_id, &filter)).await
    }

    async fn summarise(&self, now: Timestamp, limit: u32) -> Result<SummaryProgress> {
        self.writer.run_batched("summarise", move |db| monitoring::summary::summarise(db, now, limit)).await
    }

    async fn prune(&self, now: Timestamp, retention: Retention, from: PruneCursor, limit: u32) -> Result<Pruned> {
        self.writer.run_batched("prune", move |db| prune::prune(db, now, &retention, from, limit)).await
    }

    async fn index_history(&self, now: Timestamp) -> Result<IndexProgress> {
        // One call at a time: only the index itself may have replaced a block between its two steps.
        let mut indexer = self.indexer.lock().await;
        let progress = self.index(std::mem::take(&mut *indexer), now).await;
        progress.map(|(progress, after)| {
            *indexer = after;
            progress
        })
    }

    async fn events(&self, workspace_id: WorkspaceId, filter: EventFilter) -> Result<Page<EventRecord>> {
        self.history_readers.run(move |db| history::events(db, workspace_id, &filter, SEARCH_MAX)).await
    }

    async fn event(&self, workspace_id: WorkspaceId, id: EventId) -> Result<Option<EventRecord>> {
        self.history_readers.run(move |db| history::event(db, workspace_id, id)).await
    }

    async fn deliveries(&self, workspace_id: WorkspaceId, filter: DeliveryFilter) -> Result<Page<DeliveryRecord>> {
        self.history_readers.run(move |db| history::deliveries(db, workspace_id, &filter, SEARCH_MAX)).await
    }

    async fn delivery(&self, workspace_id: WorkspaceId, id: DeliveryId) -> Result<Option<DeliveryRecord>> {
        self.history_readers.run(move |db| history::delivery(db, workspace_id, id)).await
    }
}

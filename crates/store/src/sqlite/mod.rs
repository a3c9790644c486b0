//! The embedded store: SQLite in WAL mode with `synchronous=FULL`, one writer thread, a few readers.
//!
//! Writes go through `writer`, which commits all that waits as one transaction. Reads run on connections of their own
//! beside it. One process has the directory at a time: a lock file says so.

mod accept;
mod admission;
mod attempts;
mod begin;
mod checkpoint;
mod claim;
mod concerns;
mod db;
mod held;
mod insert;
mod let_go;
mod log;
mod meters;
mod migrate;
mod operation;
mod prune;
mod reader;
mod resend;
mod row;
mod search;
mod settings;
mod settle;
#[cfg(test)]
mod tests;
mod thread;
mod waiting;
mod watching;
mod writer;

use std::fs::{DirBuilder, File, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, OpenFlags};
use tidings_domain::gate::GateEvaluation;
use tidings_domain::id::{ApiKeyId, ChannelId, DeliveryId, EndpointId, EventId, IncidentId, WorkspaceId};
use tidings_domain::incident::TimelineEntry;
use tidings_domain::time::Timestamp;

use crate::error::StoreError;
use crate::history::{DeliveryFilter, DeliveryRecord, EventFilter, EventRecord};
use crate::monitoring::{
    CheckFilter, CheckRecord, EndpointState, IncidentDelivery, IncidentFilter, IncidentRecord, TransitionOutcome,
    TransitionRecord,
};
use crate::queue::{
    Acceptance, Claimed, Due, HeldDelivery, Lease, LeaseRef, NewEvent, RateLimitRequest, ReleaseBatch, ReleaseOutcome,
    Resend, Settled, Settlement, TestRecord,
};
use crate::retention::{PruneCursor, Pruned, Retention, SummaryFilter, SummaryProgress, SummaryRecord};
use crate::settings::{ApiKey, ConfigChange, Configuration, InstanceKey, Version, WorkspaceRecord};
use crate::{Result, Store};

/// The database's file in the data directory.
pub const FILE: &str = "tidings.db";
const LOCK_FILE: &str = "tidings.lock";
/// Connections for what the engine reads, which is always short.
const READERS: u32 = 1;
/// Connections for the log, where people may look for a needle in a very large haystack.
const LOG_READERS: u32 = 2;
/// How long one look into the log may take, so that the others get theirs.
const LOG_READ_MAX: Duration = Duration::from_secs(10);
/// How long one connection waits for another, where it has to.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// A store in a directory.
pub struct SqliteStore {
    writer: writer::Writer,
    readers: reader::Readers,
    log_readers: reader::Readers,
    /// Held for as long as the store lives.
    _lock: File,
}

impl SqliteStore {
    /// Opens the store in this directory, making both as needed, and brings its schema up to date.
    ///
    /// # Errors
    /// [`StoreError::Locked`] if another process has it, [`StoreError::TooNew`] if a newer Tidings wrote it,
    /// [`StoreError::OtherSchema`] if an unreleased build with another schema did.
    pub fn open(directory: &Path) -> Result<Self> {
        let lock = lock(directory)?;
        let path = directory.join(FILE);
        make_private(&path).map_err(|error| unusable(directory, &error))?;
        let mut connection = connect(&path, OpenFlags::default())?;
        migrate::up(&mut connection, directory)?;
        let helper = connect(&path, OpenFlags::default())?;
        let checkpoints = checkpoint::Checkpoints::start(helper, &path, BUSY_TIMEOUT)?;
        Ok(Self {
            writer: writer::Writer::start(connection, checkpoints)?,
            readers: reader::Readers::open(&path, READERS, None)?,
            log_readers: reader::Readers::open(&path, LOG_READERS, Some(LOG_READ_MAX))?,
            _lock: lock,
        })
    }
}

fn lock(directory: &Path) -> Result<File> {
    let failed = |error| unusable(directory, &error);
    if let Some(parent) = directory.parent() {
        std::fs::create_dir_all(parent).map_err(failed)?;
    }
    // What is in it is the service's own. A directory that is there already stays as open as it is.
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

/// Makes an empty file for the database, if there is none, that nobody else can read. SQLite takes it for a new database,
/// and gives what it puts beside it the same mode.
fn make_private(path: &Path) -> std::io::Result<()> {
    match File::options().create_new(true).write(true).mode(0o600).open(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

fn unusable(directory: &Path, error: &std::io::Error) -> StoreError {
    StoreError::Database(format!("cannot use {}: {error}", directory.display()))
}

/// A connection with the settings that every one needs. Checkpoints are the writer's business, never a side effect.
fn connect(path: &Path, flags: OpenFlags) -> Result<Connection> {
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    let mode: String = connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
    if mode != "wal" {
        let why = format!("{} is on a file system without shared memory (journal mode {mode})", path.display());
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
        self.writer.run("ready", |db| migrate::rewrite_version(db)).await
    }

    async fn close(&self) {
        self.log_readers.close().await;
        self.readers.close().await;
        self.writer.close().await;
    }

    async fn workspaces(&self) -> Result<Vec<WorkspaceRecord>> {
        self.readers.run(settings::workspaces).await
    }

    async fn create_workspace(&self, record: WorkspaceRecord) -> Result<()> {
        self.writer.run_alone("create_workspace", move |db| settings::create_workspace(db, &record)).await
    }

    async fn add_api_key(&self, key: ApiKey) -> Result<()> {
        self.writer.run_alone("add_api_key", move |db| settings::add_api_key(db, &key)).await
    }

    async fn delete_api_key(&self, workspace_id: WorkspaceId, id: ApiKeyId) -> Result<()> {
        self.writer.run_alone("delete_api_key", move |db| settings::delete_api_key(db, workspace_id, id)).await
    }

    async fn instance_key(&self) -> Result<Option<InstanceKey>> {
        self.readers.run(settings::instance_key).await
    }

    async fn set_instance_key(&self, key: InstanceKey) -> Result<()> {
        self.writer.run_alone("set_instance_key", move |db| settings::set_instance_key(db, &key)).await
    }

    async fn configuration(&self, workspace_id: WorkspaceId, endpoints_since: Version) -> Result<Configuration> {
        self.readers.run(move |db| settings::configuration(db, workspace_id, endpoints_since)).await
    }

    async fn versions(&self) -> Result<Vec<(WorkspaceId, Version)>> {
        self.readers.run(settings::versions).await
    }

    async fn apply_changes(&self, workspace_id: WorkspaceId, changes: Vec<ConfigChange>) -> Result<Version> {
        self.writer.run_alone("change", move |db| settings::change(db, workspace_id, &changes)).await
    }

    async fn accept(&self, batch: Vec<NewEvent>) -> Result<Vec<Acceptance>> {
        self.writer.accept(batch.into_iter().map(accept::Prepared::new).collect::<Result<_>>()?).await
    }

    async fn claim(&self, now: Timestamp, lease: Lease, wanted: Vec<(ChannelId, u32)>) -> Result<Vec<Claimed>> {
        self.writer.run("claim", move |db| claim::claim(db, now, lease, &wanted)).await
    }

    async fn settle(&self, settlement: Settlement) -> Result<Settled> {
        self.writer.settle(settlement).await
    }

    async fn return_leases(&self, now: Timestamp, leases: Vec<LeaseRef>) -> Result<u64> {
        self.writer.run("return_leases", move |db| claim::return_leases(db, now, &leases)).await
    }

    async fn reclaim_leases(&self, now: Timestamp, owner: i64) -> Result<u64> {
        self.writer.run("reclaim_leases", move |db| claim::reclaim_leases(db, now, owner)).await
    }

    async fn due(&self) -> Result<Vec<Due>> {
        self.readers.run(claim::due).await
    }

    async fn resend(&self, resend: Resend) -> Result<()> {
        self.writer.run_alone("resend", move |db| resend::resend(db, &resend)).await
    }

    async fn recover(
        &self,
        workspace_id: WorkspaceId,
        channel_id: ChannelId,
        since: Timestamp,
        now: Timestamp,
        limit: Option<u32>,
    ) -> Result<u64> {
        match limit {
            None => self.log_readers.run(move |db| resend::count_failed(db, workspace_id, channel_id, since)).await,
            Some(limit) => {
                self.writer
                    .run("recover", move |db| resend::recover(db, workspace_id, channel_id, since, now, limit))
                    .await
            }
        }
    }

    async fn record_test(&self, test: TestRecord) -> Result<()> {
        self.writer.run_alone("record_test", move |db| settle::record_test(db, &test)).await
    }

    async fn next_releases(&self) -> Result<Vec<Due>> {
        self.readers.run(held::held).await
    }

    async fn list_held(
        &self,
        workspace_id: WorkspaceId,
        channel_id: ChannelId,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<HeldDelivery>> {
        let read = move |db: &Connection| held::held_back(db, workspace_id, channel_id, until, limit);
        let (found, unreadable) = self.readers.run(read).await?;
        if !unreadable.is_empty() {
            self.writer.run("give_up", move |db| claim::give_up_all(db, &unreadable, until)).await?;
        }
        Ok(found)
    }

    async fn preview_rate_limit(
        &self,
        channel_id: ChannelId,
        admission: RateLimitRequest,
        evaluation: GateEvaluation,
        at: Timestamp,
    ) -> Result<GateEvaluation> {
        self.readers.run(move |db| admission::foresee(db, channel_id, &admission, evaluation, at)).await
    }

    async fn release_held(&self, release: ReleaseBatch) -> Result<ReleaseOutcome> {
        let prepared = let_go::Prepared::new(release)?;
        self.writer.run_alone("let_go", move |db| let_go::let_go(db, &prepared)).await
    }

    async fn endpoint_states(&self, workspace_id: WorkspaceId) -> Result<Vec<EndpointState>> {
        self.readers.run(move |db| watching::state::all(db, workspace_id)).await
    }

    async fn record_transition(
        &self,
        workspace_id: WorkspaceId,
        following: TransitionRecord,
    ) -> Result<TransitionOutcome> {
        let prepared = watching::follow::Prepared::new(following)?;
        if prepared.is_plain() {
            let plain = move |db: &db::Db<'_>| watching::follow::plain(db, workspace_id, &prepared);
            return self.writer.run("follow", plain).await?;
        }
        self.writer.run_alone("follow", move |db| watching::follow::follow(db, workspace_id, &prepared)).await
    }

    async fn active_incidents(&self) -> Result<Vec<IncidentRecord>> {
        self.readers.run(watching::incident::active).await
    }

    async fn incident_deliveries(
        &self,
        workspace_id: WorkspaceId,
        incident_id: IncidentId,
    ) -> Result<Vec<IncidentDelivery>> {
        self.readers.run(move |db| watching::told::told(db, workspace_id, incident_id)).await
    }

    async fn incidents(&self, workspace_id: WorkspaceId, filter: IncidentFilter) -> Result<Vec<IncidentRecord>> {
        self.log_readers.run(move |db| watching::incident::list(db, workspace_id, &filter)).await
    }

    async fn incident(
        &self,
        workspace_id: WorkspaceId,
        id: IncidentId,
    ) -> Result<Option<(IncidentRecord, Vec<TimelineEntry>)>> {
        self.log_readers.run(move |db| watching::incident::one(db, workspace_id, id)).await
    }

    async fn checks(
        &self,
        workspace_id: WorkspaceId,
        endpoint_id: EndpointId,
        filter: CheckFilter,
    ) -> Result<Vec<CheckRecord>> {
        self.log_readers.run(move |db| watching::check::list(db, workspace_id, endpoint_id, &filter)).await
    }

    async fn summaries(
        &self,
        workspace_id: WorkspaceId,
        endpoint_id: EndpointId,
        filter: SummaryFilter,
    ) -> Result<Vec<SummaryRecord>> {
        self.log_readers.run(move |db| watching::summary::list(db, workspace_id, endpoint_id, &filter)).await
    }

    async fn summarise(&self, now: Timestamp, limit: u32) -> Result<SummaryProgress> {
        self.writer.run("summarise", move |db| watching::summary::summarise(db, now, limit)).await
    }

    async fn prune(&self, now: Timestamp, retention: Retention, from: PruneCursor, limit: u32) -> Result<Pruned> {
        self.writer.run("prune", move |db| prune::prune(db, now, &retention, from, limit)).await
    }

    async fn events(&self, workspace_id: WorkspaceId, filter: EventFilter) -> Result<Vec<EventRecord>> {
        self.log_readers.run(move |db| log::events(db, workspace_id, &filter)).await
    }

    async fn event(&self, workspace_id: WorkspaceId, id: EventId) -> Result<Option<EventRecord>> {
        self.log_readers.run(move |db| log::event(db, workspace_id, id)).await
    }

    async fn deliveries(&self, workspace_id: WorkspaceId, filter: DeliveryFilter) -> Result<Vec<DeliveryRecord>> {
        self.log_readers.run(move |db| log::deliveries(db, workspace_id, &filter)).await
    }

    async fn delivery(&self, workspace_id: WorkspaceId, id: DeliveryId) -> Result<Option<DeliveryRecord>> {
        self.log_readers.run(move |db| log::delivery(db, workspace_id, id)).await
    }
}

//! The minimal store: tables, and the writes of accepting an event and settling a delivery.

use std::path::Path;

use anyhow::Context as _;
use rusqlite::{Connection, Transaction, params};
use tidings_bench::clock;

/// The server's tables without columns for other kinds of events and without indexes for the history.
const SCHEMA: &str = "
    CREATE TABLE keys (workspace BLOB NOT NULL, resource_type TEXT NOT NULL, resource_id TEXT NOT NULL,
        run_id TEXT NOT NULL, trigger TEXT NOT NULL, event BLOB NOT NULL,
        PRIMARY KEY (workspace, resource_type, resource_id, run_id, trigger)) STRICT, WITHOUT ROWID;
    CREATE TABLE events (workspace BLOB NOT NULL, id BLOB NOT NULL, accepted_at INTEGER NOT NULL, body BLOB NOT NULL,
        PRIMARY KEY (workspace, id)) STRICT;
    CREATE TABLE deliveries (workspace BLOB NOT NULL, id BLOB NOT NULL, event BLOB NOT NULL, rule BLOB NOT NULL,
        channel BLOB NOT NULL, status INTEGER NOT NULL, attempts INTEGER NOT NULL, due_at INTEGER,
        PRIMARY KEY (workspace, id)) STRICT, WITHOUT ROWID;
    CREATE INDEX due ON deliveries (channel, due_at) WHERE due_at IS NOT NULL;
    CREATE TABLE attempts (workspace BLOB NOT NULL, delivery BLOB NOT NULL, number INTEGER NOT NULL,
        started_at INTEGER NOT NULL, duration_ms INTEGER NOT NULL, http_status INTEGER NOT NULL,
        PRIMARY KEY (workspace, delivery, number)) STRICT, WITHOUT ROWID;
";

/// WAL size of a checkpoint, as in the server: 16 MiB.
const CHECKPOINT_PAGES: u32 = 4_096;
/// Duration of a lease.
const LEASE_MS: i64 = 60_000;

const WORKSPACE: [u8; 16] = [1; 16];
const RULE: u8 = 2;
const CHANNEL: u8 = 3;
const SENDING: u8 = 3;
const SENT: u8 = 4;

/// Creates a database with the server's settings.
pub fn open(path: &Path) -> anyhow::Result<Connection> {
    let connection = Connection::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get::<_, String>(0))?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    connection.set_prepared_statement_cache_capacity(16);
    connection.execute_batch(SCHEMA)?;
    Ok(connection)
}

/// Inserts an event, its key and its deliveries in state sending, each with its own rule and channel. Delivery numbers
/// of event `n` start at `n * fan_out`.
pub fn accept(transaction: &Transaction<'_>, event: u64, fan_out: u64, body: &[u8]) -> rusqlite::Result<()> {
    let event_id = id(event, 0);
    let now = now_ms();
    let run_id = format!("tdb-{event:010}-{now:019}");
    transaction
        .prepare_cached("INSERT INTO keys VALUES (?1, 'flow', 'bench', ?2, 'success', ?3) ON CONFLICT DO NOTHING")?
        .execute(params![WORKSPACE, run_id, event_id])?;
    transaction
        .prepare_cached("INSERT INTO events VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![WORKSPACE, event_id, now, body])?;
    let mut insert = transaction.prepare_cached("INSERT INTO deliveries VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, ?7)")?;
    for number in 0..fan_out {
        insert.execute(params![
            WORKSPACE,
            id(event * fan_out + number, 1),
            event_id,
            id(number, RULE),
            id(number, CHANNEL),
            SENDING,
            now + LEASE_MS
        ])?;
    }
    Ok(())
}

/// Inserts the delivery's attempt and marks it as sent.
pub fn settle(transaction: &Transaction<'_>, delivery: u64) -> anyhow::Result<()> {
    let delivery_id = id(delivery, 1);
    transaction.prepare_cached("INSERT INTO attempts VALUES (?1, ?2, 1, ?3, 1, 200)")?.execute(params![
        WORKSPACE,
        delivery_id,
        now_ms()
    ])?;
    let changed = transaction
        .prepare_cached(
            "UPDATE deliveries SET status = ?3, attempts = 1, due_at = NULL \
             WHERE workspace = ?1 AND id = ?2 AND status = ?4 AND attempts = 0",
        )?
        .execute(params![WORKSPACE, delivery_id, SENT, SENDING])?;
    anyhow::ensure!(changed == 1, "delivery {delivery} does not exist");
    Ok(())
}

fn now_ms() -> i64 {
    i64::try_from(clock::now_nanos() / 1_000_000).unwrap_or(i64::MAX)
}

/// Ordered by time, like the server's ids.
fn id(number: u64, kind: u8) -> [u8; 16] {
    let mut id = [kind; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    id
}

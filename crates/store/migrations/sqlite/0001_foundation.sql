-- Instants are milliseconds since the Unix epoch; ids are the 16 bytes of UUIDv7; words are those of the API.

CREATE TABLE instance (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    key_id TEXT NOT NULL,
    canary BLOB NOT NULL
) STRICT;

CREATE TABLE workspace (
    id BLOB PRIMARY KEY,
    slug TEXT NOT NULL UNIQUE,
    version INTEGER NOT NULL DEFAULT 1,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE api_key (
    workspace_id BLOB NOT NULL REFERENCES workspace (id),
    id BLOB NOT NULL,
    name TEXT NOT NULL,
    hash BLOB NOT NULL UNIQUE,
    read_only INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (workspace_id, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE channel (
    workspace_id BLOB NOT NULL REFERENCES workspace (id),
    id BLOB NOT NULL,
    owner_rule_id BLOB,
    name TEXT NOT NULL,
    channel_type TEXT NOT NULL,
    settings TEXT NOT NULL,
    key_id TEXT NOT NULL,
    sealed BLOB NOT NULL,
    enabled INTEGER NOT NULL,
    disabled_reason TEXT,
    severity_filter TEXT NOT NULL,
    retry_on_failure INTEGER NOT NULL,
    retry_delays_seconds TEXT,
    timeout_ms INTEGER NOT NULL,
    is_connected INTEGER,
    last_tested_at INTEGER,
    last_success_at INTEGER,
    last_failure_at INTEGER,
    revision INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (workspace_id, id)
) STRICT;

CREATE TABLE rule (
    workspace_id BLOB NOT NULL,
    id BLOB NOT NULL,
    resource_type TEXT NOT NULL,
    resource_id TEXT NOT NULL,
    channel_id BLOB NOT NULL,
    triggers TEXT NOT NULL,
    trigger_types TEXT NOT NULL,
    enabled INTEGER NOT NULL,
    paused INTEGER NOT NULL,
    failure_severity TEXT NOT NULL,
    generation INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (workspace_id, id),
    FOREIGN KEY (workspace_id, channel_id) REFERENCES channel (workspace_id, id)
) STRICT;

CREATE INDEX rule_channel ON rule (workspace_id, channel_id);

-- What an event is recognised by when it is told again: narrow, and apart from the event, so that it can be pruned by
-- its own age. The natural key rather than a hash of it: run ids mostly rise, so that a batch of inserts touches few pages,
-- where a hash would touch one for each. The run's id goes first: it tells nearly all rows apart by itself.
CREATE TABLE event_key (
    run_id TEXT NOT NULL,
    resource_id TEXT NOT NULL,
    workspace_id BLOB NOT NULL,
    resource_type TEXT NOT NULL,
    trigger TEXT NOT NULL,
    event_id BLOB NOT NULL,
    PRIMARY KEY (run_id, resource_id, workspace_id, resource_type, trigger)
) STRICT, WITHOUT ROWID;

-- Events and deliveries are kept under the rank of their ids (instant and number, 63 bits): new ones go to the end, and an
-- index holds eight bytes for each.
CREATE TABLE event (
    rank INTEGER PRIMARY KEY,
    id BLOB NOT NULL,
    workspace_id BLOB NOT NULL,
    kind TEXT NOT NULL,
    resource_type TEXT NOT NULL,
    resource_id TEXT NOT NULL,
    run_id TEXT NOT NULL,
    trigger TEXT NOT NULL,
    received_at INTEGER NOT NULL,
    run TEXT NOT NULL,
    not_routed TEXT,
    pending_count INTEGER NOT NULL,
    held_count INTEGER NOT NULL,
    suppressed_count INTEGER NOT NULL
) STRICT;

CREATE INDEX event_workspace ON event (workspace_id);
CREATE INDEX event_resource ON event (workspace_id, resource_id);

-- The queue and the log in one row: `due_at` is set while there is something to do (for a leased row it is the end of
-- the lease), so that the partial index holds just the work that waits.
CREATE TABLE delivery (
    rank INTEGER PRIMARY KEY,
    id BLOB NOT NULL,
    workspace_id BLOB NOT NULL,
    event_rank INTEGER NOT NULL,
    rule_id BLOB,
    rule_generation INTEGER NOT NULL,
    channel_id BLOB NOT NULL,
    channel_type TEXT NOT NULL,
    severity TEXT NOT NULL,
    status TEXT NOT NULL,
    suppressed_reason TEXT,
    walks TEXT NOT NULL,
    due_at INTEGER,
    lease_owner INTEGER,
    attempt_count INTEGER NOT NULL DEFAULT 0,
    attempt_base INTEGER NOT NULL DEFAULT 0,
    attempt_trigger TEXT NOT NULL DEFAULT 'scheduled',
    carry TEXT,
    attempts TEXT NOT NULL DEFAULT '',
    http_status INTEGER,
    last_error TEXT,
    sent_at INTEGER,
    completed_at INTEGER
) STRICT;

CREATE INDEX delivery_event ON delivery (event_rank);
CREATE INDEX delivery_due ON delivery (channel_id, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX delivery_failed ON delivery (workspace_id, channel_id, completed_at) WHERE status = 'failed';

-- The whole schema. Until the first release this file is edited in place, and a data directory of an older build is
-- refused (see `sqlite/migrate.rs`); from then on each change is a file of its own.
--
-- Instants are milliseconds since the Unix epoch, ids the 16 bytes of a UUIDv7, enumerations the words of the API, and
-- columns that hold lists or objects are JSON. `sort_key` is the 63 bits of an id that order it: its millisecond, then a
-- 21-bit number (docs/adr/0003).

CREATE TABLE instance (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    key_id TEXT NOT NULL,
    canary BLOB NOT NULL
) STRICT;

-- The rows of a deleted workspace are deleted later, in small batches; its slug is its id, so that the former one is free.
CREATE TABLE workspace (
    id BLOB PRIMARY KEY,
    slug TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    locale TEXT NOT NULL,
    plan TEXT NOT NULL,
    version INTEGER NOT NULL DEFAULT 1,
    created_at INTEGER NOT NULL,
    suspended_at INTEGER,
    deleted_at INTEGER,
    revision INTEGER NOT NULL,
    preferences TEXT NOT NULL DEFAULT '{}'
) STRICT, WITHOUT ROWID;

CREATE INDEX workspace_deleted ON workspace (deleted_at) WHERE deleted_at IS NOT NULL;

CREATE TABLE api_key (
    workspace_id BLOB NOT NULL REFERENCES workspace (id),
    id BLOB NOT NULL,
    name TEXT NOT NULL,
    hash BLOB NOT NULL UNIQUE,
    read_only INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    last_used_at INTEGER,
    last_used_address TEXT,
    PRIMARY KEY (workspace_id, id)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX api_key_id ON api_key (id);

-- `email_key` is the email in lower case. `password_changed_at` identifies the password, so each change of it is another.
CREATE TABLE user (
    id BLOB PRIMARY KEY,
    email TEXT NOT NULL,
    email_key TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    is_operator INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    password_changed_at INTEGER NOT NULL,
    revision INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE membership (
    workspace_id BLOB NOT NULL REFERENCES workspace (id),
    user_id BLOB NOT NULL REFERENCES user (id),
    role TEXT NOT NULL,
    joined_at INTEGER NOT NULL,
    PRIMARY KEY (workspace_id, user_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX membership_user ON membership (user_id, workspace_id);

-- Keyed by the SHA-256 of the cookie's secret, by which each request finds it.
CREATE TABLE session (
    hash BLOB PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    user_id BLOB NOT NULL REFERENCES user (id),
    created_at INTEGER NOT NULL,
    last_seen_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    address TEXT,
    user_agent TEXT
) STRICT, WITHOUT ROWID;

CREATE INDEX session_user ON session (user_id, id);
CREATE INDEX session_expiry ON session (expires_at);

CREATE TABLE invitation (
    workspace_id BLOB NOT NULL REFERENCES workspace (id),
    id BLOB NOT NULL,
    hash BLOB NOT NULL UNIQUE,
    email TEXT NOT NULL,
    email_key TEXT NOT NULL,
    role TEXT NOT NULL,
    invited_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    accepted_at INTEGER,
    PRIMARY KEY (workspace_id, id)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX invitation_open ON invitation (workspace_id, email_key) WHERE accepted_at IS NULL;
CREATE INDEX invitation_expiry ON invitation (expires_at);

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
    policies TEXT NOT NULL,
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
    enabled INTEGER NOT NULL,
    paused INTEGER NOT NULL,
    settings TEXT NOT NULL,
    generation INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (workspace_id, id),
    FOREIGN KEY (workspace_id, channel_id) REFERENCES channel (workspace_id, id)
) STRICT;

CREATE INDEX rule_channel ON rule (workspace_id, channel_id);

CREATE TABLE mute (
    workspace_id BLOB NOT NULL REFERENCES workspace (id),
    id BLOB NOT NULL,
    scope TEXT NOT NULL,
    target_id BLOB,
    expires_at INTEGER,
    reason TEXT NOT NULL,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    ends_on_recovery INTEGER NOT NULL,
    -- Set when it is ended before it expires, and by pruning a while after it expired: then it is no more configuration.
    ended_at INTEGER,
    -- Deliveries that it suppressed.
    stopped_count INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (workspace_id, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX mute_end ON mute (workspace_id, ended_at);
CREATE INDEX mute_expiry ON mute (expires_at) WHERE ended_at IS NULL AND expires_at IS NOT NULL;
CREATE INDEX mute_ended ON mute (ended_at) WHERE ended_at IS NOT NULL;

CREATE TABLE inbound_webhook (
    workspace_id BLOB NOT NULL REFERENCES workspace (id),
    id BLOB NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    hash BLOB NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (workspace_id, id)
) STRICT, WITHOUT ROWID;

-- The idempotency keys of events: narrow, and apart from the events, so that they are pruned by an age of their own. The
-- natural key instead of a hash of it: run ids mostly rise, so that a batch of inserts touches few pages, where hashes
-- touch one page each. `run_id` comes first because it alone distinguishes nearly all rows.
CREATE TABLE idempotency_key (
    run_id TEXT NOT NULL,
    resource_id TEXT NOT NULL,
    workspace_id BLOB NOT NULL,
    resource_type TEXT NOT NULL,
    trigger TEXT NOT NULL,
    event_id BLOB NOT NULL,
    PRIMARY KEY (run_id, resource_id, workspace_id, resource_type, trigger)
) STRICT, WITHOUT ROWID;

-- Keyed by sort key: new rows are appended, and an index entry holds eight bytes instead of two blobs.
-- `fingerprint` is a hash of what the caller sent: another one on a repeated report is another body.
CREATE TABLE event (
    sort_key INTEGER PRIMARY KEY,
    id BLOB NOT NULL,
    workspace_id BLOB NOT NULL,
    kind TEXT NOT NULL,
    resource_type TEXT NOT NULL,
    resource_id TEXT NOT NULL,
    run_id TEXT NOT NULL,
    trigger TEXT NOT NULL,
    received_at INTEGER NOT NULL,
    content TEXT NOT NULL,
    not_routed TEXT,
    pending_count INTEGER NOT NULL,
    held_count INTEGER NOT NULL,
    suppressed_count INTEGER NOT NULL,
    fingerprint INTEGER
) STRICT;

CREATE INDEX event_workspace ON event (workspace_id);
CREATE INDEX event_resource ON event (workspace_id, resource_id);

-- Queue and log in one row. `due_at` is set while there is work to do (of a leased row it is the end of the lease), so
-- that the partial index `delivery_due` holds the queue and nothing else. `held_until` is set while a gate holds the
-- delivery and no digest carries it.
CREATE TABLE delivery (
    sort_key INTEGER PRIMARY KEY,
    id BLOB NOT NULL,
    workspace_id BLOB NOT NULL,
    event_sort_key INTEGER NOT NULL,
    rule_id BLOB,
    rule_generation INTEGER NOT NULL,
    channel_id BLOB NOT NULL,
    channel_type TEXT NOT NULL,
    severity TEXT NOT NULL,
    status TEXT NOT NULL,
    reason TEXT,
    gate_evaluations TEXT NOT NULL,
    due_at INTEGER,
    lease_owner INTEGER,
    attempt_count INTEGER NOT NULL DEFAULT 0,
    attempt_base INTEGER NOT NULL DEFAULT 0,
    attempt_trigger TEXT NOT NULL DEFAULT 'scheduled',
    attempt_state TEXT,
    attempts TEXT NOT NULL DEFAULT '',
    http_status INTEGER,
    last_error TEXT,
    sent_at INTEGER,
    completed_at INTEGER,
    held_until INTEGER,
    blocked_by_id BLOB,
    sequence INTEGER NOT NULL DEFAULT 1,
    replaces_id BLOB,
    digest_sort_key INTEGER,
    digest_id BLOB,
    -- What is sent instead of the event's content: a deferred notification has the facts of its own time.
    content TEXT
) STRICT;

CREATE INDEX delivery_event ON delivery (event_sort_key);
-- With the lease's owner, so that pending and leased deliveries are counted without reading the rows.
CREATE INDEX delivery_due ON delivery (channel_id, due_at, lease_owner) WHERE due_at IS NOT NULL;
CREATE INDEX delivery_failed ON delivery (workspace_id, channel_id, completed_at) WHERE status = 'failed';
-- With the reason, so that a rate limit finds the deliveries that it holds among all held ones of the channel.
CREATE INDEX delivery_held ON delivery (channel_id, held_until, reason) WHERE held_until IS NOT NULL;
-- The few deferred deliveries, in the order of their own time; all others are listed in the order of their events.
CREATE INDEX delivery_deferred ON delivery (workspace_id) WHERE sequence > 1;
CREATE INDEX delivery_digest ON delivery (digest_sort_key) WHERE digest_sort_key IS NOT NULL;

-- The deliveries in progress of one subject (an endpoint or alert) through one channel, in the order of their attempts;
-- those behind the first have no `due_at`. `retry_at` is when the retry is due that an expedited attempt precedes.
CREATE TABLE chain (
    channel_id BLOB NOT NULL,
    subject TEXT NOT NULL,
    position INTEGER NOT NULL,
    delivery_sort_key INTEGER NOT NULL,
    delivery_id BLOB NOT NULL,
    -- It was held before, so that later deliveries may be ahead of it.
    is_released INTEGER NOT NULL,
    not_before INTEGER,
    retry_at INTEGER,
    expedited_at INTEGER,
    expedited_count INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (channel_id, subject, position)
) STRICT, WITHOUT ROWID;

CREATE INDEX chain_delivery ON chain (delivery_sort_key);

-- When a retry of the channel was last expedited.
CREATE TABLE expedited (
    channel_id BLOB PRIMARY KEY,
    at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- How recent attempts through a shared channel went, written some seconds after them. `outcomes` are the bits of the last
-- `outcome_count` results, 1 for success, the newest in the lowest bit (little-endian).
CREATE TABLE channel_health (
    workspace_id BLOB NOT NULL,
    channel_id BLOB NOT NULL,
    last_sent_at INTEGER,
    last_failed_at INTEGER,
    failing_since INTEGER,
    outcomes BLOB NOT NULL,
    outcome_count INTEGER NOT NULL,
    PRIMARY KEY (workspace_id, channel_id)
) STRICT, WITHOUT ROWID;

-- The instants of the first attempts that a channel's rate limit admitted within its window.
CREATE TABLE rate_window (
    channel_id BLOB PRIMARY KEY,
    instants TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- `number` represents the endpoint in the tables of its checks, where 16 bytes a row would be most of the row.
-- `version` is the version of the workspace's configuration that wrote the row, so that a cache reads what changed only.
-- `next_hour` is the first hour, counted from the Unix epoch, whose checks are not summarised yet.
CREATE TABLE endpoint (
    number INTEGER PRIMARY KEY,
    workspace_id BLOB NOT NULL REFERENCES workspace (id),
    id BLOB NOT NULL UNIQUE,
    version INTEGER NOT NULL,
    name TEXT NOT NULL,
    enabled INTEGER NOT NULL,
    definition TEXT NOT NULL,
    key_id TEXT NOT NULL,
    sealed BLOB NOT NULL,
    revision INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    next_hour INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE INDEX endpoint_version ON endpoint (workspace_id, version);
CREATE INDEX endpoint_next_hour ON endpoint (next_hour);

-- Written with every check, therefore narrow and apart from what people edit.
CREATE TABLE endpoint_state (
    endpoint INTEGER PRIMARY KEY REFERENCES endpoint (number) ON DELETE CASCADE,
    streak TEXT NOT NULL,
    flap_history TEXT NOT NULL,
    last_check TEXT,
    incident_id BLOB,
    openings TEXT NOT NULL,
    revision INTEGER NOT NULL
) STRICT;

-- `detail` holds only what a healthy check does not have.
CREATE TABLE endpoint_check (
    endpoint INTEGER NOT NULL REFERENCES endpoint (number) ON DELETE CASCADE,
    sort_key INTEGER NOT NULL,
    id BLOB NOT NULL,
    checked_at INTEGER NOT NULL,
    status TEXT NOT NULL,
    total_ms INTEGER NOT NULL,
    detail TEXT NOT NULL,
    PRIMARY KEY (endpoint, sort_key)
) STRICT, WITHOUT ROWID;

-- Summaries of checks; hours and days (UTC) are counted from the Unix epoch.
CREATE TABLE endpoint_hour (
    endpoint INTEGER NOT NULL REFERENCES endpoint (number) ON DELETE CASCADE,
    hour INTEGER NOT NULL,
    summary TEXT NOT NULL,
    PRIMARY KEY (endpoint, hour)
) STRICT, WITHOUT ROWID;

CREATE TABLE endpoint_day (
    endpoint INTEGER NOT NULL REFERENCES endpoint (number) ON DELETE CASCADE,
    day INTEGER NOT NULL,
    -- Counts of `summary`, so that months of many endpoints are read without parsing it.
    healthy INTEGER NOT NULL AS (iif(json_valid(summary), coalesce(summary ->> '$.healthy', 0), 0)) STORED,
    degraded INTEGER NOT NULL AS (iif(json_valid(summary), coalesce(summary ->> '$.degraded', 0), 0)) STORED,
    down INTEGER NOT NULL AS (iif(json_valid(summary), coalesce(summary ->> '$.down', 0), 0)) STORED,
    inconclusive INTEGER NOT NULL AS (iif(json_valid(summary), coalesce(summary ->> '$.inconclusive', 0), 0)) STORED,
    summary TEXT NOT NULL,
    PRIMARY KEY (endpoint, day)
) STRICT, WITHOUT ROWID;

CREATE TABLE incident (
    sort_key INTEGER PRIMARY KEY,
    id BLOB NOT NULL,
    workspace_id BLOB NOT NULL REFERENCES workspace (id),
    resource_type TEXT NOT NULL,
    resource_id TEXT NOT NULL,
    cause TEXT NOT NULL,
    cause_detail TEXT,
    severity TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    failing_since INTEGER NOT NULL,
    resolved_at INTEGER,
    acknowledged_at INTEGER,
    acknowledged_by TEXT,
    notifications_sent INTEGER NOT NULL DEFAULT 0,
    subject_info TEXT NOT NULL,
    escalations_done TEXT NOT NULL,
    reminders TEXT NOT NULL,
    wake_at INTEGER,
    revision INTEGER NOT NULL,
    -- `{"ch_…": "rule" | "step"}`, written when a delivery is sent and kept when it is pruned.
    notified_channels TEXT NOT NULL DEFAULT '{}',
    -- Of an alert: the earliest start of its episode by the clock of its source.
    episode_started_at INTEGER
) STRICT;

CREATE INDEX incident_workspace ON incident (workspace_id);
CREATE INDEX incident_open ON incident (workspace_id) WHERE resolved_at IS NULL;
CREATE UNIQUE INDEX incident_active ON incident (workspace_id, resource_type, resource_id) WHERE resolved_at IS NULL;
CREATE INDEX incident_resource ON incident (workspace_id, resource_id);
-- Resolved, and a channel that was notified of it is still to be notified of the end.
CREATE INDEX incident_unfinished ON incident (workspace_id) WHERE resolved_at IS NOT NULL AND wake_at IS NOT NULL;

-- The latest known end of each alert's episodes, by the clock of its source: what began before is no news.
CREATE TABLE alert_episode (
    workspace_id BLOB NOT NULL,
    resource_id TEXT NOT NULL,
    ended_at INTEGER NOT NULL,
    PRIMARY KEY (workspace_id, resource_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX alert_episode_age ON alert_episode (ended_at);

CREATE TABLE incident_timeline (
    incident INTEGER NOT NULL REFERENCES incident (sort_key) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    entry TEXT NOT NULL,
    PRIMARY KEY (incident, number)
) STRICT, WITHOUT ROWID;

-- The audit log. `workspace_id` is all zeros for acts on the instance. Ids begin with their millisecond, and every index
-- ends with the id: pages of any filter are ranges.
CREATE TABLE audit_entry (
    workspace_id BLOB NOT NULL,
    id BLOB NOT NULL,
    at INTEGER NOT NULL,
    actor_kind TEXT NOT NULL,
    actor_id TEXT,
    actor_name TEXT NOT NULL,
    action TEXT NOT NULL,
    target_kind TEXT NOT NULL,
    target_id TEXT,
    target_name TEXT,
    changes TEXT NOT NULL,
    address TEXT,
    request_id TEXT,
    PRIMARY KEY (workspace_id, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX audit_entry_actor ON audit_entry (workspace_id, actor_id, id);
CREATE INDEX audit_entry_action ON audit_entry (workspace_id, action, id);
CREATE INDEX audit_entry_target_kind ON audit_entry (workspace_id, target_kind, id);
CREATE INDEX audit_entry_target ON audit_entry (workspace_id, target_id, id);
CREATE INDEX audit_entry_age ON audit_entry (at);

-- What runs, checks and alerts are about. Those of runs and alerts are folded from events, behind the event pipeline;
-- those of endpoints exist as long as the endpoint. `title` is the shown name without case, `name`, `link` and `tags` are
-- what a person gave it. `recent` are its last runs: see `sqlite/insights/recent.rs`. `last_at` of an endpoint is that of
-- its state, so that it is 0 here. No references to workspaces: what is folded may be of one that was deleted meanwhile.
CREATE TABLE resource (
    workspace_id BLOB NOT NULL,
    resource_type TEXT NOT NULL,
    resource_id TEXT NOT NULL,
    endpoint INTEGER,
    title TEXT NOT NULL,
    name TEXT,
    reported_name TEXT,
    link TEXT,
    tags TEXT NOT NULL DEFAULT '[]',
    revision INTEGER NOT NULL DEFAULT 1,
    first_seen_at INTEGER NOT NULL,
    last_seen_at INTEGER NOT NULL,
    last_event INTEGER NOT NULL DEFAULT 0,
    last_at INTEGER NOT NULL DEFAULT 0,
    last_status TEXT,
    last_duration_ms INTEGER,
    recent BLOB NOT NULL DEFAULT x'',
    PRIMARY KEY (workspace_id, resource_type, resource_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX resource_title ON resource (workspace_id, title, resource_type, resource_id);
CREATE INDEX resource_last ON resource (workspace_id, last_at, resource_type, resource_id);

-- How far events are folded into resources, as a sort key: all that were committed before with a lower one.
CREATE TABLE fold_progress (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    sort_key INTEGER NOT NULL
) STRICT;

-- Resources whose payloads are erased: those of events before `until`. `done` is the sort key up to which a pass has
-- come, `is_incomplete` that it left out what was not settled. Kept as long as events, whose fold it prevents.
CREATE TABLE erasure (
    workspace_id BLOB NOT NULL,
    resource_type TEXT NOT NULL,
    resource_id TEXT NOT NULL,
    requested_at INTEGER NOT NULL,
    until INTEGER NOT NULL,
    done INTEGER NOT NULL DEFAULT -1,
    is_incomplete INTEGER NOT NULL DEFAULT 0,
    next_at INTEGER,
    finished_at INTEGER,
    PRIMARY KEY (workspace_id, resource_type, resource_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX erasure_until ON erasure (until);
CREATE INDEX erasure_next ON erasure (next_at) WHERE next_at IS NOT NULL;

-- Settled deliveries and reported runs by minute, counted from the Unix epoch.
CREATE TABLE activity_minute (
    workspace_id BLOB NOT NULL,
    minute INTEGER NOT NULL,
    sent INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    suppressed INTEGER NOT NULL,
    skipped INTEGER NOT NULL,
    runs_succeeded INTEGER NOT NULL,
    runs_failed INTEGER NOT NULL,
    PRIMARY KEY (workspace_id, minute)
) STRICT, WITHOUT ROWID;

-- The history index (sqlite/index): columns of the events of a workspace and of their deliveries, and the texts of the
-- latter, by ranges of sort keys that follow one another; of a stale block only the range counts. Lists read from left to
-- right and only as far as needed: first the values, to pass over a block that has none of those wanted.
CREATE TABLE history_block (
    workspace_id BLOB NOT NULL,
    last INTEGER NOT NULL,
    first INTEGER NOT NULL,
    revision INTEGER NOT NULL DEFAULT 0,
    is_stale INTEGER NOT NULL,
    -- Events or deliveries, whichever are more: the last block of a workspace grows until it is full.
    row_count INTEGER NOT NULL DEFAULT 0,
    -- Deliveries that were not settled yet, and when to build the block again because they may be by now.
    open_count INTEGER NOT NULL DEFAULT 0,
    rebuild_at INTEGER NOT NULL DEFAULT 0,
    event_values BLOB NOT NULL DEFAULT x'',
    delivery_values BLOB NOT NULL DEFAULT x'',
    delivery_codes BLOB NOT NULL DEFAULT x'',
    event_codes BLOB NOT NULL DEFAULT x'',
    event_keys BLOB NOT NULL DEFAULT x'',
    delivery_keys BLOB NOT NULL DEFAULT x'',
    texts BLOB NOT NULL DEFAULT x'',
    PRIMARY KEY (workspace_id, last)
) STRICT;

CREATE INDEX history_block_stale ON history_block (is_stale) WHERE is_stale = 1;
CREATE INDEX history_block_open ON history_block (rebuild_at) WHERE open_count > 0;

-- Endpoints, their checks and incidents; mutes; what is held back and what carries it.

ALTER TABLE workspace ADD COLUMN preferences TEXT NOT NULL DEFAULT '{}';

ALTER TABLE channel ADD COLUMN event_filters TEXT NOT NULL DEFAULT '{}';
ALTER TABLE channel ADD COLUMN delivery_priority TEXT NOT NULL DEFAULT 'standard';
ALTER TABLE channel ADD COLUMN quiet_hours TEXT;
ALTER TABLE channel ADD COLUMN rate_limit TEXT;

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
    PRIMARY KEY (workspace_id, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX mute_expiry ON mute (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE inbound_door (
    workspace_id BLOB NOT NULL REFERENCES workspace (id),
    id BLOB NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    hash BLOB NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (workspace_id, id)
) STRICT, WITHOUT ROWID;

-- `number` stands for the endpoint in the tables of its checks, where sixteen bytes for each row would be most of it.
-- `version` is that of the workspace's configuration with which the row was written, so that what changed can be asked for.
-- `next_hour` is the first hour, since the Unix epoch, whose checks are not summarised yet.
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

-- Written with every check, so apart from what is edited, and narrow.
CREATE TABLE endpoint_state (
    endpoint INTEGER PRIMARY KEY REFERENCES endpoint (number) ON DELETE CASCADE,
    streak TEXT NOT NULL,
    changes TEXT NOT NULL,
    last_check TEXT,
    incident_id BLOB,
    openings TEXT NOT NULL,
    revision INTEGER NOT NULL
) STRICT;

-- Under the rank of their ids, like events; `detail` is what is not there for every healthy check.
CREATE TABLE endpoint_check (
    endpoint INTEGER NOT NULL REFERENCES endpoint (number) ON DELETE CASCADE,
    rank INTEGER NOT NULL,
    id BLOB NOT NULL,
    checked_at INTEGER NOT NULL,
    status TEXT NOT NULL,
    total_ms INTEGER NOT NULL,
    detail TEXT NOT NULL,
    PRIMARY KEY (endpoint, rank)
) STRICT, WITHOUT ROWID;

-- What checks came to, by hours and days (in UTC) since the Unix epoch.
CREATE TABLE endpoint_hour (
    endpoint INTEGER NOT NULL REFERENCES endpoint (number) ON DELETE CASCADE,
    hour INTEGER NOT NULL,
    summary TEXT NOT NULL,
    PRIMARY KEY (endpoint, hour)
) STRICT, WITHOUT ROWID;

CREATE TABLE endpoint_day (
    endpoint INTEGER NOT NULL REFERENCES endpoint (number) ON DELETE CASCADE,
    day INTEGER NOT NULL,
    summary TEXT NOT NULL,
    PRIMARY KEY (endpoint, day)
) STRICT, WITHOUT ROWID;

CREATE TABLE incident (
    rank INTEGER PRIMARY KEY,
    id BLOB NOT NULL,
    workspace_id BLOB NOT NULL REFERENCES workspace (id),
    resource_type TEXT NOT NULL,
    resource_id TEXT NOT NULL,
    cause TEXT NOT NULL,
    cause_detail TEXT,
    opening_severity TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    failing_since INTEGER NOT NULL,
    resolved_at INTEGER,
    acknowledged_at INTEGER,
    acknowledged_by TEXT,
    notifications_sent INTEGER NOT NULL DEFAULT 0,
    about TEXT NOT NULL,
    escalations_done TEXT NOT NULL,
    reminders TEXT NOT NULL,
    wake_at INTEGER,
    revision INTEGER NOT NULL
) STRICT;

CREATE INDEX incident_workspace ON incident (workspace_id);
CREATE INDEX incident_open ON incident (workspace_id) WHERE resolved_at IS NULL;
CREATE UNIQUE INDEX incident_active ON incident (workspace_id, resource_type, resource_id) WHERE resolved_at IS NULL;
CREATE INDEX incident_resource ON incident (workspace_id, resource_id);

CREATE TABLE incident_timeline (
    incident INTEGER NOT NULL REFERENCES incident (rank) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    entry TEXT NOT NULL,
    PRIMARY KEY (incident, number)
) STRICT, WITHOUT ROWID;

-- What an event is recognised by may be told to a rule more than once: an opening is said late.
ALTER TABLE event RENAME COLUMN run TO content;
ALTER TABLE delivery RENAME COLUMN suppressed_reason TO reason;
ALTER TABLE delivery ADD COLUMN held_until INTEGER;
ALTER TABLE delivery ADD COLUMN after_rank INTEGER;
ALTER TABLE delivery ADD COLUMN after_id BLOB;
ALTER TABLE delivery ADD COLUMN occasion INTEGER NOT NULL DEFAULT 1;
ALTER TABLE delivery ADD COLUMN late_of BLOB;
ALTER TABLE delivery ADD COLUMN digest_rank INTEGER;
ALTER TABLE delivery ADD COLUMN digest_id BLOB;

-- What waits: held and not carried. With the reason, so that a rate limit finds what it holds among all that is held.
CREATE INDEX delivery_held ON delivery (channel_id, held_until, reason) WHERE held_until IS NOT NULL;
CREATE INDEX delivery_after ON delivery (after_rank) WHERE after_rank IS NOT NULL;
CREATE INDEX delivery_digest ON delivery (digest_rank) WHERE digest_rank IS NOT NULL;

-- First attempts that a channel's rate limit admitted, as far back as they count.
CREATE TABLE admission (
    channel_id BLOB PRIMARY KEY,
    instants TEXT NOT NULL
) STRICT, WITHOUT ROWID;

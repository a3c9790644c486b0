//! Rows of configuration: workspaces, API keys, rules, channels and endpoints with their sealed secrets, mutes,
//! preferences, inbound webhooks.

use serde::{Deserialize, Serialize};
use tidings_domain::access::Actor;
use tidings_domain::audit::AuditEntry;
use tidings_domain::channel::{Channel, EventFilters};
use tidings_domain::endpoint::Endpoint;
use tidings_domain::id::{ApiKeyId, ChannelId, EndpointId, InboundWebhookId, MuteId, RuleId, WorkspaceId};
use tidings_domain::mute::Mute;
use tidings_domain::rule::Rule;
use tidings_domain::severity::SeverityFilter;
use tidings_domain::time::Timestamp;
use tidings_domain::workspace::Workspace;

/// The version of a workspace's configuration; every change increments it.
pub type Version = i64;

/// A workspace with its preferences and API keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkspaceRecord {
    pub workspace: Workspace,
    pub preferences: Preferences,
    pub api_keys: Vec<ApiKey>,
}

/// An API key, of which only the hash is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    pub id: ApiKeyId,
    pub workspace_id: WorkspaceId,
    pub name: String,
    /// SHA-256 of the key's text. Unique among all workspaces.
    pub hash: [u8; 32],
    pub read_only: bool,
    pub created_by: Actor,
    pub created_at: Timestamp,
    /// Exclusive; `None` if it is valid until it is deleted.
    pub expires_at: Option<Timestamp>,
}

/// The fingerprint of the key that seals secrets: it verifies the key without containing it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceKey {
    /// The id of the sealing key, which is stored beside every sealed secret.
    pub key_id: String,
    /// A known text sealed with the key.
    pub canary: Vec<u8>,
}

/// A channel with its sealed secrets.
#[derive(Debug, Clone, PartialEq)]
pub struct ChannelRecord {
    pub channel: Channel,
    /// The id of the key that sealed the secrets.
    pub key_id: String,
    /// The secrets, sealed and bound to this channel.
    pub sealed: Vec<u8>,
}

/// An endpoint with its sealed secrets.
#[derive(Debug, Clone, PartialEq)]
pub struct EndpointRecord {
    pub endpoint: Endpoint,
    /// The id of the key that sealed the secret.
    pub key_id: String,
    /// The secrets of the definition, sealed and bound to this endpoint; empty if it has none. The definition itself is
    /// stored and read back with masks in their place.
    pub sealed: Vec<u8>,
}

/// Defaults of a workspace.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Preferences {
    /// The IANA time zone in which messages format times. UTC if it is empty or unknown.
    pub timezone: String,
    /// The severity filter of new channels.
    pub default_severity_filter: SeverityFilter,
    /// The event filters of new channels.
    pub default_event_filters: EventFilters,
}

/// A secret URL to which another system posts its alerts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboundWebhook {
    pub id: InboundWebhookId,
    pub workspace_id: WorkspaceId,
    /// The payload format that it accepts, such as `alertmanager`.
    pub kind: String,
    pub name: String,
    /// SHA-256 of the secret part of its URL. Unique among all workspaces.
    pub hash: [u8; 32],
    pub created_at: Timestamp,
}

/// The configuration of a workspace at one instant. All lists are oldest first.
#[derive(Debug, Clone)]
pub struct Configuration {
    pub workspace: Workspace,
    pub version: Version,
    pub preferences: Preferences,
    /// Those that were not ended, by hand or by a recovery. Includes expired mutes until they are pruned.
    pub mutes: Vec<Mute>,
    pub inbound_webhooks: Vec<InboundWebhook>,
    /// The endpoints written after the version that was asked for.
    pub endpoints: Vec<EndpointRecord>,
    /// The number of all endpoints. If the caller now knows more of them than this, some were deleted.
    pub endpoint_count: u32,
    pub rules: Vec<Rule>,
    pub channels: Vec<ChannelRecord>,
}

/// What a write expects to find (optimistic concurrency).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precondition {
    /// No row: it is created.
    Absent,
    /// The row at this revision: it is updated.
    Revision(u32),
}

/// One change of configuration.
#[derive(Debug, Clone)]
pub enum ConfigChange {
    /// Creates or updates a rule.
    PutRule(Rule, Precondition),
    /// Deletes a rule.
    DeleteRule(RuleId),
    /// Creates or updates a channel. An update leaves its connectivity unchanged, which only tests write.
    PutChannel(ChannelRecord, Precondition),
    /// Deletes a channel with its mutes; [`crate::StoreError::InUse`] while a rule uses it.
    DeleteChannel(ChannelId),
    /// Creates or updates an endpoint. Its state is left unchanged.
    PutEndpoint(EndpointRecord, Precondition),
    /// Deletes an endpoint with its state, checks, summaries and mutes, and resolves its active incident as of this
    /// instant. Incidents, events and deliveries stay in the history. [`crate::StoreError::InUse`] while a rule selects
    /// it by id: such rules must be deleted by an earlier change of the same call.
    DeleteEndpoint(EndpointId, Timestamp),
    /// Creates a mute; [`crate::StoreError::NotFound`] if its target does not exist.
    PutMute(Mute),
    /// Ends a mute at this instant. It stays listed among those that ended.
    EndMute(MuteId, Timestamp),
    /// Creates an inbound webhook; [`crate::StoreError::Exists`] if one of any workspace has its secret.
    PutInboundWebhook(InboundWebhook),
    /// Deletes an inbound webhook.
    DeleteInboundWebhook(InboundWebhookId),
    /// Replaces the workspace's preferences.
    SetPreferences(Preferences),
    /// Updates the workspace itself, which is at this revision; [`crate::StoreError::Exists`] if its slug is taken.
    PutWorkspace(Workspace, u32),
    /// Writes an entry of the audit log about the other changes; [`crate::StoreError::Defect`] if it is one of another
    /// workspace.
    Audit(AuditEntry),
}

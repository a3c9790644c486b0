//! Rows of configuration: workspaces, API keys, rules, channels and endpoints with their sealed secrets, mutes,
//! preferences, inbound doors.

use serde::{Deserialize, Serialize};
use tidings_domain::channel::{Channel, EventFilters};
use tidings_domain::endpoint::Endpoint;
use tidings_domain::id::{ApiKeyId, ChannelId, EndpointId, InboundWebhookId, MuteId, RuleId, WorkspaceId};
use tidings_domain::mute::Mute;
use tidings_domain::rule::Rule;
use tidings_domain::severity::SeverityFilter;
use tidings_domain::time::Timestamp;
use tidings_domain::workspace::Workspace;

/// Rises with every change of a workspace's configuration.
pub type Version = i64;

/// A workspace with its API keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkspaceRecord {
    /// The workspace.
    pub workspace: Workspace,
    /// Its keys.
    pub api_keys: Vec<ApiKey>,
}

/// An API key; only its SHA-256 is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Its id.
    pub id: ApiKeyId,
    /// The workspace it opens.
    pub workspace_id: WorkspaceId,
    /// Its name, for people.
    pub name: String,
    /// SHA-256 of the key's text.
    pub hash: [u8; 32],
    /// Whether it may only read.
    pub read_only: bool,
    /// When it was made.
    pub created_at: Timestamp,
}

/// What recognises the key that seals secrets, without being it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceKey {
    /// The id of the sealing key, stored beside every sealed secret.
    pub key_id: String,
    /// A known text sealed with the key.
    pub canary: Vec<u8>,
}

/// A channel with its secrets, sealed.
#[derive(Debug, Clone, PartialEq)]
pub struct ChannelRecord {
    /// The channel.
    pub channel: Channel,
    /// The id of the key that sealed the secrets.
    pub key_id: String,
    /// The secrets, sealed and bound to this channel.
    pub sealed: Vec<u8>,
}

/// An endpoint with its secret, sealed.
#[derive(Debug, Clone, PartialEq)]
pub struct EndpointRecord {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// The id of the key that sealed the secret.
    pub key_id: String,
    /// The password or token of its `auth`, sealed and bound to this endpoint; empty if it has none.
    pub sealed: Vec<u8>,
}

/// What a workspace prefers where nothing else is said.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Preferences {
    /// The zone in which messages say times; an IANA name. UTC if it is none.
    pub timezone: String,
    /// The severity filter of new channels.
    pub default_severity_filter: SeverityFilter,
    /// The event filters of new channels.
    pub default_event_filters: EventFilters,
}

/// A secret URL at which somebody else tells of facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboundWebhook {
    /// Its id.
    pub id: InboundWebhookId,
    /// The workspace that it opens into.
    pub workspace_id: WorkspaceId,
    /// Whose form it reads, such as `alertmanager`.
    pub kind: String,
    /// Its name, for people.
    pub name: String,
    /// SHA-256 of the secret part of its URL.
    pub hash: [u8; 32],
    /// When it was made.
    pub created_at: Timestamp,
}

/// All that is configured in a workspace, as of one instant.
#[derive(Debug, Clone, Default)]
pub struct Configuration {
    /// The version they are of.
    pub version: Version,
    /// What the workspace prefers.
    pub preferences: Preferences,
    /// Its mutes, oldest first, those that are over included until they are deleted.
    pub mutes: Vec<Mute>,
    /// Its inbound doors, oldest first.
    pub inbound_webhooks: Vec<InboundWebhook>,
    /// Those of its endpoints that were written after the version that was asked for, oldest first.
    pub endpoints: Vec<EndpointRecord>,
    /// How many endpoints it has in all: if fewer are known then, some were deleted.
    pub endpoint_count: u32,
    /// The rules, oldest first.
    pub rules: Vec<Rule>,
    /// The channels, oldest first.
    pub channels: Vec<ChannelRecord>,
}

/// What a write expects to find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precondition {
    /// Nothing: it is made.
    Absent,
    /// It, at this revision: it is edited.
    Revision(u32),
}

/// One write of configuration.
#[derive(Debug, Clone)]
pub enum ConfigChange {
    /// Makes or edits a rule.
    PutRule(Rule, Precondition),
    /// Deletes a rule.
    DeleteRule(RuleId),
    /// Makes or edits a channel. Its connectivity is left as it is.
    PutChannel(ChannelRecord, Precondition),
    /// Deletes a channel, and the mutes of it; [`crate::StoreError::InUse`] while a rule uses it.
    DeleteChannel(ChannelId),
    /// Makes or edits an endpoint. Its state is left as it is.
    PutEndpoint(EndpointRecord, Precondition),
    /// Deletes an endpoint with its state, checks, summaries and mutes. Its incidents, events and deliveries stay in the
    /// log; an active incident is resolved. [`crate::StoreError::InUse`] while a rule is about it: those have to be
    /// deleted in the same change, before it.
    DeleteEndpoint(EndpointId, Timestamp),
    /// Makes a mute; [`crate::StoreError::NotFound`] if what it is about is not there.
    PutMute(Mute),
    /// Deletes a mute.
    DeleteMute(MuteId),
    /// Makes an inbound webhook; [`crate::StoreError::Exists`] if another, whosever it is, has its secret.
    PutInboundWebhook(InboundWebhook),
    /// Deletes an inbound webhook.
    DeleteInboundWebhook(InboundWebhookId),
    /// Sets what the workspace prefers.
    SetPreferences(Preferences),
}

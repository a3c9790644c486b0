//! Rows of configuration: workspaces, API keys, rules, channels with their sealed secrets.

use tidings_domain::channel::Channel;
use tidings_domain::id::{ApiKeyId, ChannelId, RuleId, WorkspaceId};
use tidings_domain::rule::Rule;
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

/// A workspace's rules and channels as of one instant.
#[derive(Debug, Clone, Default)]
pub struct Configuration {
    /// The version they are of.
    pub version: Version,
    /// The rules, oldest first.
    pub rules: Vec<Rule>,
    /// The channels, oldest first.
    pub channels: Vec<ChannelRecord>,
}

/// What a write expects to find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// Nothing: it is made.
    Absent,
    /// It, at this revision: it is edited.
    Revision(u32),
}

/// One write of configuration.
#[derive(Debug, Clone)]
pub enum Change {
    /// Makes or edits a rule.
    PutRule(Rule, Expect),
    /// Deletes a rule.
    DeleteRule(RuleId),
    /// Makes or edits a channel. Its connectivity is left as it is.
    PutChannel(ChannelRecord, Expect),
    /// Deletes a channel; [`crate::StoreError::InUse`] while a rule uses it.
    DeleteChannel(ChannelId),
}

//! The audit log: who changed what, when and from where, with the values before and after.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::access::Actor;
use crate::id::{AuditEntryId, WorkspaceId};
use crate::text::truncate_chars;
use crate::time::Timestamp;

/// The longest text in a change, in characters; longer ones are cut.
pub const VALUE_CHARS_MAX: usize = 4_000;
/// The most fields of one entry: a create with a long list of headers has as many.
pub const FIELDS_MAX: usize = 200;
/// What is recorded instead of a secret.
pub const SECRET_MASK: &str = crate::secret::MASK;
/// Fields of views that change with every edit, and say nothing about it.
const BOOKKEEPING_FIELDS: [&str; 2] = ["revision", "updatedAt"];

/// Defines an enumeration with its wire names.
macro_rules! wire_names {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $wire:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant,)+ }

        impl $name {
            /// All of them, in the order of their declaration.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The wire name: API and store.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $wire),+ }
            }

            /// Parses a wire name.
            pub fn parse(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|it| it.as_str() == name)
            }
        }
    };
}

wire_names! {
    /// The kind of thing that an act changed.
    AuditTarget {
        Workspace = "workspace",
        User = "user",
        Member = "member",
        Invitation = "invitation",
        ApiKey = "api_key",
        Session = "session",
        Channel = "channel",
        Rule = "rule",
        Endpoint = "endpoint",
        Mute = "mute",
        Preferences = "preferences",
        InboundWebhook = "inbound_webhook",
        Resource = "resource",
        Incident = "incident",
        Delivery = "delivery",
    }
}

wire_names! {
    /// What was done to it.
    AuditVerb {
        Created = "created",
        Updated = "updated",
        Deleted = "deleted",
        SecretRotated = "secret_rotated",
        Tested = "tested",
        Paused = "paused",
        Resumed = "resumed",
        Acknowledged = "acknowledged",
        /// A delivery was made due again.
        Resent = "resent",
        /// The failed deliveries of a channel were made due again.
        Recovered = "recovered",
        Suspended = "suspended",
        /// A suspension ended.
        Reinstated = "reinstated",
        SignedIn = "signed_in",
        SignedOut = "signed_out",
        PasswordChanged = "password_changed",
        /// An invitation was accepted.
        Accepted = "accepted",
        /// A member left the workspace.
        Left = "left",
    }
}

impl AuditTarget {
    /// This verb done to a thing of this kind.
    pub const fn action(self, verb: AuditVerb) -> AuditAction {
        AuditAction { target: self, verb }
    }
}

/// What was done to what kind of thing: `channel.updated` on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AuditAction {
    pub target: AuditTarget,
    pub verb: AuditVerb,
}

impl AuditAction {
    /// Parses a wire name.
    pub fn parse(name: &str) -> Option<Self> {
        let (target, verb) = name.split_once('.')?;
        Some(Self { target: AuditTarget::parse(target)?, verb: AuditVerb::parse(verb)? })
    }
}

impl fmt::Display for AuditAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.target.as_str(), self.verb.as_str())
    }
}

impl Serialize for AuditAction {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for AuditAction {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&name).ok_or_else(|| serde::de::Error::custom("no such action"))
    }
}

/// The values of a field; null where it was absent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditChange {
    pub before: Value,
    pub after: Value,
}

/// The changed fields, by their dotted path, such as `quietHours.start`.
pub type AuditChanges = BTreeMap<String, AuditChange>;

/// One act, as it is recorded: never changed, and kept when what it names is deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    pub id: AuditEntryId,
    /// `None` for acts on the instance, such as making a user or deleting a workspace.
    pub workspace_id: Option<WorkspaceId>,
    pub at: Timestamp,
    pub actor: Actor,
    pub action: AuditAction,
    /// The id of what was changed, or what identifies it otherwise.
    pub target_id: Option<String>,
    /// Its name at the time, for people.
    pub target_name: Option<String>,
    /// Secrets are masked.
    pub changes: AuditChanges,
    /// The client's IP address.
    pub address: Option<String>,
    pub request_id: Option<String>,
}

/// The fields that differ between two JSON objects; null in place of an object means one without fields (of what is
/// created or deleted). Objects within are compared field by field, lists as a whole.
///
/// Secrets must be masked in both objects; a secret that was replaced is therefore equal, see [`note_secret`].
pub fn changed_fields(before: &Value, after: &Value) -> AuditChanges {
    let mut changes = AuditChanges::new();
    collect_changes("", before, after, &mut changes);
    changes
}

/// Records that a secret field was set, replaced or removed.
pub fn note_secret(changes: &mut AuditChanges, field: &str) {
    let mask = || Value::from(SECRET_MASK);
    changes.insert(field.to_owned(), AuditChange { before: mask(), after: mask() });
}

fn collect_changes(path: &str, before: &Value, after: &Value, changes: &mut AuditChanges) {
    let empty = serde_json::Map::new();
    let (before_fields, after_fields) = match (before, after) {
        (Value::Object(before), Value::Object(after)) => (before, after),
        (Value::Null, Value::Object(after)) if path.is_empty() => (&empty, after),
        (Value::Object(before), Value::Null) if path.is_empty() => (before, &empty),
        _ if before == after || changes.len() >= FIELDS_MAX => return,
        _ => {
            let change = AuditChange { before: bounded(before), after: bounded(after) };
            changes.insert(path.to_owned(), change);
            return;
        }
    };
    let removed = before_fields.keys().filter(|key| !after_fields.contains_key(*key));
    for key in after_fields.keys().chain(removed) {
        if path.is_empty() && BOOKKEEPING_FIELDS.contains(&key.as_str()) {
            continue;
        }
        let of = |fields: &serde_json::Map<String, Value>| fields.get(key).cloned().unwrap_or(Value::Null);
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        collect_changes(&path, &of(before_fields), &of(after_fields), changes);
    }
}

/// The value, or the beginning of its text if it is long.
fn bounded(value: &Value) -> Value {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Null | Value::Bool(_) | Value::Number(_) => return value.clone(),
        Value::Array(_) | Value::Object(_) => value.to_string(),
    };
    let is_long = text.chars().nth(VALUE_CHARS_MAX).is_some();
    if is_long { Value::from(truncate_chars(&text, VALUE_CHARS_MAX)) } else { value.clone() }
}

#[cfg(test)]
mod tests;

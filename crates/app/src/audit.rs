//! Entries of the audit log: written in the transaction of the change that they record.

use serde::Serialize;
use serde_json::Value;
use tidings_domain::audit::{AuditAction, AuditChanges, AuditEntry, changed_fields};
use tidings_domain::time::Timestamp;
use tidings_engine::clock::new_id;
use tidings_store::settings::ConfigChange;

use crate::principal::Authorized;

/// A thing that is changed: its id and name, and its views before and after with secrets masked.
#[derive(Debug)]
pub struct Change<'a, T> {
    pub id: String,
    pub name: &'a str,
    /// `None` for a creation.
    pub before: Option<&'a T>,
    /// `None` for a deletion.
    pub after: Option<&'a T>,
}

impl<P> Authorized<P> {
    /// The entry for a change of something that has a view. `changes` can note secrets, which views do not show.
    pub fn audit<T: Serialize>(
        &self,
        action: AuditAction,
        change: &Change<'_, T>,
        now: Timestamp,
        note: impl FnOnce(&mut AuditChanges),
    ) -> ConfigChange {
        let view = |view: Option<&T>| view.and_then(|view| serde_json::to_value(view).ok()).unwrap_or(Value::Null);
        let mut changes = changed_fields(&view(change.before), &view(change.after));
        note(&mut changes);
        ConfigChange::Audit(self.audit_entry(action, Some(change.id.clone()), Some(change.name), changes, now))
    }

    /// The entry for an act that has no view.
    pub fn audit_entry(
        &self,
        action: AuditAction,
        target_id: Option<String>,
        target_name: Option<&str>,
        changes: AuditChanges,
        now: Timestamp,
    ) -> AuditEntry {
        let principal = self.principal();
        AuditEntry {
            id: new_id(self.engine().clock(), now),
            workspace_id: Some(principal.workspace_id),
            at: now,
            actor: principal.actor.clone(),
            action,
            target_id,
            target_name: target_name.map(str::to_owned),
            changes,
            address: principal.origin.address.map(|address| address.to_string()),
            request_id: principal.origin.request_id.clone(),
        }
    }
}

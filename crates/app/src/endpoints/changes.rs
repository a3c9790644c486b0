//! Changes of endpoints.

use std::result::Result as StdResult;
use std::sync::Arc;

use serde::Deserialize;
use tidings_domain::audit::{AuditTarget, AuditVerb, note_secret};
use tidings_domain::endpoint;
use tidings_domain::id::EndpointId;
use tidings_domain::resource::{ResourceSelector, ResourceType};
use tidings_domain::rule::Rule;
use tidings_domain::text::is_blank;
use tidings_domain::time::Timestamp;
use tidings_domain::violation::Violations;
use tidings_engine::clock::new_id;
use tidings_engine::settings::endpoints::rules_for;
use tidings_engine::settings::{ConfigPlan, NAME_CHARS_MAX};
use tidings_engine::snapshot::WorkspaceView;
use tidings_store::settings::{ConfigChange, Precondition};
use utoipa::ToSchema;

use super::validate::validated;
use super::{EndpointDraft, EndpointSaved, found, saved};
use crate::audit::Change;
use crate::contract::Input;
use crate::error::{AppError, Result};
use crate::principal::{Authorized, Configure};
use crate::quotas::{self, Quota};
use crate::revision::Expected;
use crate::rules::{self, RuleShown};

/// A copy of an endpoint.
#[derive(Debug, Default, Clone, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct EndpointCopy {
    /// Its name; without one, that of the original with ` (copy)`.
    pub name: Option<String>,
}

/// Creates an endpoint.
///
/// # Errors
/// [`AppError::Invalid`], and [`AppError::Quota`].
pub async fn create(by: &Authorized<Configure>, input: Input<EndpointDraft>) -> Result<EndpointSaved> {
    let plan = |view: &WorkspaceView, now| {
        quotas::check(by, view, Quota::Endpoints, 1)?;
        let endpoint = new_endpoint(by, validated(by, view, input.clone(), None)?, now);
        let changes =
            vec![put(by, &endpoint, Precondition::Absent), audit(by, AuditVerb::Created, None, Some(&endpoint), now)];
        Ok::<_, AppError>(ConfigPlan { changes, value: endpoint })
    };
    let endpoint = by.engine().settings().update(by.workspace_id(), plan).await?;
    Ok(saved(by, &endpoint).await)
}

/// Edits an endpoint: `change` makes the new draft of the present one, again if another edit was faster. Secrets that it
/// leaves masked or empty keep their values.
///
/// # Errors
/// [`AppError::Invalid`], [`EngineError::RevisionMismatch`](tidings_engine::EngineError::RevisionMismatch), and if there is
/// no such endpoint.
pub async fn edit(
    by: &Authorized<Configure>,
    id: EndpointId,
    expected: &Expected,
    change: impl Fn(&EndpointDraft) -> StdResult<Input<EndpointDraft>, Violations>,
) -> Result<EndpointSaved> {
    let plan = |view: &WorkspaceView, now| {
        let loaded = found(view, id)?;
        expected.check(loaded.endpoint.revision)?;
        let draft = validated(by, view, change(&EndpointDraft::of(&loaded.endpoint))?, Some(loaded))?;
        let EndpointDraft { name, enabled, definition } = draft;
        let edited = endpoint::Endpoint { name, enabled, definition, ..loaded.endpoint.clone() };
        Ok(replacement(by, AuditVerb::Updated, &loaded.endpoint, edited, now))
    };
    committed(by, id, plan).await
}

/// Pauses monitoring. Nothing happens if it is paused.
///
/// # Errors
/// As [`edit`].
pub async fn pause(by: &Authorized<Configure>, id: EndpointId, expected: &Expected) -> Result<EndpointSaved> {
    set_enabled(by, id, expected, false).await
}

/// Resumes monitoring. Nothing happens if it is not paused.
///
/// # Errors
/// As [`edit`].
pub async fn resume(by: &Authorized<Configure>, id: EndpointId, expected: &Expected) -> Result<EndpointSaved> {
    set_enabled(by, id, expected, true).await
}

async fn set_enabled(
    by: &Authorized<Configure>,
    id: EndpointId,
    expected: &Expected,
    enabled: bool,
) -> Result<EndpointSaved> {
    let plan = |view: &WorkspaceView, now| {
        let endpoint = &found(view, id)?.endpoint;
        expected.check(endpoint.revision)?;
        if endpoint.enabled == enabled {
            return Ok(ConfigPlan { changes: Vec::new(), value: (endpoint.clone(), false) });
        }
        let verb = if enabled { AuditVerb::Resumed } else { AuditVerb::Paused };
        Ok(replacement(by, verb, endpoint, endpoint::Endpoint { enabled, ..endpoint.clone() }, now))
    };
    committed(by, id, plan).await
}

/// Creates a copy of an endpoint, secrets included, with rules for the same shared channels. Rules with a channel of their
/// own are not copied.
///
/// # Errors
/// [`AppError::Invalid`], [`AppError::Quota`], and if there is no such endpoint.
pub async fn copy(by: &Authorized<Configure>, id: EndpointId, input: Input<EndpointCopy>) -> Result<EndpointSaved> {
    let EndpointCopy { name } = input.finish()?;
    // Blank is as good as absent: there is a default.
    let name = name.filter(|name| !is_blank(name));
    let clock = by.engine().clock();
    let plan = |view: &WorkspaceView, now| {
        let loaded = found(view, id)?;
        quotas::check(by, view, Quota::Endpoints, 1)?;
        let mut draft = EndpointDraft::of(&loaded.endpoint);
        draft.name = name.clone().unwrap_or_else(|| copy_name(&draft.name));
        let endpoint = new_endpoint(by, validated(by, view, draft.into(), Some(loaded))?, now);
        let mut changes = vec![put(by, &endpoint, Precondition::Absent)];
        let mut entries = vec![audit(by, AuditVerb::Created, None, Some(&endpoint), now)];
        let shared = |rule: &Arc<Rule>| view.channel(rule.channel_id).filter(|loaded| loaded.is_shared());
        let resource = ResourceSelector::One(endpoint.id.to_string());
        for (rule, loaded) in rules_for(view, id).filter_map(|rule| Some((rule, shared(rule)?))) {
            let copy = Rule {
                enabled: rule.enabled,
                paused: rule.paused,
                settings: rule.settings.clone(),
                ..Rule::new(
                    new_id(clock, now),
                    by.workspace_id(),
                    (ResourceType::Endpoint, resource.clone()),
                    rule.channel_id,
                    now,
                )
            };
            let shown = RuleShown::of(&copy, &loaded.channel);
            entries.push(rules::audit(by, AuditVerb::Created, copy.id, None, Some(&shown), (now, false)));
            changes.push(ConfigChange::PutRule(copy, Precondition::Absent));
        }
        let new_rules = u32::try_from(changes.len() - 1).unwrap_or(u32::MAX);
        quotas::check_new_rules(by, view, ResourceType::Endpoint, &resource, new_rules)?;
        changes.extend(entries);
        Ok::<_, AppError>(ConfigPlan { changes, value: endpoint })
    };
    let endpoint = by.engine().settings().update(by.workspace_id(), plan).await?;
    Ok(saved(by, &endpoint).await)
}

/// Deletes an endpoint, its checks and its rules. An active incident is resolved before, and the channels that were
/// notified of it are notified of that. Its children have no parent afterwards.
///
/// # Errors
/// [`EngineError::RevisionMismatch`](tidings_engine::EngineError::RevisionMismatch), and if there is no such endpoint.
pub async fn delete(by: &Authorized<Configure>, id: EndpointId, expected: &Expected) -> Result<()> {
    expected.check(found(&*by.view()?, id)?.endpoint.revision)?;
    by.engine().end_incident_of_deleted(by.workspace_id(), id).await?;
    let plan = |view: &WorkspaceView, now| {
        let endpoint = &found(view, id)?.endpoint;
        expected.check(endpoint.revision)?;
        let mut changes = Vec::new();
        for rule in rules_for(view, id) {
            changes.extend(rules::deletion(by, view, rule, now));
        }
        for child in view.endpoints().filter(|child| child.endpoint.definition.parent_id == Some(id)) {
            let mut orphan = child.endpoint.clone();
            orphan.definition.parent_id = None;
            changes.extend(replacement(by, AuditVerb::Updated, &child.endpoint, orphan, now).changes);
        }
        changes.push(ConfigChange::DeleteEndpoint(id, now));
        changes.push(audit(by, AuditVerb::Deleted, Some(endpoint), None, now));
        Ok::<_, AppError>(ConfigPlan { changes, value: () })
    };
    by.engine().settings().update(by.workspace_id(), plan).await
}

/// An endpoint after its change, and whether its checks in a row begin anew.
pub(crate) type Changed = (endpoint::Endpoint, bool);

/// Commits a change of one endpoint, with what follows from it.
async fn committed(
    by: &Authorized<Configure>,
    id: EndpointId,
    plan: impl Fn(&WorkspaceView, Timestamp) -> Result<ConfigPlan<Changed>>,
) -> Result<EndpointSaved> {
    let (endpoint, restarts) = by.engine().settings().update(by.workspace_id(), plan).await?;
    if restarts {
        by.engine().restart_streak(by.workspace_id(), id).await?;
    }
    Ok(saved(by, &endpoint).await)
}

/// The plan to replace an endpoint. Checks from before a pause, or of another target, prove nothing about what is checked
/// from now on.
pub(crate) fn replacement<P>(
    by: &Authorized<P>,
    verb: AuditVerb,
    before: &endpoint::Endpoint,
    mut after: endpoint::Endpoint,
    now: Timestamp,
) -> ConfigPlan<Changed> {
    (after.revision, after.updated_at) = (before.revision + 1, now);
    let restarts = after.enabled && !before.enabled || after.definition.probe != before.definition.probe;
    let put = put(by, &after, Precondition::Revision(before.revision));
    let changes = vec![put, audit(by, verb, Some(before), Some(&after), now)];
    ConfigPlan { changes, value: (after, restarts) }
}

fn new_endpoint<P>(by: &Authorized<P>, draft: EndpointDraft, now: Timestamp) -> endpoint::Endpoint {
    let EndpointDraft { name, enabled, definition } = draft;
    endpoint::Endpoint {
        id: new_id(by.engine().clock(), now),
        workspace_id: by.workspace_id(),
        name,
        enabled,
        definition,
        revision: 1,
        created_at: now,
        updated_at: now,
    }
}

fn put<P>(by: &Authorized<P>, endpoint: &endpoint::Endpoint, precondition: Precondition) -> ConfigChange {
    ConfigChange::PutEndpoint(by.engine().settings().endpoint_record(endpoint.clone()), precondition)
}

/// The audit entry of a change. New secrets are noted apart, as the views before and after mask them alike.
fn audit<P>(
    by: &Authorized<P>,
    verb: AuditVerb,
    before: Option<&endpoint::Endpoint>,
    after: Option<&endpoint::Endpoint>,
    now: Timestamp,
) -> ConfigChange {
    let (old, new) = (before.map(EndpointDraft::of), after.map(EndpointDraft::of));
    let (id, name) =
        after.or(before).map(|endpoint| (endpoint.id.to_string(), endpoint.name.as_str())).unwrap_or_default();
    let change = Change { id, name, before: old.as_ref(), after: new.as_ref() };
    by.audit(AuditTarget::Endpoint.action(verb), &change, now, |changes| {
        let secrets =
            |draft: &Option<EndpointDraft>| draft.as_ref().map(|draft| draft.definition.secrets()).unwrap_or_default();
        let (old, new) = (secrets(&old), secrets(&new));
        for path in old.keys().chain(new.keys()).filter(|path| old.get(*path) != new.get(*path)) {
            if !changes.contains_key(path) {
                note_secret(changes, path);
            }
        }
    })
}

fn copy_name(name: &str) -> String {
    const SUFFIX: &str = " (copy)";
    let kept: String = name.chars().take(NAME_CHARS_MAX - SUFFIX.len()).collect();
    format!("{kept}{SUFFIX}")
}

//! `/resources`: what runs, checks and alerts are about, and how it went last.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use tidings_domain::audit::{AuditTarget, AuditVerb};
use tidings_domain::endpoint::{TAG_CHARS_MAX, TAGS_MAX};
use tidings_domain::resource::ResourceType;
use tidings_domain::text::has_control;
use tidings_domain::time::Timestamp;
use tidings_domain::violation::Violations;
use tidings_engine::EngineError;
use tidings_engine::snapshot::WorkspaceView;
use tidings_store::StoreError;
use tidings_store::insights::{
    ErasureRecord, OutcomeStatus, ResourceEdit, ResourceFilter, ResourceKey, ResourceOrder, ResourcePosition,
    ResourceRecord,
};
use tidings_store::settings::ConfigChange;
use url::Url;
use utoipa::ToSchema;

use crate::audit::Change;
use crate::contract::Input;
use crate::error::{AppError, Result};
use crate::principal::{Authorized, Configure, Read};
use crate::response::Response;
use crate::revision::Expected;

/// How often an edit is attempted while others are faster.
const EDIT_ATTEMPTS: u32 = 5;

/// What a user gives a resource, and an edit is merged over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({"name": "Nightly import", "link": "https://app.example.com/flows/7", "tags": ["warehouse"]}))]
pub struct ResourceDraft {
    /// Shown instead of the name that its runs report; null for that one.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 200)]
    pub name: Option<String>,
    /// A page about it, with http or https.
    #[serde(default)]
    #[schema(max_length = 2048)]
    pub link: Option<String>,
    /// At most 20, each of 1 to 50 characters.
    #[serde(default)]
    #[schema(max_items = 20)]
    pub tags: Vec<String>,
}

/// The status of the last run of a query, flow, use case or job (`success`, `failure`), of the last check of an endpoint
/// (`healthy`, `degraded`, `down`, `inconclusive`), or of the last incident of an alert (`active`, `resolved`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ResourceStatus {
    Success,
    Failure,
    Healthy,
    Degraded,
    Down,
    Inconclusive,
    Active,
    Resolved,
}

impl ResourceStatus {
    const ALL: [Self; 8] = [
        Self::Success,
        Self::Failure,
        Self::Healthy,
        Self::Degraded,
        Self::Down,
        Self::Inconclusive,
        Self::Active,
        Self::Resolved,
    ];

    /// Both enumerations are in the same order.
    fn stored(self) -> Option<OutcomeStatus> {
        let index = Self::ALL.iter().position(|status| *status == self)?;
        OutcomeStatus::ALL.get(index).copied()
    }

    fn of(stored: OutcomeStatus) -> Self {
        let index = OutcomeStatus::ALL.iter().position(|status| *status == stored);
        index.and_then(|index| Self::ALL.get(index).copied()).unwrap_or(Self::Inconclusive)
    }
}

/// The order of a list of resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub enum ResourceSort {
    /// By the name that is shown, without case.
    #[default]
    #[serde(rename = "name")]
    Name,
    /// The latest run or incident first. Endpoints come last: each is checked all the time.
    #[serde(rename = "-lastRunAt")]
    LastRun,
}

/// Which resources to list. All conditions must hold.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourceQuery {
    pub resource_type: Option<ResourceType>,
    /// Text in the id or the name, whatever its case.
    #[schema(max_length = 200)]
    pub q: Option<String>,
    /// Exactly this tag.
    #[schema(max_length = 200)]
    pub tag: Option<String>,
    pub status: Option<ResourceStatus>,
    pub sort: ResourceSort,
    #[schema(minimum = 1, maximum = 200)]
    pub limit: u32,
    /// The `nextCursor` of the page before.
    pub cursor: Option<String>,
}

impl Default for ResourceQuery {
    fn default() -> Self {
        let (resource_type, q, tag, status) = (None, None, None, None);
        Self { resource_type, q, tag, status, sort: ResourceSort::Name, limit: 50, cursor: None }
    }
}

/// A resource.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Resource {
    pub resource_type: ResourceType,
    /// Your own id of it; of an endpoint the endpoint's id.
    pub resource_id: String,
    /// The name to show: `name`, else `reportedName`, else the id.
    pub title: String,
    #[serde(flatten)]
    pub draft: ResourceDraft,
    /// The name that its runs report; of an endpoint or alert its own.
    pub reported_name: Option<String>,
    /// Its last run, check or incident; null if it has had none.
    pub last_run: Option<LastRun>,
    /// Null for alerts.
    pub success_share: Option<SuccessShare>,
    /// Its last runs, at most 30, the one that ended last first; empty for endpoints and alerts.
    pub recent_runs: Vec<RecentRun>,
    pub rules: RuleCounts,
    pub first_seen_at: Timestamp,
    pub last_seen_at: Timestamp,
    pub revision: u32,
}

/// The last run, check or incident of a resource.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LastRun {
    pub status: ResourceStatus,
    /// When the run ended or the check was made; of an alert, when its last event happened.
    pub at: Timestamp,
    /// How long the run, the check or the incident took; null if that is not known, or not over.
    pub duration_ms: Option<u64>,
}

/// How many of a resource's runs succeeded, or of its checks were not `down`.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SuccessShare {
    /// What is counted: the last 30 runs, or the conclusive checks of the last 30 days (UTC) as far as their hours are
    /// summarised.
    pub of: ShareWindow,
    pub count: u64,
    pub succeeded: u64,
    /// From 0 to 1; null without runs or checks.
    pub share: Option<f64>,
}

/// What a share is taken of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub enum ShareWindow {
    #[serde(rename = "last_30_runs")]
    Last30Runs,
    #[serde(rename = "last_30_days")]
    Last30Days,
}

/// One of the last runs of a resource.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecentRun {
    pub status: ResourceStatus,
    pub completed_at: Timestamp,
}

/// The rules that apply to a resource: its own, and those of every resource of its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RuleCounts {
    pub total: u32,
    pub enabled: u32,
}

/// A page of resources.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResourceList {
    pub data: Vec<Resource>,
    pub next_cursor: Option<String>,
}

/// A resource that was edited.
#[derive(Debug, Serialize, ToSchema)]
pub struct ResourceSaved {
    pub resource: Resource,
}

/// The erasure of a resource's payloads, which goes on after the resource is gone.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Erasure {
    pub resource_type: ResourceType,
    pub resource_id: String,
    pub requested_at: Timestamp,
    /// Null while something is left: what is not sent yet is sent first.
    pub finished_at: Option<Timestamp>,
}

impl Response for Resource {
    const IS_VERSIONED: bool = true;

    fn revision(&self) -> Option<u32> {
        Some(self.revision)
    }
}

impl Response for ResourceSaved {
    const IS_VERSIONED: bool = true;

    fn revision(&self) -> Option<u32> {
        self.resource.revision()
    }
}

impl Response for ResourceList {}

impl Response for Erasure {}

impl Resource {
    fn of(record: ResourceRecord, view: &WorkspaceView) -> Self {
        let title = record.name().to_owned();
        let (of, count, succeeded) = match record.checks {
            Some((count, up)) => (ShareWindow::Last30Days, count, up),
            None => {
                let succeeded = record.recent.iter().filter(|run| run.is_success).count();
                (ShareWindow::Last30Runs, record.recent.len() as u64, succeeded as u64)
            }
        };
        let share = (count > 0).then(|| succeeded as f64 / count as f64);
        let rules = view.rules_of(record.resource_type, &record.resource_id);
        let (total, enabled) =
            rules.fold((0, 0), |(total, enabled), rule| (total + 1, enabled + u32::from(rule.enabled)));
        Self {
            success_share: (record.resource_type != ResourceType::Alert).then_some(SuccessShare {
                of,
                count,
                succeeded,
                share,
            }),
            resource_type: record.resource_type,
            resource_id: record.resource_id,
            title,
            draft: ResourceDraft { name: record.own_name, link: record.link, tags: record.tags },
            reported_name: record.reported_name,
            last_run: record.last.map(|last| LastRun {
                status: ResourceStatus::of(last.status),
                at: last.at,
                duration_ms: last.duration_ms,
            }),
            recent_runs: record
                .recent
                .into_iter()
                .map(|run| RecentRun {
                    status: if run.is_success { ResourceStatus::Success } else { ResourceStatus::Failure },
                    completed_at: run.completed_at,
                })
                .collect(),
            rules: RuleCounts { total, enabled },
            first_seen_at: record.first_seen_at,
            last_seen_at: record.last_seen_at,
            revision: record.revision,
        }
    }
}

/// The position in a list, as a cursor: the name or the instant that it is sorted by, type and id.
#[derive(Serialize, Deserialize)]
struct Cursor(String, i64, ResourceType, String);

impl Cursor {
    fn after(record: &ResourceRecord) -> String {
        let position =
            Self(record.title(), record.ordered_at().unix_ms(), record.resource_type, record.resource_id.clone());
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(&position).unwrap_or_default())
    }

    fn parse(text: &str) -> Option<ResourcePosition> {
        let Self(name, last_at, resource_type, resource_id) =
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
        Some(ResourcePosition { name, last_at: Timestamp::from_unix_ms(last_at), resource_type, resource_id })
    }
}

/// Resources, a page of them.
///
/// # Errors
/// [`AppError::Invalid`] for a wrong cursor, and those of history reads.
pub async fn list(by: &Authorized<Read>, query: ResourceQuery) -> Result<ResourceList> {
    let after = query.cursor.as_deref().map(|cursor| {
        Cursor::parse(cursor).ok_or_else(|| AppError::invalid("/cursor", "must be the nextCursor of the previous page"))
    });
    let filter = ResourceFilter {
        order: match query.sort {
            ResourceSort::Name => ResourceOrder::Name,
            ResourceSort::LastRun => ResourceOrder::LastOutcome,
        },
        after: after.transpose()?,
        limit: query.limit + 1,
        resource_type: query.resource_type,
        text: query.q.filter(|text| !text.is_empty()),
        tag: query.tag.filter(|tag| !tag.is_empty()),
        status: query.status.and_then(ResourceStatus::stored),
    };
    let view = by.view()?;
    let mut found =
        by.engine().store().resources(by.workspace_id(), filter, by.now()).await.map_err(EngineError::from)?;
    let has_more = found.len() > query.limit as usize;
    found.truncate(query.limit as usize);
    let next_cursor = found.last().filter(|_| has_more).map(Cursor::after);
    Ok(ResourceList { data: found.into_iter().map(|record| Resource::of(record, &view)).collect(), next_cursor })
}

/// One resource.
///
/// # Errors
/// If there is no such resource.
pub async fn one(by: &Authorized<Read>, resource_type: ResourceType, resource_id: String) -> Result<Resource> {
    let record = find(by, resource_type, resource_id).await?;
    Ok(Resource::of(record, &*by.view()?))
}

/// Edits what a user gave a resource: `change` makes the new draft of the present one, again if another edit was faster.
///
/// # Errors
/// [`AppError::Invalid`], [`EngineError::RevisionMismatch`], and if there is no such resource.
pub async fn edit(
    by: &Authorized<Configure>,
    resource_type: ResourceType,
    resource_id: String,
    expected: &Expected,
    change: impl Fn(&ResourceDraft) -> std::result::Result<Input<ResourceDraft>, Violations>,
) -> Result<ResourceSaved> {
    for _ in 0..EDIT_ATTEMPTS {
        let before = find(by, resource_type, resource_id.clone()).await?;
        if resource_type == ResourceType::Endpoint {
            return Err(AppError::invalid("", "the name and the tags of an endpoint are edited at /endpoints/{id}"));
        }
        expected.check(before.revision)?;
        let title = before.name().to_owned();
        let view = ResourceDraft { name: before.own_name, link: before.link, tags: before.tags };
        let draft = validated(change(&view)?)?;
        let now = by.now();
        let id = audit_id(resource_type, &resource_id);
        let changed = Change { id, name: &title, before: Some(&view), after: Some(&draft) };
        let entry = entry(by.audit(AuditTarget::Resource.action(AuditVerb::Updated), &changed, now, |_| {}));
        let edit = ResourceEdit {
            key: key(by, resource_type, resource_id.clone()),
            expected_revision: before.revision,
            name: draft.name,
            link: draft.link,
            tags: draft.tags,
        };
        match by.engine().store().edit_resource(edit, now, entry).await {
            Ok(record) => return Ok(ResourceSaved { resource: Resource::of(record, &*by.view()?) }),
            Err(StoreError::Conflict) => {}
            Err(StoreError::NotFound) => return Err(AppError::not_found("resource")),
            Err(error) => return Err(EngineError::from(error).into()),
        }
    }
    Err(EngineError::RevisionMismatch.into())
}

/// Deletes a resource, and has its payloads erased in the background.
///
/// # Errors
/// [`AppError::ResourceInUse`] of an endpoint that exists, and while it has an active incident;
/// [`EngineError::RevisionMismatch`]; and if neither the resource nor an event about it exists.
pub async fn delete(
    by: &Authorized<Configure>,
    resource_type: ResourceType,
    resource_id: String,
    expected: &Expected,
) -> Result<Erasure> {
    let store = by.engine().store();
    let now = by.now();
    let stored = store.resource(key(by, resource_type, resource_id.clone()), now).await.map_err(EngineError::from)?;
    if let Some(stored) = &stored {
        expected.check(stored.revision)?;
    }
    let title = stored.as_ref().map_or(resource_id.as_str(), ResourceRecord::name);
    let view = stored.as_ref().map(|stored| ResourceDraft {
        name: stored.own_name.clone(),
        link: stored.link.clone(),
        tags: stored.tags.clone(),
    });
    let id = audit_id(resource_type, &resource_id);
    let changed = Change { id, name: title, before: view.as_ref(), after: None };
    let entry = entry(by.audit(AuditTarget::Resource.action(AuditVerb::Deleted), &changed, now, |_| {}));
    match store.erase_resource(key(by, resource_type, resource_id.clone()), now, entry).await {
        Ok(()) => Ok(Erasure { resource_type, resource_id, requested_at: now, finished_at: None }),
        Err(StoreError::NotFound) => Err(AppError::not_found("resource")),
        Err(StoreError::InUse) if resource_type == ResourceType::Endpoint => {
            Err(AppError::ResourceInUse("delete the endpoint itself first: DELETE /endpoints/{id}"))
        }
        Err(StoreError::InUse) => {
            Err(AppError::ResourceInUse("it has an active incident, which must be resolved first"))
        }
        Err(error) => Err(EngineError::from(error).into()),
    }
}

/// How far the last erasure of a resource has come.
///
/// # Errors
/// If it was not erased within the retention of events.
pub async fn erasure(by: &Authorized<Read>, resource_type: ResourceType, resource_id: String) -> Result<Erasure> {
    let found = by.engine().store().erasure(key(by, resource_type, resource_id.clone())).await;
    let ErasureRecord { requested_at, finished_at } =
        found.map_err(EngineError::from)?.ok_or(AppError::not_found("erasure"))?;
    Ok(Erasure { resource_type, resource_id, requested_at, finished_at })
}

fn key<P>(by: &Authorized<P>, resource_type: ResourceType, resource_id: String) -> ResourceKey {
    ResourceKey { workspace_id: by.workspace_id(), resource_type, resource_id }
}

fn audit_id(resource_type: ResourceType, resource_id: &str) -> String {
    format!("{}:{resource_id}", resource_type.as_str())
}

/// Resources are no part of the configuration: their entries are written by the store's own operations.
fn entry(change: ConfigChange) -> Option<tidings_domain::audit::AuditEntry> {
    match change {
        ConfigChange::Audit(entry) => Some(entry),
        _ => None,
    }
}

async fn find<P>(by: &Authorized<P>, resource_type: ResourceType, resource_id: String) -> Result<ResourceRecord> {
    let found = by.engine().store().resource(key(by, resource_type, resource_id), by.now()).await;
    found.map_err(EngineError::from)?.ok_or(AppError::not_found("resource"))
}

fn validated(mut input: Input<ResourceDraft>) -> Result<ResourceDraft> {
    let draft = input.value.clone();
    if let Some(name) = &draft.name {
        if name.trim().is_empty() {
            input.refuse_field("/name", "must not be empty; null is the name that its runs report");
        } else if has_control(name) {
            input.refuse_field("/name", "must not contain control characters");
        }
    }
    if draft.link.as_ref().is_some_and(|link| !is_web_link(link)) {
        input.refuse_field("/link", "must be a URL with http or https, such as https://example.com/flows/7");
    }
    if draft.tags.len() <= TAGS_MAX {
        for (index, tag) in draft.tags.iter().enumerate() {
            let fault = if tag.trim().is_empty() {
                "must not be empty"
            } else if tag.chars().count() > TAG_CHARS_MAX {
                "must be at most 50 characters"
            } else if has_control(tag) {
                "must not contain control characters"
            } else if draft.tags[..index].contains(tag) {
                "is a duplicate"
            } else {
                continue;
            };
            input.refuse_field(&format!("/tags/{index}"), fault);
        }
    }
    Ok(input.finish()?)
}

/// The URL parser strips whitespace and control characters, but clients that open the link may not.
fn is_web_link(text: &str) -> bool {
    let is_clean = !text.chars().any(|c| c.is_control() || c.is_whitespace());
    is_clean && Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_those_of_the_store() {
        for status in ResourceStatus::ALL {
            let stored = status.stored().unwrap();
            assert_eq!(ResourceStatus::of(stored), status);
            assert_eq!(serde_json::to_value(status).unwrap(), stored.as_str());
        }
    }

    #[test]
    fn cursor_that_is_not_ours_is_refused() {
        for wrong in ["", "x", "W10", "WyJhIl0", "ÿ"] {
            assert_eq!(Cursor::parse(wrong), None, "{wrong}");
        }
    }
}

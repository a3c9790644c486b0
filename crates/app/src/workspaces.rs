//! `/api/workspaces`: the workspaces of a user; for operators all of them, made and suspended here.

use serde::{Deserialize, Serialize};
use serde_json::json;
use tidings_domain::access::Role;
use tidings_domain::account::validate_name;
use tidings_domain::audit::{AuditChanges, AuditTarget, AuditVerb, changed_fields};
use tidings_domain::calendar::validate_timezone;
use tidings_domain::id::WorkspaceId;
use tidings_domain::time::Timestamp;
use tidings_domain::violation::{Violation, Violations};
use tidings_domain::workspace::{LOCALES, Workspace, is_slug};
use tidings_engine::EngineError;
use tidings_engine::clock::new_id;
use tidings_engine::settings::ConfigPlan;
use tidings_engine::snapshot::WorkspaceView as Snapshot;
use tidings_store::StoreError;
use tidings_store::accounts::NewOwner;
use tidings_store::settings::{ConfigChange, Preferences, WorkspaceRecord};
use utoipa::ToSchema;

use crate::accounts::{Operator, SignedIn};
use crate::contract::Input;
use crate::error::{AppError, Result};
use crate::principal::{Authorized, Configure, DeleteWorkspace, Read};
use crate::response::Response;
use crate::revision::Expected;

/// What can be changed of a workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({"slug": "acme", "name": "Acme", "timezone": "Europe/Zurich", "locale": "en"}))]
pub struct WorkspaceDraft {
    /// The name in paths: 1 to 63 of a-z, 0-9 and -, a letter or digit first.
    #[schema(min_length = 1, max_length = 63)]
    pub slug: String,
    #[schema(min_length = 1, max_length = 200)]
    pub name: String,
    /// The IANA time zone of messages.
    #[schema(min_length = 1, max_length = 64)]
    pub timezone: String,
    /// The language of messages, as a BCP 47 tag.
    #[schema(min_length = 2, max_length = 35)]
    pub locale: String,
}

/// A workspace to create.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({"slug": "acme", "name": "Acme"}))]
pub struct NewWorkspace {
    /// The name in paths: 1 to 63 of a-z, 0-9 and -, a letter or digit first.
    #[schema(min_length = 1, max_length = 63)]
    pub slug: String,
    /// Default: the slug.
    #[schema(min_length = 1, max_length = 200)]
    pub name: Option<String>,
    /// Default: UTC.
    #[schema(min_length = 1, max_length = 64)]
    pub timezone: Option<String>,
    /// Default: en.
    #[schema(min_length = 2, max_length = 35)]
    pub locale: Option<String>,
    /// The email of the user who owns it. Default: who makes it.
    #[schema(max_length = 254)]
    pub owner: Option<String>,
}

/// A workspace.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkspaceView {
    pub id: WorkspaceId,
    #[serde(flatten)]
    pub draft: WorkspaceDraft,
    /// The name of the plan, which has the limits.
    pub plan: String,
    pub created_at: Timestamp,
    /// Set while an operator has suspended it.
    pub suspended_at: Option<Timestamp>,
    pub revision: u32,
}

/// A workspace that was created or edited.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkspaceSaved {
    pub workspace: WorkspaceView,
}

/// Which workspaces to list.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkspaceQuery {
    /// All of the instance, which only operators see; otherwise those of the user.
    pub all: bool,
}

/// Workspaces, by slug.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkspaceList {
    pub data: Vec<WorkspaceSummary>,
    /// Always null: the list is complete.
    pub next_cursor: Option<String>,
}

/// A workspace in a list.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkspaceSummary {
    pub id: WorkspaceId,
    pub slug: String,
    pub name: String,
    /// The name of the plan, which has the limits.
    pub plan: String,
    pub created_at: Timestamp,
    /// Set while an operator has suspended it.
    pub suspended_at: Option<Timestamp>,
    /// What the user is in it; null if it is no member.
    pub role: Option<Role>,
    /// What is in it, in a list of all.
    pub usage: Option<WorkspaceUsage>,
}

/// How much is in a workspace.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkspaceUsage {
    pub members: u32,
    pub api_keys: u32,
    pub channels: u32,
}

impl Response for WorkspaceView {
    const IS_VERSIONED: bool = true;

    fn revision(&self) -> Option<u32> {
        Some(self.revision)
    }
}

impl Response for WorkspaceSaved {
    const IS_VERSIONED: bool = true;

    fn revision(&self) -> Option<u32> {
        Some(self.workspace.revision)
    }
}

impl Response for WorkspaceList {}

impl WorkspaceDraft {
    fn of(workspace: &Workspace, preferences: &Preferences) -> Self {
        let Workspace { slug, name, locale, .. } = workspace.clone();
        let timezone = if preferences.timezone.is_empty() { "UTC" } else { &preferences.timezone };
        Self { slug, name, timezone: timezone.to_owned(), locale }
    }

    /// What is wrong with the fields besides their schema.
    fn violations(&self) -> Violations {
        let mut violations = Violations::new();
        if !is_slug(&self.slug) {
            let message = "must be 1 to 63 of a-z, 0-9 and -, a letter or digit first";
            violations.push(Violation::new("/slug", message));
        }
        violations.extend(validate_name(&self.name).map(|message| Violation::new("/name", message)));
        violations.extend(validate_timezone(&self.timezone));
        if !LOCALES.contains(&self.locale.as_str()) {
            violations.push(Violation::new("/locale", format!("must be one of {}", LOCALES.join(", "))));
        }
        violations
    }
}

impl WorkspaceView {
    fn of(workspace: &Workspace, preferences: &Preferences) -> Self {
        let Workspace { id, plan, created_at, suspended_at, revision, .. } = workspace.clone();
        Self { id, draft: WorkspaceDraft::of(workspace, preferences), plan, created_at, suspended_at, revision }
    }
}

fn json(draft: &WorkspaceDraft) -> serde_json::Value {
    serde_json::to_value(draft).unwrap_or_default()
}

/// The workspaces of the signed-in user, or all for an operator.
///
/// # Errors
/// [`AppError::OperatorsOnly`], and those of the store.
pub async fn list(by: &SignedIn, query: WorkspaceQuery) -> Result<WorkspaceList> {
    let mine = by.engine().accounts().user_workspaces(by.user().id).await?;
    let mut data: Vec<_> = if query.all {
        let by = Operator::new(by.clone())?;
        let role = |id| by.memberships().iter().find(|(other, _)| *other == id).map(|(_, role)| *role);
        let summary = |(workspace, usage): (Workspace, WorkspaceUsage)| {
            let role = role(workspace.id);
            WorkspaceSummary::of(workspace, role, Some(usage))
        };
        all(&by).await?.into_iter().map(summary).collect()
    } else {
        mine.into_iter().map(|one| WorkspaceSummary::of(one.workspace, Some(one.role), None)).collect()
    };
    data.sort_by(|a, b| a.slug.cmp(&b.slug));
    Ok(WorkspaceList { data, next_cursor: None })
}

impl WorkspaceSummary {
    fn of(workspace: Workspace, role: Option<Role>, usage: Option<WorkspaceUsage>) -> Self {
        let Workspace { id, slug, name, plan, created_at, suspended_at, .. } = workspace;
        Self { id, slug, name, plan, created_at, suspended_at, role, usage }
    }
}

async fn all(by: &Operator) -> Result<Vec<(Workspace, WorkspaceUsage)>> {
    let store = by.engine().accounts();
    let counts = store.workspace_counts().await?;
    let usage = |id| {
        let found = counts.iter().find(|counts| counts.workspace_id == id);
        found.map_or(WorkspaceUsage { members: 0, api_keys: 0, channels: 0 }, |counts| WorkspaceUsage {
            members: counts.members,
            api_keys: counts.api_keys,
            channels: counts.channels,
        })
    };
    let records = store.workspaces().await?;
    Ok(records.into_iter().map(|record| (record.workspace.clone(), usage(record.workspace.id))).collect())
}

/// Creates a workspace and makes a user its owner.
///
/// # Errors
/// [`AppError::Invalid`], [`EngineError::SlugTaken`].
pub async fn create(by: &Operator, mut input: Input<NewWorkspace>) -> Result<WorkspaceSaved> {
    let (now, store) = (by.now(), by.engine().accounts());
    let new = input.value.clone();
    let mut workspace = Workspace::new(new_id(by.engine().clock(), now), new.slug.clone(), now);
    workspace.name = new.name.unwrap_or(workspace.name);
    workspace.locale = new.locale.unwrap_or(workspace.locale);
    let preferences = Preferences { timezone: new.timezone.unwrap_or_else(|| "UTC".into()), ..Preferences::default() };
    let draft = WorkspaceDraft::of(&workspace, &preferences);
    input.refuse(draft.violations());
    let owner = match &new.owner {
        None => Some(by.user().clone()),
        Some(email) => store.user_by_email(email).await?.map(|record| record.user),
    };
    if owner.is_none() {
        input.refuse_field("/owner", "must be the email of a user");
    }
    input.finish()?;
    let Some(owner) = owner else { return Err(AppError::not_found("user")) };
    let created = AuditTarget::Workspace.action(AuditVerb::Created);
    let created = by.audit(
        Some(workspace.id),
        created,
        (workspace.id, &workspace.slug),
        changed_fields(&json!({}), &json(&draft)),
        now,
    );
    let member = AuditTarget::Member.action(AuditVerb::Created);
    let changes = changed_fields(&json!({}), &json!({"role": Role::Owner}));
    let member = by.audit(Some(workspace.id), member, (owner.id, &owner.name), changes, now);
    let view = WorkspaceView::of(&workspace, &preferences);
    let record = WorkspaceRecord { workspace, preferences, api_keys: vec![] };
    let made = store.create_workspace(record, Some(NewOwner::Existing(owner.id)), vec![created, member]).await;
    match made {
        Ok(()) => {}
        Err(StoreError::Exists) => return Err(EngineError::SlugTaken.into()),
        Err(StoreError::NotFound) => return Err(AppError::invalid("/owner", "must be the email of a user")),
        Err(error) => return Err(error.into()),
    }
    by.engine().refresh_config().await?;
    Ok(WorkspaceSaved { workspace: view })
}

/// One workspace.
///
/// # Errors
/// If it was deleted meanwhile.
pub fn one(by: &Authorized<Read>) -> Result<WorkspaceView> {
    let view = by.view()?;
    Ok(WorkspaceView::of(&view.workspace, &view.preferences))
}

/// Edits a workspace: `change` makes the new draft of the present one, again if another edit was faster.
///
/// # Errors
/// [`AppError::Invalid`], [`EngineError::SlugTaken`], [`EngineError::RevisionMismatch`].
pub async fn edit(
    by: &Authorized<Configure>,
    expected: &Expected,
    change: impl Fn(&WorkspaceDraft) -> std::result::Result<Input<WorkspaceDraft>, Violations>,
) -> Result<WorkspaceSaved> {
    let plan = |view: &Snapshot, now| {
        let (mut workspace, mut preferences) = (view.workspace.clone(), view.preferences.clone());
        expected.check(workspace.revision)?;
        let before = WorkspaceDraft::of(&workspace, &preferences);
        let mut input = change(&before)?;
        input.refuse(input.value.violations());
        let draft = input.finish()?;
        if draft == before {
            return Ok(ConfigPlan { changes: vec![], value: WorkspaceView::of(&workspace, &preferences) });
        }
        if draft.slug != before.slug && by.engine().workspace_id(&draft.slug).is_some() {
            return Err(EngineError::SlugTaken.into());
        }
        let id = Some(workspace.id.to_string());
        let changed = changed_fields(&json(&before), &json(&draft));
        let action = AuditTarget::Workspace.action(AuditVerb::Updated);
        let audit = by.audit_entry(action, id, Some(&draft.slug), changed, now);
        let revision = workspace.revision;
        workspace.revision = revision + 1;
        WorkspaceDraft {
            slug: workspace.slug,
            name: workspace.name,
            timezone: preferences.timezone,
            locale: workspace.locale,
        } = draft;
        let value = WorkspaceView::of(&workspace, &preferences);
        let mut changes = vec![ConfigChange::PutWorkspace(workspace, revision), ConfigChange::Audit(audit)];
        if value.draft.timezone != before.timezone {
            changes.push(ConfigChange::SetPreferences(preferences));
        }
        Ok::<_, AppError>(ConfigPlan { changes, value })
    };
    match by.engine().settings().update(by.workspace_id(), plan).await {
        Ok(workspace) => Ok(WorkspaceSaved { workspace }),
        // Another process made one with this slug, which the snapshot does not have yet.
        Err(AppError::Engine(EngineError::Store(StoreError::Exists))) => Err(EngineError::SlugTaken.into()),
        Err(error) => Err(error),
    }
}

/// Deletes a workspace with everything in it. Its keys stop working at once.
///
/// # Errors
/// If it was deleted meanwhile.
pub async fn delete(by: &Authorized<DeleteWorkspace>) -> Result<()> {
    let (view, now) = (by.view()?, by.now());
    let changes = changed_fields(&json(&WorkspaceDraft::of(&view.workspace, &view.preferences)), &json!({}));
    let action = AuditTarget::Workspace.action(AuditVerb::Deleted);
    let id = Some(view.workspace.id.to_string());
    let mut audit = by.audit_entry(action, id, Some(&view.workspace.slug), changes, now);
    // In the log of the instance: that of the workspace goes with it.
    audit.workspace_id = None;
    match by.engine().accounts().delete_workspace(by.workspace_id(), now, vec![audit]).await {
        Err(StoreError::NotFound) => return Err(AppError::not_found("workspace")),
        outcome => outcome?,
    }
    by.engine().refresh_config().await?;
    Ok(())
}

/// Suspends a workspace: it answers no request until it is resumed. Suspending one that is suspended changes nothing.
///
/// # Errors
/// If there is no such workspace.
pub async fn suspend(by: &Operator, workspace: &str) -> Result<WorkspaceSaved> {
    set_suspended(by, workspace, true).await
}

/// Ends a suspension.
///
/// # Errors
/// If there is no such workspace.
pub async fn resume(by: &Operator, workspace: &str) -> Result<WorkspaceSaved> {
    set_suspended(by, workspace, false).await
}

async fn set_suspended(by: &Operator, workspace: &str, is_suspended: bool) -> Result<WorkspaceSaved> {
    let id = by.engine().workspace_id(workspace).ok_or(AppError::not_found("workspace"))?;
    let plan = |view: &Snapshot, now| {
        let mut workspace = view.workspace.clone();
        let mut changes = Vec::new();
        if workspace.suspended_at.is_some() != is_suspended {
            let revision = workspace.revision;
            (workspace.suspended_at, workspace.revision) = (is_suspended.then_some(now), revision + 1);
            let verb = if is_suspended { AuditVerb::Suspended } else { AuditVerb::Reinstated };
            let target = (workspace.id, workspace.slug.as_str());
            let audit = by.audit(Some(id), AuditTarget::Workspace.action(verb), target, AuditChanges::new(), now);
            changes = vec![ConfigChange::PutWorkspace(workspace.clone(), revision), ConfigChange::Audit(audit)];
        }
        let value = WorkspaceView::of(&workspace, &view.preferences);
        Ok::<_, AppError>(ConfigPlan { changes, value })
    };
    let workspace = by.engine().settings().update(id, plan).await?;
    Ok(WorkspaceSaved { workspace })
}

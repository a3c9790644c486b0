//! `/mutes`: suppress notifications of an endpoint, of a channel or of everything, with or without an end.

use serde::{Deserialize, Serialize};
use tidings_domain::audit::{AuditTarget, AuditVerb};
use tidings_domain::id::MuteId;
use tidings_domain::mute::{self, MuteScope};
use tidings_domain::time::Timestamp;
use tidings_domain::violation::Violation;
use tidings_engine::clock::new_id;
use tidings_engine::settings::ConfigPlan;
use tidings_engine::snapshot::WorkspaceView;
use tidings_store::activity::{MuteFilter, MuteRecord};
use tidings_store::settings::ConfigChange;
use utoipa::ToSchema;

use crate::audit::Change;
use crate::contract::Input;
use crate::error::{AppError, Result};
use crate::principal::{Authorized, Configure, Read};
use crate::quotas::{self, Quota};
use crate::response::Response;

/// How long a mute is listed after its end, in milliseconds.
const ENDED_MS: u64 = 7 * 86_400_000;
/// The most mutes that ended in a list.
const ENDED_MAX: u32 = 1_000;

/// What a mute suppresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    #[default]
    Global,
    Endpoint,
    Channel,
}

/// A mute to create.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({"scope": "global", "expiresAt": "2099-01-01T00:00:00Z", "reason": "move of the data centre"}))]
pub struct MuteDraft {
    #[serde(default)]
    #[schema(required)]
    pub scope: Scope,
    /// The id of the endpoint or channel; null for `global`.
    #[serde(default)]
    pub target_id: Option<String>,
    /// The end, in the future; null for a mute that lasts until it is deleted.
    #[serde(default)]
    pub expires_at: Option<Timestamp>,
    /// One line.
    #[serde(default)]
    #[schema(max_length = 500)]
    pub reason: String,
    /// Whether a mute of an endpoint also ends when its incident is resolved.
    #[serde(default)]
    pub ends_on_recovery: bool,
}

/// A mute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Mute {
    pub id: MuteId,
    #[serde(flatten)]
    pub draft: MuteDraft,
    /// The name of its author.
    pub created_by: String,
    pub created_at: Timestamp,
    /// When it expired or was ended, by hand or by a recovery; null while it is in force.
    pub ended_at: Option<Timestamp>,
    /// Deliveries that it suppressed so far.
    pub stopped_deliveries: u32,
}

/// Mutes.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MuteList {
    pub data: Vec<Mute>,
    /// Always null: the list is complete.
    pub next_cursor: Option<String>,
}

/// Which mutes to list.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct MuteQuery {
    /// List the mutes that ended within the last 7 days, the last ended first (at most 1,000), instead of those in force.
    pub ended: bool,
}

/// A mute that was created.
#[derive(Debug, Serialize, ToSchema)]
pub struct MuteSaved {
    pub mute: Mute,
}

impl Response for MuteList {}

impl Response for MuteSaved {}

impl MuteDraft {
    fn of(mute: &mute::Mute) -> Self {
        let scope = match mute.scope {
            MuteScope::Global => Scope::Global,
            MuteScope::Endpoint(_) => Scope::Endpoint,
            MuteScope::Channel(_) => Scope::Channel,
        };
        Self {
            scope,
            target_id: mute.scope.target_id(),
            expires_at: mute.expires_at,
            reason: mute.reason.clone(),
            ends_on_recovery: mute.ends_on_recovery,
        }
    }

    fn scope(&self) -> std::result::Result<MuteScope, Violation> {
        let word = match self.scope {
            Scope::Global => "global",
            Scope::Endpoint => "endpoint",
            Scope::Channel => "channel",
        };
        MuteScope::parse(word, self.target_id.as_deref())
    }
}

impl Mute {
    fn of(record: &MuteRecord) -> Self {
        let MuteRecord { mute, ended_at, stopped_count } = record;
        Self {
            id: mute.id,
            draft: MuteDraft::of(mute),
            created_by: mute.created_by.name.clone(),
            created_at: mute.created_at,
            ended_at: *ended_at,
            stopped_deliveries: *stopped_count,
        }
    }
}

/// The mutes in force, oldest first, or those that ended.
///
/// # Errors
/// Those of the store.
pub async fn list(by: &Authorized<Read>, query: MuteQuery) -> Result<MuteList> {
    let filter = match query.ended {
        false => MuteFilter::InForce,
        true => MuteFilter::Ended { since: by.now().minus_ms(ENDED_MS), limit: ENDED_MAX },
    };
    let records = by.engine().mute_records(by.workspace_id(), filter).await?;
    Ok(MuteList { data: records.iter().map(Mute::of).collect(), next_cursor: None })
}

/// Creates a mute.
///
/// # Errors
/// [`AppError::Invalid`], and [`AppError::Quota`].
pub async fn create(by: &Authorized<Configure>, input: Input<MuteDraft>) -> Result<MuteSaved> {
    let plan = |view: &WorkspaceView, now| {
        quotas::check(by, view, Quota::Mutes, 1)?;
        let mute = validated(by, view, input.clone(), now)?;
        let created = audit(by, AuditVerb::Created, &mute, now);
        Ok::<_, AppError>(ConfigPlan { changes: vec![ConfigChange::PutMute(mute.clone()), created], value: mute })
    };
    let mute = by.engine().settings().update(by.workspace_id(), plan).await?;
    Ok(MuteSaved { mute: Mute::of(&MuteRecord { mute, ended_at: None, stopped_count: 0 }) })
}

/// Ends a mute.
///
/// # Errors
/// If there is no such mute.
pub async fn delete(by: &Authorized<Configure>, id: MuteId) -> Result<()> {
    let plan = |view: &WorkspaceView, now| {
        let mute = view.mutes.iter().find(|mute| mute.id == id).ok_or(AppError::not_found("mute"))?;
        let deleted = audit(by, AuditVerb::Deleted, mute, now);
        Ok::<_, AppError>(ConfigPlan { changes: vec![ConfigChange::EndMute(id, now), deleted], value: () })
    };
    by.engine().settings().update(by.workspace_id(), plan).await
}

/// The mute of a draft, if nothing is wrong with it.
fn validated(
    by: &Authorized<Configure>,
    view: &WorkspaceView,
    mut input: Input<MuteDraft>,
    now: Timestamp,
) -> Result<mute::Mute> {
    let is_of = |input: &Input<MuteDraft>, pointer| input.violations.iter().all(|found| found.pointer != pointer);
    // What is wrong with the scope says nothing about the target.
    let scope = if is_of(&input, "/scope") { input.value.scope() } else { Ok(MuteScope::Global) };
    let scope = scope.unwrap_or_else(|violation| {
        input.refuse([violation]);
        MuteScope::Global
    });
    let mute = new_mute(by, scope, &input.value, now);
    if is_of(&input, "/scope") && is_of(&input, "/targetId") {
        input.refuse(mute.violations());
    }
    let exists = match scope {
        MuteScope::Global => true,
        MuteScope::Endpoint(id) => view.endpoint(id).is_some(),
        MuteScope::Channel(id) => view.channel(id).is_some(),
    };
    if !exists {
        input.refuse_field("/targetId", "there is no such endpoint or channel in this workspace");
    }
    input.finish()?;
    Ok(mute)
}

/// A mute that begins now.
pub(crate) fn new_mute(by: &Authorized<Configure>, scope: MuteScope, draft: &MuteDraft, now: Timestamp) -> mute::Mute {
    mute::Mute {
        id: new_id(by.engine().clock(), now),
        workspace_id: by.workspace_id(),
        scope,
        expires_at: draft.expires_at,
        reason: draft.reason.clone(),
        created_by: by.actor().clone(),
        created_at: now,
        ends_on_recovery: draft.ends_on_recovery,
    }
}

/// The audit entry of a creation or an end.
pub(crate) fn audit(by: &Authorized<Configure>, verb: AuditVerb, mute: &mute::Mute, now: Timestamp) -> ConfigChange {
    let draft = MuteDraft::of(mute);
    let (before, after) = if verb == AuditVerb::Created { (None, Some(&draft)) } else { (Some(&draft), None) };
    let change = Change { id: mute.id.to_string(), name: &mute.reason, before, after };
    by.audit(AuditTarget::Mute.action(verb), &change, now, |_| {})
}

//! `/mutes`: suppress notifications of an endpoint, a channel or everything, with or without an end.

use serde::{Deserialize, Serialize};
use tidings_domain::audit::{AuditTarget, AuditVerb};
use tidings_domain::id::MuteId;
use tidings_domain::mute::{self, MuteScope};
use tidings_domain::time::Timestamp;
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MuteScopeName {
    /// Everything in the workspace.
    Global,
    /// Events of one endpoint, through all channels.
    Endpoint,
    /// Everything through one channel.
    Channel,
}

/// The body of a creation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({"scope": "global", "expiresAt": "2026-05-02T15:00:00Z", "reason": "db upgrade"}))]
pub struct MuteDraft {
    pub scope: MuteScopeName,
    /// The id of the endpoint or channel; null for everything.
    #[serde(default)]
    pub target_id: Option<String>,
    /// When it ends; null if it lasts until it is ended.
    #[serde(default)]
    pub expires_at: Option<Timestamp>,
    /// Shown where something was muted: one line of at most 500 characters.
    #[serde(default)]
    #[schema(max_length = 500)]
    pub reason: String,
    /// Whether a mute of an endpoint also ends when an incident of it is resolved.
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
    /// The name of who created it, at that time.
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

/// A mute that was created.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MuteSaved {
    pub mute: Mute,
}

/// Which mutes to list.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct MuteQuery {
    /// List the mutes that ended within the last 7 days, the last ended first (at most 1,000), instead of those in force.
    pub ended: bool,
}

impl Response for MuteList {}

impl Response for MuteSaved {}

impl MuteDraft {
    fn of(mute: &mute::Mute) -> Self {
        Self {
            scope: match mute.scope {
                MuteScope::Global => MuteScopeName::Global,
                MuteScope::Endpoint(_) => MuteScopeName::Endpoint,
                MuteScope::Channel(_) => MuteScopeName::Channel,
            },
            target_id: mute.scope.target_id(),
            expires_at: mute.expires_at,
            reason: mute.reason.clone(),
            ends_on_recovery: mute.ends_on_recovery,
        }
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
    let settings = by.engine().settings();
    let plan = |view: &WorkspaceView, now| {
        quotas::check(by, view, Quota::Mutes, 1)?;
        let mute = validated(by, view, input.clone(), now)?;
        let (id, after) = (mute.id.to_string(), MuteDraft::of(&mute));
        let change = Change { id, name: &mute.reason, before: None, after: Some(&after) };
        let created = by.audit(AuditTarget::Mute.action(AuditVerb::Created), &change, now, |_| {});
        Ok::<_, AppError>(ConfigPlan { changes: vec![ConfigChange::PutMute(mute.clone()), created], value: mute })
    };
    let mute = settings.update(by.workspace_id(), plan).await?;
    Ok(MuteSaved { mute: Mute::of(&MuteRecord { mute, ended_at: None, stopped_count: 0 }) })
}

/// Ends a mute.
///
/// # Errors
/// If there is no such mute, or if it has ended.
pub async fn end(by: &Authorized<Configure>, id: MuteId) -> Result<()> {
    let settings = by.engine().settings();
    let plan = |view: &WorkspaceView, now| {
        let mute = view.mutes.iter().find(|mute| mute.id == id).ok_or(AppError::not_found("mute"))?;
        let before = MuteDraft::of(mute);
        let change = Change { id: id.to_string(), name: &mute.reason, before: Some(&before), after: None };
        let ended = by.audit(AuditTarget::Mute.action(AuditVerb::Deleted), &change, now, |_| {});
        Ok(ConfigPlan { changes: vec![ConfigChange::EndMute(id, now), ended], value: () })
    };
    settings.update(by.workspace_id(), plan).await
}

/// The mute to store, if nothing is wrong with the input.
fn validated(
    by: &Authorized<Configure>,
    view: &WorkspaceView,
    mut input: Input<MuteDraft>,
    now: Timestamp,
) -> Result<mute::Mute> {
    let draft = &input.value;
    let name = match draft.scope {
        MuteScopeName::Global => "global",
        MuteScopeName::Endpoint => "endpoint",
        MuteScopeName::Channel => "channel",
    };
    let scope = MuteScope::parse(name, draft.target_id.as_deref());
    let mute = mute::Mute {
        id: new_id(by.engine().clock(), now),
        workspace_id: by.workspace_id(),
        scope: scope.clone().unwrap_or(MuteScope::Global),
        expires_at: draft.expires_at,
        reason: draft.reason.clone(),
        created_by: by.actor().clone(),
        created_at: now,
        // Of a target that is wrong it is not known whether it recovers.
        ends_on_recovery: draft.ends_on_recovery && scope.is_ok(),
    };
    match scope {
        Err(violation) => input.refuse([violation]),
        Ok(scope) if !target_exists(view, scope) => {
            input.refuse_field("/targetId", "there is no such endpoint or channel in this workspace");
        }
        Ok(_) => {}
    }
    input.refuse(mute.violations());
    input.finish()?;
    Ok(mute)
}

fn target_exists(view: &WorkspaceView, scope: MuteScope) -> bool {
    match scope {
        MuteScope::Global => true,
        MuteScope::Endpoint(id) => view.endpoint(id).is_some(),
        MuteScope::Channel(id) => view.channel(id).is_some(),
    }
}

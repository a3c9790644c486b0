//! Quotas: how many of each thing a workspace may have. Every operation that makes something checks its quota here.

use serde::Serialize;
use tidings_domain::resource::{ResourceSelector, ResourceType};
use tidings_domain::time::Timestamp;
use tidings_engine::settings::SettingsLimits;
use tidings_engine::snapshot::WorkspaceView;
use utoipa::ToSchema;

use crate::error::{AppError, Result};
use crate::principal::{Authorized, Read};
use crate::response::Response;

/// What is limited and counted in the configuration of a workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quota {
    /// Channels that rules share.
    SharedChannels,
    /// Mutes that have not ended.
    Mutes,
    InboundWebhooks,
    Endpoints,
    /// Channels that belong to one rule each.
    PrivateChannels,
    Rules,
}

/// The plural of members, with those who are invited.
pub(crate) const MEMBERS: &str = "members";
/// The plural of API keys.
pub(crate) const API_KEYS: &str = "API keys";

impl Quota {
    /// Every quota.
    pub const ALL: [Self; 6] =
        [Self::SharedChannels, Self::PrivateChannels, Self::Rules, Self::Endpoints, Self::Mutes, Self::InboundWebhooks];

    /// The plural, for messages.
    const fn what(self) -> &'static str {
        match self {
            Self::SharedChannels => "shared channels",
            Self::Mutes => "mutes",
            Self::InboundWebhooks => "inbound webhooks",
            Self::Endpoints => "endpoints",
            Self::PrivateChannels => "private channels",
            Self::Rules => "rules",
        }
    }

    const fn max(self, limits: &SettingsLimits) -> u32 {
        match self {
            Self::SharedChannels => limits.channels_max,
            Self::Mutes => limits.mutes_max,
            Self::InboundWebhooks => limits.inbound_webhooks_max,
            Self::Endpoints => limits.endpoints_max,
            Self::PrivateChannels => limits.private_channels_max,
            Self::Rules => limits.rules_max,
        }
    }

    fn count(self, view: &WorkspaceView, now: Timestamp) -> usize {
        match self {
            Self::SharedChannels => view.channels().filter(|loaded| loaded.is_shared()).count(),
            Self::Mutes => view.mutes.iter().filter(|mute| mute.is_active(now)).count(),
            Self::InboundWebhooks => view.inbound_webhooks.len(),
            Self::Endpoints => view.endpoints_shared().len(),
            Self::PrivateChannels => view.channels().filter(|loaded| !loaded.is_shared()).count(),
            Self::Rules => view.rules().count(),
        }
    }
}

/// How much of a quota is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct QuotaUse {
    pub used: u32,
    pub max: u32,
}

/// One quota of a workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NamedQuota {
    /// What is limited, such as `shared_channels`.
    pub name: String,
    #[serde(flatten)]
    pub usage: QuotaUse,
}

/// Every quota of a workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct QuotaList {
    pub data: Vec<NamedQuota>,
    /// Always null: the list is complete.
    pub next_cursor: Option<String>,
}

impl Response for QuotaList {}

/// Every quota.
///
/// # Errors
/// Those of the store.
pub async fn list(by: &Authorized<Read>) -> Result<QuotaList> {
    let view = by.view()?;
    let mut found: Vec<_> = Quota::ALL.into_iter().map(|quota| (quota.what(), used(by, &view, quota))).collect();
    found.push((MEMBERS, members(by).await?));
    found.push((API_KEYS, api_keys(by).await?));
    let name = |what: &str| what.to_lowercase().replace(' ', "_");
    let data = found.into_iter().map(|(what, usage)| NamedQuota { name: name(what), usage }).collect();
    Ok(QuotaList { data, next_cursor: None })
}

/// Members, and those who are invited: otherwise accepting an invitation could fail.
pub(crate) async fn members<P>(by: &Authorized<P>) -> Result<QuotaUse> {
    let store = by.engine().accounts();
    let members = store.members(by.workspace_id()).await?.len();
    let invited = store.invitations(by.workspace_id(), by.now()).await?.len();
    let used = u32::try_from(members + invited).unwrap_or(u32::MAX);
    Ok(QuotaUse { used, max: by.engine().settings().limits().members_max })
}

pub(crate) async fn api_keys<P>(by: &Authorized<P>) -> Result<QuotaUse> {
    let used = by.engine().accounts().api_keys(by.workspace_id()).await?.len();
    let used = u32::try_from(used).unwrap_or(u32::MAX);
    Ok(QuotaUse { used, max: by.engine().settings().limits().api_keys_max })
}

impl QuotaUse {
    /// Checks that there may be `more` of `what`.
    ///
    /// # Errors
    /// [`AppError::Quota`].
    pub(crate) fn check(self, what: &'static str, more: u32) -> Result<()> {
        let Self { used, max } = self;
        if used.saturating_add(more) > max { Err(AppError::Quota { what, used, max }) } else { Ok(()) }
    }
}

/// How much of a quota is used.
pub fn used<P>(by: &Authorized<P>, view: &WorkspaceView, quota: Quota) -> QuotaUse {
    let used = u32::try_from(quota.count(view, by.now())).unwrap_or(u32::MAX);
    QuotaUse { used, max: quota.max(&by.engine().settings().limits()) }
}

/// Checks that there may be `more` of them.
///
/// # Errors
/// [`AppError::Quota`].
pub fn check<P>(by: &Authorized<P>, view: &WorkspaceView, quota: Quota, more: u32) -> Result<()> {
    used(by, view, quota).check(quota.what(), more)
}

/// Checks that there may be `more` rules of the selected resources: in the workspace, and that can match one event.
///
/// # Errors
/// [`AppError::Quota`].
pub fn check_new_rules<P>(
    by: &Authorized<P>,
    view: &WorkspaceView,
    resource_type: ResourceType,
    selector: &ResourceSelector,
    more: u32,
) -> Result<()> {
    check(by, view, Quota::Rules, more)?;
    let used = u32::try_from(view.most_rules_of(resource_type, selector)).unwrap_or(u32::MAX);
    let max = by.engine().settings().limits().matching_rules_max;
    let what = "rules that match one event";
    if used.saturating_add(more) > max { Err(AppError::Quota { what, used, max }) } else { Ok(()) }
}

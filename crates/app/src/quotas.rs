//! Quotas: how many of each thing a workspace may have. Every operation that makes something checks its quota here.

use serde::Serialize;
use tidings_engine::settings::SettingsLimits;
use tidings_engine::snapshot::WorkspaceView;
use utoipa::ToSchema;

use crate::error::{AppError, Result};
use crate::principal::Authorized;

/// What is limited and counted in the configuration of a workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quota {
    /// Channels that rules share.
    SharedChannels,
}

impl Quota {
    /// Every quota.
    pub const ALL: [Self; 1] = [Self::SharedChannels];

    /// The plural, for messages.
    const fn what(self) -> &'static str {
        match self {
            Self::SharedChannels => "shared channels",
        }
    }

    const fn max(self, limits: &SettingsLimits) -> u32 {
        match self {
            Self::SharedChannels => limits.channels_max,
        }
    }

    fn count(self, view: &WorkspaceView) -> usize {
        match self {
            Self::SharedChannels => view.channels().filter(|loaded| loaded.is_shared()).count(),
        }
    }
}

/// How much of a quota is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct QuotaUse {
    pub used: u32,
    pub max: u32,
}

/// How much of a quota is used.
pub fn used<P>(by: &Authorized<P>, view: &WorkspaceView, quota: Quota) -> QuotaUse {
    let used = u32::try_from(quota.count(view)).unwrap_or(u32::MAX);
    QuotaUse { used, max: quota.max(&by.engine().settings().limits()) }
}

/// Checks that there may be `more` of them.
///
/// # Errors
/// [`AppError::Quota`].
pub fn check<P>(by: &Authorized<P>, view: &WorkspaceView, quota: Quota, more: u32) -> Result<()> {
    let QuotaUse { used, max } = used(by, view, quota);
    if used.saturating_add(more) > max { Err(AppError::Quota { what: quota.what(), used, max }) } else { Ok(()) }
}

//! `/overview`: the counts of a workspace that say what is wrong now.

use serde::Serialize;
use tidings_domain::check::CheckStatus;
use tidings_domain::id::ChannelId;
use tidings_domain::severity::Severity;
use tidings_domain::time::Timestamp;
use tidings_engine::EngineError;
use tidings_store::insights::{Activity, ActivityFilter, AttentionCounts};
use utoipa::ToSchema;

use crate::error::Result;
use crate::principal::{Authorized, Read};
use crate::response::Response;

const DAY_MS: u64 = 86_400_000;
/// Where counting stops, so that it costs the same however long a backlog is.
const COUNT_MAX: u32 = 1_000;

/// The counts of a workspace.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Overview {
    pub at: Timestamp,
    /// Active incidents.
    pub incidents: IncidentCounts,
    pub endpoints: EndpointsNow,
    /// Shared channels.
    pub channels: ChannelCounts,
    /// Deliveries of all channels, private ones included; tests do not count.
    pub deliveries: DeliveriesNow,
    /// What ended within the last 24 hours, by minutes: up to some seconds ago.
    pub last_24_hours: DayCounts,
}

/// Active incidents. One may be counted both by its severity and as acknowledged.
#[derive(Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct IncidentCounts {
    pub active: Count,
    pub critical: u32,
    pub warning: u32,
    pub info: u32,
    pub acknowledged: u32,
}

/// Endpoints by the status of their last check.
#[derive(Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EndpointsNow {
    pub total: u32,
    pub healthy: u32,
    pub degraded: u32,
    pub down: u32,
    pub inconclusive: u32,
    /// Enabled, but not checked yet.
    pub pending: u32,
    pub paused: u32,
}

/// Shared channels. A channel may be counted several times.
#[derive(Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChannelCounts {
    pub total: u32,
    /// Their last test succeeded.
    pub connected: u32,
    /// Their last test failed.
    pub not_connected: u32,
    /// They were never tested.
    pub untested: u32,
    pub disabled: u32,
    /// Enabled, and their last live attempt failed.
    pub failing: u32,
    /// Their receiver limits the rate, and wants no attempt now.
    pub paused: u32,
}

/// Deliveries that deserve attention.
#[derive(Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeliveriesNow {
    /// Those that are failed, and failed within the last 24 hours.
    pub failed: Count,
    /// They wait for an attempt.
    pub pending: Count,
    /// Gates hold them back.
    pub held: Count,
}

/// A number up to 1,000.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Count {
    pub count: u32,
    /// Whether there are more, which are not counted.
    pub is_more: bool,
}

/// What ended within a day. A delivery that was resent counts each time that it was settled.
#[derive(Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DayCounts {
    pub runs_succeeded: u64,
    pub runs_failed: u64,
    pub sent: u64,
    pub failed: u64,
    pub suppressed: u64,
    pub skipped: u64,
}

impl Response for Overview {}

impl Count {
    fn up_to_max(count: u32) -> Self {
        Self { count: count.min(COUNT_MAX), is_more: count > COUNT_MAX }
    }
}

/// The counts of a workspace.
///
/// # Errors
/// Those of history reads.
pub async fn overview(by: &Authorized<Read>) -> Result<Overview> {
    let (view, now) = (by.view()?, by.now());
    let (engine, yesterday) = (by.engine(), now.minus_ms(DAY_MS));
    let all: Vec<ChannelId> = view.channels().map(|loaded| loaded.channel.id).collect();
    let attention = engine.store().attention(by.workspace_id(), all, yesterday, COUNT_MAX + 1);
    // The current minute included, also at its first millisecond.
    let until = now.plus_ms(1);
    let filter = ActivityFilter { since: yesterday, until, is_up_to_date: false, minutes: 1_440 };
    let AttentionCounts { failed, pending, held, incidents } = attention.await.map_err(EngineError::from)?;
    let activity = engine.store().activity(by.workspace_id(), filter).await.map_err(EngineError::from)?;

    let mut overview = Overview {
        at: now,
        incidents: IncidentCounts::default(),
        endpoints: EndpointsNow::default(),
        channels: ChannelCounts::default(),
        deliveries: DeliveriesNow {
            failed: Count::up_to_max(failed),
            pending: Count::up_to_max(pending),
            held: Count::up_to_max(held),
        },
        last_24_hours: activity.iter().fold(DayCounts::default(), |sum, (_, more)| sum.plus(more)),
    };
    for (severity, is_acknowledged, count) in &incidents {
        overview.incidents.add(*severity, *is_acknowledged, *count);
    }
    overview.incidents.active = Count::up_to_max(incidents.iter().map(|(.., count)| count).sum());
    let statuses = engine.check_statuses(view.endpoints().map(|loaded| loaded.endpoint.id));
    for (loaded, status) in view.endpoints().zip(statuses) {
        overview.endpoints.add(loaded.endpoint.enabled, status);
    }
    for loaded in view.channels().filter(|loaded| loaded.is_shared()) {
        let (channel, health) = (&loaded.channel, engine.queue().health(loaded.channel.id));
        let counts = &mut overview.channels;
        counts.total += 1;
        match channel.connectivity.is_connected {
            Some(true) => counts.connected += 1,
            Some(false) => counts.not_connected += 1,
            None => counts.untested += 1,
        }
        counts.disabled += u32::from(!channel.enabled);
        counts.failing += u32::from(channel.enabled && health.failing_since.is_some());
        counts.paused += u32::from(health.paused_until.is_some());
    }
    Ok(overview)
}

impl IncidentCounts {
    fn add(&mut self, severity: Severity, is_acknowledged: bool, count: u32) {
        match severity {
            Severity::Critical => self.critical += count,
            Severity::Warning => self.warning += count,
            Severity::Info | Severity::Success => self.info += count,
        }
        self.acknowledged += if is_acknowledged { count } else { 0 };
    }
}

impl EndpointsNow {
    fn add(&mut self, is_enabled: bool, status: Option<CheckStatus>) {
        self.total += 1;
        let count = match status {
            _ if !is_enabled => &mut self.paused,
            None => &mut self.pending,
            Some(CheckStatus::Healthy) => &mut self.healthy,
            Some(CheckStatus::Degraded) => &mut self.degraded,
            Some(CheckStatus::Down) => &mut self.down,
            Some(CheckStatus::Inconclusive) => &mut self.inconclusive,
        };
        *count += 1;
    }
}

impl DayCounts {
    fn plus(self, more: &Activity) -> Self {
        Self {
            runs_succeeded: self.runs_succeeded + more.runs_succeeded,
            runs_failed: self.runs_failed + more.runs_failed,
            sent: self.sent + more.sent,
            failed: self.failed + more.failed,
            suppressed: self.suppressed + more.suppressed,
            skipped: self.skipped + more.skipped,
        }
    }
}

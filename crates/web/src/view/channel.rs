//! Channels in responses. Their secrets are masked already: settings hold previews only.

use axum::response::Response;
use http::StatusCode;
use serde::Serialize;
use serde_json::{Map, Value};
use tidings_domain::channel::EventFilters;
use tidings_domain::id::ChannelId;
use tidings_domain::quiet_hours::QuietHours;
use tidings_domain::rate_limit::RateLimit;
use tidings_domain::time::Timestamp;
use tidings_engine::ChannelQuota;
use tidings_engine::queue::Health;
use tidings_engine::settings::Committed;

use crate::page::List;
use crate::response::{expose_once, json, no_store};
use crate::revision::with_etag;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Channel<'a> {
    id: ChannelId,
    name: &'a str,
    #[serde(rename = "type")]
    channel_type: &'a str,
    config: &'a Map<String, Value>,
    enabled: bool,
    disabled_reason: Option<&'a str>,
    severity_filter: &'a str,
    event_filters: EventFilters,
    delivery_priority: &'a str,
    quiet_hours: Option<&'a QuietHours>,
    rate_limit: Option<RateLimit>,
    retry_on_failure: bool,
    retry_delays_seconds: Option<&'a [u32]>,
    timeout_ms: u32,
    is_connected: Option<bool>,
    last_tested_at: Option<Timestamp>,
    last_success_at: Option<Timestamp>,
    last_failure_at: Option<Timestamp>,
    paused_until: Option<Timestamp>,
    health: HealthView,
    revision: u32,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl<'a> Channel<'a> {
    /// A channel with the health of its live deliveries; tests do not count.
    pub(crate) fn of(channel: &'a tidings_domain::channel::Channel, health: Health) -> Self {
        let (policies, connectivity) = (&channel.policies, &channel.connectivity);
        Self {
            id: channel.id,
            name: &channel.name,
            channel_type: channel.channel_type.as_str(),
            config: &channel.settings,
            enabled: channel.enabled,
            disabled_reason: channel.disabled_reason.map(|reason| reason.as_str()),
            severity_filter: policies.severity_filter.as_str(),
            event_filters: policies.event_filters,
            delivery_priority: policies.delivery_priority.as_str(),
            quiet_hours: policies.quiet_hours.as_ref(),
            rate_limit: policies.rate_limit,
            retry_on_failure: policies.retry_on_failure,
            retry_delays_seconds: policies.retry_delays_seconds.as_deref(),
            timeout_ms: policies.timeout_ms,
            is_connected: connectivity.is_connected,
            last_tested_at: connectivity.last_tested_at,
            last_success_at: connectivity.last_success_at,
            last_failure_at: connectivity.last_failure_at,
            paused_until: health.paused_until,
            health: health.into(),
            revision: channel.revision,
            created_at: channel.created_at,
            updated_at: channel.updated_at,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HealthView {
    last_sent_at: Option<Timestamp>,
    last_failed_at: Option<Timestamp>,
    failing_since: Option<Timestamp>,
    success_rate: Option<f64>,
}

impl From<Health> for HealthView {
    fn from(health: Health) -> Self {
        let Health { last_sent_at, last_failed_at, failing_since, success_rate, paused_until: _ } = health;
        Self { last_sent_at, last_failed_at, failing_since, success_rate }
    }
}

/// The shared channels of a workspace and their quota.
#[derive(Serialize)]
pub(crate) struct Channels<'a> {
    #[serde(flatten)]
    list: List<Channel<'a>, ()>,
    quota: QuotaView,
}

#[derive(Serialize)]
struct QuotaView {
    used: u32,
    max: u32,
}

impl<'a> Channels<'a> {
    pub(crate) fn of(channels: Vec<Channel<'a>>, quota: ChannelQuota) -> Self {
        let ChannelQuota { used, max } = quota;
        Self { list: List::complete(channels), quota: QuotaView { used, max } }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ChannelResponse<'a> {
    channel: Channel<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signing_secret_once: Option<&'a str>,
}

/// The response to a write, with the signing secret if it was generated.
pub(crate) fn write_response(
    status: StatusCode,
    committed: &Committed<tidings_domain::channel::Channel>,
    health: Health,
) -> Response {
    let signing_secret_once = expose_once(&committed.signing_secret_once);
    let body = ChannelResponse { channel: Channel::of(&committed.value, health), signing_secret_once };
    with_etag(no_store(json(status, &body)), committed.value.revision)
}

/// The response to a read.
pub(crate) fn response(channel: &tidings_domain::channel::Channel, health: Health) -> Response {
    with_etag(json(StatusCode::OK, &Channel::of(channel, health)), channel.revision)
}

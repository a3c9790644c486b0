//! Channels as they are shown: secrets appear as masked previews.

use axum::response::Response;
use http::StatusCode;
use serde::Serialize;
use serde_json::{Map, Value};
use tidings_domain::id::ChannelId;
use tidings_domain::time::Timestamp;
use tidings_engine::settings::Written;

use crate::answer::{json, not_stored, shown_once};
use crate::revision::tagged;

/// A channel.
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
    retry_on_failure: bool,
    retry_delays_seconds: Option<&'a [u32]>,
    timeout_ms: u32,
    is_connected: Option<bool>,
    last_tested_at: Option<Timestamp>,
    last_success_at: Option<Timestamp>,
    last_failure_at: Option<Timestamp>,
    revision: u32,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl<'a> Channel<'a> {
    pub(crate) fn of(channel: &'a tidings_domain::channel::Channel) -> Self {
        let (policies, connectivity) = (&channel.policies, &channel.connectivity);
        Self {
            id: channel.id,
            name: &channel.name,
            channel_type: channel.channel_type.as_str(),
            config: &channel.settings,
            enabled: channel.enabled,
            disabled_reason: channel.disabled_reason.map(|reason| reason.as_str()),
            severity_filter: policies.severity_filter.as_str(),
            retry_on_failure: policies.retry_on_failure,
            retry_delays_seconds: policies.retry_delays_seconds.as_deref(),
            timeout_ms: policies.timeout_ms,
            is_connected: connectivity.is_connected,
            last_tested_at: connectivity.last_tested_at,
            last_success_at: connectivity.last_success_at,
            last_failure_at: connectivity.last_failure_at,
            revision: channel.revision,
            created_at: channel.created_at,
            updated_at: channel.updated_at,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    channel: Channel<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signing_secret_once: Option<&'a str>,
}

/// The answer to a write.
pub(crate) fn written(status: StatusCode, written: &Written<tidings_domain::channel::Channel>) -> Response {
    let signing_secret_once = shown_once(&written.signing_secret_once);
    let body = Body { channel: Channel::of(&written.value), signing_secret_once };
    tagged(not_stored(json(status, &body)), written.value.revision)
}

/// The answer that shows one.
pub(crate) fn shown(channel: &tidings_domain::channel::Channel) -> Response {
    tagged(json(StatusCode::OK, &Channel::of(channel)), channel.revision)
}

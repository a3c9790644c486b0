//! Rules in responses. A rule with its own channel has its inline fields, secrets masked.

use axum::response::Response;
use http::StatusCode;
use serde::Serialize;
use serde_json::{Map, Value};
use tidings_domain::id::{ChannelId, RuleId};
use tidings_domain::time::Timestamp;
use tidings_engine::settings::{Committed, RuleView};

use crate::api::inline;
use crate::response::{expose_once, json, no_store};
use crate::revision::with_etag;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Rule<'a> {
    id: RuleId,
    resource_type: &'a str,
    resource_id: &'a str,
    enabled: bool,
    paused: bool,
    triggers: Vec<&'a str>,
    trigger_types: Vec<&'a str>,
    failure_severity: &'a str,
    channel_type: &'a str,
    channel_id: ChannelId,
    channel_disabled_reason: Option<&'a str>,
    #[serde(flatten)]
    inline: Map<String, Value>,
    revision: u32,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl<'a> Rule<'a> {
    pub(crate) fn of(RuleView { rule, channel }: &'a RuleView) -> Self {
        Self {
            id: rule.id,
            resource_type: rule.resource_type.as_str(),
            resource_id: rule.resource.as_str(),
            enabled: rule.enabled,
            paused: rule.paused,
            triggers: rule.triggers.iter().map(|trigger| trigger.as_str()).collect(),
            trigger_types: rule.trigger_types.iter().map(|how| how.as_str()).collect(),
            failure_severity: rule.failure_severity.as_str(),
            channel_type: channel.channel_type.as_str(),
            channel_id: channel.id,
            channel_disabled_reason: channel.disabled_reason.map(|reason| reason.as_str()),
            inline: if channel.owner_rule_id.is_some() { inline::fields_of(channel) } else { Map::new() },
            revision: rule.revision,
            created_at: rule.created_at,
            updated_at: rule.updated_at,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RuleResponse<'a> {
    rule: Rule<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signing_secret_once: Option<&'a str>,
}

/// The response to a write, with the signing secret if it was generated.
pub(crate) fn write_response(status: StatusCode, committed: &Committed<RuleView>) -> Response {
    let signing_secret_once = expose_once(&committed.signing_secret_once);
    let body = RuleResponse { rule: Rule::of(&committed.value), signing_secret_once };
    with_etag(no_store(json(status, &body)), committed.value.rule.revision)
}

/// The response to a read.
pub(crate) fn response(view: &RuleView) -> Response {
    with_etag(json(StatusCode::OK, &Rule::of(view)), view.rule.revision)
}

//! Discord: a webhook that takes one embed.

mod classify;
mod config;
mod entries;
mod markdown;
mod render;

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, USER_AGENT};
use http::{Method, Request};
use http_body_util::Full;
use serde_json::{Map, Value};
use tidings_domain::channel::ChannelType;
use tidings_domain::time::Timestamp;
use tidings_domain::violation::Violations;
use url::Url;

use crate::config::{ChannelConfig, ChannelContext, ChannelPlugin, Field};
use crate::egress::{EgressTarget, HttpResponse};
use crate::http_channel::{HttpChannel, HttpNotifier, Secrets};
use crate::webhook::USER_AGENT_VALUE;
use crate::{AttemptResult, Notifier, OutboundMessage};

/// The Discord channel type.
pub struct Discord;

impl ChannelPlugin for Discord {
    fn channel_type(&self) -> ChannelType {
        ChannelType::Discord
    }

    fn fields(&self) -> &'static [Field] {
        config::FIELDS
    }

    fn check(
        &self,
        input: &Map<String, Value>,
        current: Option<&ChannelConfig>,
        context: &ChannelContext,
    ) -> Result<ChannelConfig, Violations> {
        config::check(input, current, context)
    }

    fn open(&self, stored: &ChannelConfig, context: &ChannelContext) -> Result<Arc<dyn Notifier>, String> {
        let channel = DiscordChannel::open(stored, context)?;
        Ok(Arc::new(HttpNotifier { channel, egress: context.egress.clone() }))
    }
}

/// The JSON of a message.
#[cfg(test)]
pub(crate) fn render_body(message: &tidings_domain::message::Message) -> Value {
    render::render(message)
}

/// An open Discord channel.
struct DiscordChannel {
    target: EgressTarget,
    shown_url: String,
    headers: HeaderMap,
    username: Option<String>,
    avatar_url: Option<String>,
    secrets: Secrets,
}

impl DiscordChannel {
    fn open(stored: &ChannelConfig, context: &ChannelContext) -> Result<Self, String> {
        let url = stored.secrets.get("webhookUrl").ok_or("no webhook URL is set")?;
        let url = Url::parse(url.expose()).map_err(|error| format!("the Discord webhook URL is invalid: {error}"))?;
        let text = |key| stored.settings.get(key).and_then(Value::as_str).map(str::to_owned);
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, USER_AGENT_VALUE);
        Ok(Self {
            target: context.egress.target(&url).map_err(|why| format!("the Discord webhook URL {why}"))?,
            shown_url: text("webhookUrl").unwrap_or_default(),
            headers,
            username: text("username"),
            avatar_url: text("avatarUrl"),
            secrets: Secrets::new(Secrets::of_url(&url).iter().map(String::as_str)),
        })
    }
}

impl DiscordChannel {
    fn post(&self, body: &Value) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(Bytes::from(body.to_string())));
        *request.method_mut() = Method::POST;
        *request.headers_mut() = self.headers.clone();
        request
    }
}

impl HttpChannel for DiscordChannel {
    fn target(&self) -> &EgressTarget {
        &self.target
    }

    fn shown_url(&self) -> &str {
        &self.shown_url
    }

    fn request(&self, message: &OutboundMessage<'_>) -> Result<Request<Full<Bytes>>, Box<AttemptResult>> {
        let mut body = render::render(&message.texts());
        for (key, value) in [("username", &self.username), ("avatar_url", &self.avatar_url)] {
            if let Some(value) = value {
                body[key] = Value::from(value.as_str());
            }
        }
        Ok(self.post(&body))
    }

    /// Without user name and avatar, too: the refused part may be one of them.
    fn simpler_request(
        &self,
        message: &OutboundMessage<'_>,
        response: &HttpResponse,
    ) -> Option<(Request<Full<Bytes>>, &'static str)> {
        let is_refused = classify::is_content_refusal(response);
        is_refused.then(|| (self.post(&render::render_plain(&message.texts())), "as plain text"))
    }

    fn classify_response(&self, response: &HttpResponse, now: Timestamp) -> AttemptResult {
        classify::classify_response(response, now)
    }

    fn secrets(&self) -> &Secrets {
        &self.secrets
    }
}

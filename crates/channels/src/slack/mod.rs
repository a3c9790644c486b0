//! Slack: an incoming webhook, or a bot token with a channel (`chat.postMessage`), which also threads an incident's
//! messages.

mod classify;
mod config;
mod entries;
mod mrkdwn;
mod render;
mod thread;

use std::sync::Arc;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, USER_AGENT};
use http::{Method, Request};
use http_body_util::Full;
use serde_json::{Map, Value};
use tidings_domain::channel::ChannelType;
use tidings_domain::event::EventKind;
use tidings_domain::time::Timestamp;
use tidings_domain::violation::Violations;
use url::Url;

use self::classify::Refusal;
use self::thread::ThreadRef;
use crate::config::{ChannelConfig, ChannelContext, ChannelPlugin, Field};
use crate::egress::{EgressTarget, HttpResponse};
use crate::http_channel::{HttpChannel, HttpNotifier, Secrets};
use crate::webhook::USER_AGENT_VALUE;
use crate::{AttemptResult, Notifier, OutboundMessage};

/// The Slack channel type.
pub struct Slack;

impl ChannelPlugin for Slack {
    fn channel_type(&self) -> ChannelType {
        ChannelType::Slack
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
        let channel = SlackChannel::open(stored, context)?;
        Ok(Arc::new(HttpNotifier { channel, egress: context.egress.clone() }))
    }
}

/// The JSON of a message.
#[cfg(test)]
pub(crate) fn render_body(message: &tidings_domain::message::Message) -> Value {
    render::render(message)
}

/// The method of Slack's Web API that posts a message.
const POST_MESSAGE: &str = "chat.postMessage";

/// An open Slack channel.
struct SlackChannel {
    target: EgressTarget,
    shown_url: String,
    headers: HeaderMap,
    /// Set with a bot token. An incoming webhook has a channel of its own, and cannot thread or change messages.
    bot: Option<Bot>,
    secrets: Secrets,
}

struct Bot {
    /// The configured channel, by id or name.
    channel: String,
    /// `chat.update`, which changes a posted message.
    update: EgressTarget,
}

impl SlackChannel {
    fn open(stored: &ChannelConfig, context: &ChannelContext) -> Result<Self, String> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
        headers.insert(USER_AGENT, USER_AGENT_VALUE);
        let mut secrets = Vec::new();
        let (target, bot) = match (stored.secrets.get("webhookUrl"), stored.secrets.get("botToken")) {
            (Some(url), _) => {
                let url =
                    Url::parse(url.expose()).map_err(|error| format!("the Slack webhook URL is invalid: {error}"))?;
                secrets.extend(Secrets::of_url(&url));
                (context.egress.target(&url).map_err(|why| format!("the Slack webhook URL {why}"))?, None)
            }
            (None, Some(token)) => {
                let mut bearer = HeaderValue::try_from(format!("Bearer {}", token.expose()))
                    .map_err(|_| "the bot token contains characters that a header cannot carry")?;
                bearer.set_sensitive(true);
                headers.insert(AUTHORIZATION, bearer);
                secrets.push(token.expose().to_owned());
                let method = |name: &str| {
                    let url = Url::parse(&format!("{}/{name}", context.slack_api_base));
                    let url = url.map_err(|error| format!("the instance's Slack API URL is invalid: {error}"))?;
                    let target = context.egress.trusted_target(&url);
                    target.map_err(|why| format!("the instance's Slack API URL {why}"))
                };
                let channel =
                    stored.settings.get("channel").and_then(Value::as_str).ok_or("no Slack channel is set")?;
                let bot = Bot { channel: channel.to_owned(), update: method("chat.update")? };
                (method(POST_MESSAGE)?, Some(bot))
            }
            (None, None) => return Err("neither a webhook URL nor a bot token is set".into()),
        };
        let shown_url = match &bot {
            Some(_) => format!("{}/{POST_MESSAGE}", context.slack_api_base),
            None => stored.settings.get("webhookUrl").and_then(Value::as_str).unwrap_or_default().to_owned(),
        };
        Ok(Self { target, shown_url, headers, bot, secrets: Secrets::new(secrets.iter().map(String::as_str)) })
    }
}

impl SlackChannel {
    /// The body with the configured channel, which an incoming webhook does not need.
    fn addressed(&self, mut body: Value) -> Value {
        if let Some(bot) = &self.bot {
            body["channel"] = Value::from(bot.channel.as_str());
        }
        body
    }

    /// The thread that the message belongs to.
    fn thread(&self, message: &OutboundMessage<'_>) -> Option<ThreadRef> {
        self.bot.as_ref()?;
        message.thread.and_then(ThreadRef::from_state)
    }

    fn post(&self, body: &Value) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(Bytes::from(body.to_string())));
        *request.method_mut() = Method::POST;
        *request.headers_mut() = self.headers.clone();
        request
    }
}

impl HttpChannel for SlackChannel {
    fn target(&self) -> &EgressTarget {
        &self.target
    }

    fn shown_url(&self) -> &str {
        &self.shown_url
    }

    fn request(&self, message: &OutboundMessage<'_>) -> Result<Request<Full<Bytes>>, Box<AttemptResult>> {
        let mut body = self.addressed(render::render(&message.texts()));
        if let Some(thread) = self.thread(message) {
            (body["channel"], body["thread_ts"]) = (thread.channel.into(), thread.ts.into());
        }
        Ok(self.post(&body))
    }

    /// A thread may have been deleted, or be in the channel that was configured then: the message goes to the channel. If
    /// Slack does not accept the blocks, it goes without them.
    fn simpler_request(
        &self,
        message: &OutboundMessage<'_>,
        response: &HttpResponse,
    ) -> Option<(Request<Full<Bytes>>, &'static str)> {
        let refusal = match self.bot {
            Some(_) => classify::api_refusal(response)?,
            None => classify::webhook_refusal(response)?,
        };
        match refusal {
            Refusal::Content => {
                Some((self.post(&self.addressed(render::render_plain(&message.texts()))), "as plain text"))
            }
            Refusal::Gone => {
                self.thread(message)?;
                Some((self.post(&self.addressed(render::render(&message.texts()))), "outside of its thread"))
            }
        }
    }

    /// When an incident is resolved, its first message is updated to show it.
    fn follow_up_request(&self, message: &OutboundMessage<'_>) -> Option<(&EgressTarget, Request<Full<Bytes>>)> {
        let bot = self.bot.as_ref().filter(|_| message.event.kind == EventKind::IncidentResolved)?;
        let thread = message.thread.and_then(ThreadRef::from_state)?;
        let mut body = render::render(&message.texts());
        (body["channel"], body["ts"]) = (thread.channel.into(), thread.ts.into());
        Some((&bot.update, self.post(&body)))
    }

    fn classify_response(&self, response: &HttpResponse, now: Timestamp) -> AttemptResult {
        if self.bot.is_some() {
            classify::classify_api_response(response, now)
        } else {
            classify::classify_webhook_response(response, now)
        }
    }

    fn secrets(&self) -> &Secrets {
        &self.secrets
    }
}

//! Slack: an incoming webhook, or a bot token and a channel (`chat.postMessage`), which also keeps incidents together.

mod config;
mod entries;
mod judge;
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
use tidings_domain::message;
use tidings_domain::time::Timestamp;
use tidings_domain::violation::Violations;
use url::Url;

use self::thread::Place;

use crate::config::{ChannelConfig, ChannelContext, ChannelPlugin, Field};
use crate::egress::{EgressTarget, HttpAnswer};
use crate::http_channel::{HttpChannel, HttpNotifier, Secrets};
use crate::webhook::USER_AGENT_VALUE;
use crate::{AttemptResult, Notifier, OutboundMessage};

/// The kind.
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
        environment: &ChannelContext,
    ) -> Result<ChannelConfig, Violations> {
        config::check(input, current, environment)
    }

    fn open(&self, stored: &ChannelConfig, environment: &ChannelContext) -> Result<Arc<dyn Notifier>, String> {
        let channel = Channel::open(stored, environment)?;
        Ok(Arc::new(HttpNotifier { channel, egress: environment.egress.clone() }))
    }
}

/// A place in Slack, ready to be written to.
struct Channel {
    target: EgressTarget,
    headers: HeaderMap,
    /// With a bot token; an incoming webhook has a channel of its own, and cannot come back to what it said.
    bot: Option<Bot>,
    secrets: Secrets,
}

/// What a bot token can do.
struct Bot {
    /// The channel to post to.
    channel: String,
    /// Where messages are changed that were posted before.
    update: EgressTarget,
}

impl Channel {
    fn open(stored: &ChannelConfig, environment: &ChannelContext) -> Result<Self, String> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
        headers.insert(USER_AGENT, USER_AGENT_VALUE);
        let mut secrets = Vec::new();
        let (target, bot) = match (stored.secrets.get("webhookUrl"), stored.secrets.get("botToken")) {
            (Some(url), _) => {
                let url = Url::parse(url.expose()).map_err(|error| format!("the Slack URL cannot be used: {error}"))?;
                secrets.extend(Secrets::of_url(&url));
                (environment.egress.target(&url).map_err(|why| format!("the Slack URL {why}"))?, None)
            }
            (None, Some(token)) => {
                let mut bearer = HeaderValue::try_from(format!("Bearer {}", token.expose()))
                    .map_err(|_| "the bot token cannot be sent in a header")?;
                bearer.set_sensitive(true);
                headers.insert(AUTHORIZATION, bearer);
                secrets.push(token.expose().to_owned());
                let method = |name: &str| {
                    let url = Url::parse(&format!("{}/{name}", environment.slack_api_base));
                    let url = url.map_err(|error| format!("the instance's Slack API address: {error}"))?;
                    let target = environment.egress.trusted_target(&url);
                    target.map_err(|why| format!("the instance's Slack API address {why}"))
                };
                let channel =
                    stored.settings.get("channel").and_then(Value::as_str).ok_or("no Slack channel is set")?;
                let bot = Bot { channel: channel.to_owned(), update: method("chat.update")? };
                (method("chat.postMessage")?, Some(bot))
            }
            (None, None) => return Err("neither a webhook URL nor a bot token is set".into()),
        };
        Ok(Self { target, headers, bot, secrets: Secrets::new(secrets.iter().map(String::as_str)) })
    }
}

impl Channel {
    fn post(&self, body: &Value) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(Bytes::from(body.to_string())));
        *request.method_mut() = Method::POST;
        *request.headers_mut() = self.headers.clone();
        request
    }
}

impl HttpChannel for Channel {
    fn target(&self) -> &EgressTarget {
        &self.target
    }

    fn request(&self, letter: &OutboundMessage<'_>) -> Result<Request<Full<Bytes>>, AttemptResult> {
        let mut body = render::message(&message::of(letter.event, letter.severity));
        if let Some(bot) = &self.bot {
            body["channel"] = Value::from(bot.channel.as_str());
            if let Some(place) = letter.thread.and_then(Place::read) {
                (body["channel"], body["thread_ts"]) = (place.channel.into(), place.ts.into());
            }
        }
        Ok(self.post(&body))
    }

    /// The first message of an incident says in the end that it is over.
    fn follow_up_request(&self, letter: &OutboundMessage<'_>) -> Option<(&EgressTarget, Request<Full<Bytes>>)> {
        let bot = self.bot.as_ref().filter(|_| letter.event.kind == EventKind::IncidentResolved)?;
        let place = letter.thread.and_then(Place::read)?;
        let mut body = render::message(&message::of(letter.event, letter.severity));
        (body["channel"], body["ts"]) = (place.channel.into(), place.ts.into());
        Some((&bot.update, self.post(&body)))
    }

    fn classify_response(&self, answer: &HttpAnswer, now: Timestamp) -> AttemptResult {
        if self.bot.is_some() { judge::api(answer, now) } else { judge::incoming(answer, now) }
    }

    fn secrets(&self) -> &Secrets {
        &self.secrets
    }
}

//! Slack: an incoming webhook, or a bot token and a channel (`chat.postMessage`).

mod config;
mod entries;
mod judge;
mod render;

use std::sync::Arc;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, USER_AGENT};
use http::{Method, Request};
use http_body_util::Full;
use serde_json::{Map, Value};
use tidings_domain::channel::ChannelType;
use tidings_domain::message;
use tidings_domain::time::Timestamp;
use tidings_domain::violation::Violations;
use url::Url;

use crate::config::{Environment, Field, Kind, Stored};
use crate::egress::{HttpAnswer, Target};
use crate::http_channel::{HttpChannel, OverHttp, Secrets};
use crate::webhook::USER_AGENT_VALUE;
use crate::{Destination, Letter, Report};

/// The kind.
pub struct Slack;

impl Kind for Slack {
    fn channel_type(&self) -> ChannelType {
        ChannelType::Slack
    }

    fn fields(&self) -> &'static [Field] {
        config::FIELDS
    }

    fn check(
        &self,
        input: &Map<String, Value>,
        current: Option<&Stored>,
        environment: &Environment,
    ) -> Result<Stored, Violations> {
        config::check(input, current, environment)
    }

    fn open(&self, stored: &Stored, environment: &Environment) -> Result<Arc<dyn Destination>, String> {
        let channel = Channel::open(stored, environment)?;
        Ok(Arc::new(OverHttp { channel, egress: environment.egress.clone() }))
    }
}

/// A place in Slack, ready to be written to.
struct Channel {
    target: Target,
    headers: HeaderMap,
    /// The channel to post to, with a bot token; an incoming webhook has its own.
    post_to: Option<String>,
    secrets: Secrets,
}

impl Channel {
    fn open(stored: &Stored, environment: &Environment) -> Result<Self, String> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
        headers.insert(USER_AGENT, USER_AGENT_VALUE);
        let mut secrets = Vec::new();
        let (target, post_to) = match (stored.secrets.get("webhookUrl"), stored.secrets.get("botToken")) {
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
                let api = format!("{}/chat.postMessage", environment.slack_api_base);
                let api = Url::parse(&api).map_err(|error| format!("the instance's Slack API address: {error}"))?;
                let channel =
                    stored.settings.get("channel").and_then(Value::as_str).ok_or("no Slack channel is set")?;
                let target = environment.egress.trusted_target(&api);
                (target.map_err(|why| format!("the instance's Slack API address {why}"))?, Some(channel.to_owned()))
            }
            (None, None) => return Err("neither a webhook URL nor a bot token is set".into()),
        };
        Ok(Self { target, headers, post_to, secrets: Secrets::new(secrets.iter().map(String::as_str)) })
    }
}

impl HttpChannel for Channel {
    fn target(&self) -> &Target {
        &self.target
    }

    fn request(&self, letter: &Letter<'_>) -> Result<Request<Full<Bytes>>, Report> {
        let mut body = render::message(&message::of(letter.event, letter.severity));
        if let Some(channel) = &self.post_to {
            body["channel"] = Value::from(channel.as_str());
        }
        let mut request = Request::new(Full::new(Bytes::from(body.to_string())));
        *request.method_mut() = Method::POST;
        *request.headers_mut() = self.headers.clone();
        Ok(request)
    }

    fn judge(&self, answer: &HttpAnswer, now: Timestamp) -> Report {
        if self.post_to.is_some() { judge::api(answer, now) } else { judge::incoming(answer, now) }
    }

    fn secrets(&self) -> &Secrets {
        &self.secrets
    }
}

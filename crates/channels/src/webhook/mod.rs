//! The webhook: a signed HTTP request with the contract's own body, or one that a template makes.
//!
//! The hot channel: [`ChannelPlugin::open`] parses, compiles and keys everything once, so that an attempt only fills in the
//! body and signs it.

mod config;
mod headers;
mod sandbox;
mod signing;
mod template;

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use http::{Method, Request};
use http_body_util::Full;
use serde_json::{Map, Value};
use tidings_domain::channel::ChannelType;
use tidings_domain::resource::ResourceType;
use tidings_domain::signature::Signer;
use tidings_domain::violation::Violations;
use tidings_domain::{delivery, message, payload};
use url::Url;

use crate::config::{ChannelConfig, ChannelContext, ChannelPlugin, Field};
use crate::egress::EgressTarget;
use crate::http_channel::{HttpChannel, HttpNotifier, Secrets};
use crate::{AttemptResult, ErrorClass, Notifier, OutboundMessage};
use template::Template;

pub use signing::{SIGNING_SECRET, rotate};

/// Who says it.
pub(crate) const USER_AGENT_VALUE: HeaderValue =
    HeaderValue::from_static(concat!("Tidings/", env!("CARGO_PKG_VERSION")));

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// The kind.
pub struct Webhook;

impl ChannelPlugin for Webhook {
    fn channel_type(&self) -> ChannelType {
        ChannelType::Webhook
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

/// A webhook, ready to send.
struct Channel {
    target: EgressTarget,
    method: Method,
    /// The receiver's own headers and those of ours that never change.
    headers: HeaderMap,
    template: Option<Template>,
    signer: Signer,
    names: VendorHeaders,
    secrets: Secrets,
}

/// The vendor schemes' headers, by the instance's prefixes.
struct VendorHeaders {
    run_signature: HeaderName,
    workflow_signature: HeaderName,
    workflow_event: HeaderName,
    workflow_webhook_id: HeaderName,
}

impl VendorHeaders {
    fn new(environment: &ChannelContext) -> Result<Self, String> {
        let name = |prefix: &str, end: &str| {
            HeaderName::try_from(format!("{prefix}-{end}"))
                .map_err(|_| format!("the instance's header prefix {prefix:?} makes no header name"))
        };
        let (runs, workflows) = (&environment.run_header_prefix, &environment.workflow_header_prefix);
        Ok(Self {
            run_signature: name(runs, "Signature")?,
            workflow_signature: name(workflows, "Signature")?,
            workflow_event: name(workflows, "Event")?,
            workflow_webhook_id: name(workflows, "Webhook-Id")?,
        })
    }
}

impl Channel {
    fn open(stored: &ChannelConfig, environment: &ChannelContext) -> Result<Self, String> {
        let url = stored.secrets.get("url").ok_or("the webhook has no url")?;
        let url = Url::parse(url.expose()).map_err(|error| format!("the webhook's url cannot be used: {error}"))?;
        let target = environment.egress.target(&url).map_err(|why| format!("the webhook's url {why}"))?;
        let text = |key| stored.settings.get(key).and_then(Value::as_str);
        let method = config::method(text("method").unwrap_or(config::METHOD_DEFAULT)).ok_or("the method is unknown")?;
        let own = headers::open(stored)?;
        let mut secrets = Secrets::of_url(&url);
        secrets.extend(own.values().filter_map(|value| value.to_str().ok()).map(str::to_owned));
        secrets.extend(signing::texts(stored));
        let mut headers = HeaderMap::with_capacity(own.len() + 10);
        headers.insert(CONTENT_TYPE, JSON);
        headers.insert(USER_AGENT, USER_AGENT_VALUE);
        headers.extend(own);
        Ok(Self {
            target,
            method,
            headers,
            template: text("bodyTemplate").map(Template::new).transpose()?,
            signer: signing::signer(stored)?,
            names: VendorHeaders::new(environment)?,
            secrets: Secrets::new(secrets.iter().map(String::as_str)),
        })
    }

    fn body(&self, letter: &OutboundMessage<'_>) -> Result<Vec<u8>, AttemptResult> {
        let message = || message::of(letter.event, letter.severity);
        let key = || delivery::idempotency_key(letter.event, ChannelType::Webhook, letter.rule_id);
        let plain = payload::body(letter.event, message, key);
        match &self.template {
            None => Ok(plain),
            Some(template) => template.render(&plain, &message()).map_err(|why| {
                AttemptResult::permanent_failure(ErrorClass::Configuration, format!("the body template failed: {why}"))
            }),
        }
    }

    fn sign(&self, headers: &mut HeaderMap, letter: &OutboundMessage<'_>, body: &[u8]) {
        let id = letter.delivery_id.to_string();
        let mut put = |name: &HeaderName, value: String| {
            // Ids, numbers, hex and base64 are header values, all of them.
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name.clone(), value);
            }
        };
        put(&WEBHOOK_SIGNATURE, self.signer.standard(&id, letter.now, body));
        put(&WEBHOOK_TIMESTAMP, letter.now.unix_seconds().to_string());
        put(&WEBHOOK_ID, id);
        match letter.event.resource_type {
            ResourceType::UseCase => {
                put(&self.names.workflow_signature, self.signer.timestamped_hex(letter.now, body));
                put(&self.names.workflow_event, payload::event_name(letter.event).to_owned());
                if let Some(rule_id) = letter.rule_id {
                    put(&self.names.workflow_webhook_id, rule_id.to_string());
                }
            }
            ResourceType::ScheduledQuery | ResourceType::Flow | ResourceType::Job => {
                put(&self.names.run_signature, self.signer.body_hex(body));
            }
            // No vendor before us had these: Standard Webhooks alone.
            ResourceType::Endpoint | ResourceType::Alert | ResourceType::Channel => {}
        }
    }
}

impl HttpChannel for Channel {
    fn target(&self) -> &EgressTarget {
        &self.target
    }

    fn request(&self, letter: &OutboundMessage<'_>) -> Result<Request<Full<Bytes>>, AttemptResult> {
        let body = self.body(letter)?;
        let mut headers = self.headers.clone();
        self.sign(&mut headers, letter, &body);
        let mut request = Request::new(Full::new(Bytes::from(body)));
        *request.method_mut() = self.method.clone();
        *request.headers_mut() = headers;
        Ok(request)
    }

    fn secrets(&self) -> &Secrets {
        &self.secrets
    }
}

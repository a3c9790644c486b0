//! Webhooks: a signed HTTP request whose body follows the documented contract or is made by a template.
//!
//! The busiest channel type: [`ChannelPlugin::open`] parses, compiles and derives everything once, so that an attempt
//! only renders the body and signs it.

mod config;
mod headers;
mod operands;
mod sandbox;
mod signing;
mod template;
mod values;

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use http::{Method, Request};
use http_body_util::Full;
use serde_json::{Map, Value};
use tidings_domain::channel::ChannelType;
use tidings_domain::event::EventKind;
use tidings_domain::resource::ResourceType;
use tidings_domain::signature::Signer;
use tidings_domain::violation::Violations;
use tidings_domain::{delivery, payload};
use url::Url;

use crate::config::{ChannelConfig, ChannelContext, ChannelPlugin, Field};
use crate::egress::EgressTarget;
use crate::http_channel::{AttemptNote, HttpChannel, HttpNotifier, Secrets};
use crate::{AttemptResult, ErrorClass, Notifier, OutboundMessage};
use template::Template;

pub use signing::{SIGNING_SECRET, rotate};

pub(crate) const USER_AGENT_VALUE: HeaderValue =
    HeaderValue::from_static(concat!("Tidings/", env!("CARGO_PKG_VERSION")));

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// The webhook channel type.
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
        context: &ChannelContext,
    ) -> Result<ChannelConfig, Violations> {
        config::check(input, current, context)
    }

    fn open(&self, stored: &ChannelConfig, context: &ChannelContext) -> Result<Arc<dyn Notifier>, String> {
        let channel = WebhookChannel::open(stored, context)?;
        Ok(Arc::new(HttpNotifier { channel, egress: context.egress.clone() }))
    }
}

/// An open webhook.
struct WebhookChannel {
    target: EgressTarget,
    shown_url: String,
    method: Method,
    /// The custom headers and the constant ones.
    headers: HeaderMap,
    /// The error: the stored template cannot be compiled any more.
    template: Option<Result<Template, String>>,
    signer: Signer,
    vendor_headers: VendorHeaders,
    secrets: Secrets,
}

/// Names of the vendor schemes' headers, with the instance's prefixes.
struct VendorHeaders {
    run_signature: HeaderName,
    workflow_signature: HeaderName,
    workflow_event: HeaderName,
    workflow_webhook_id: HeaderName,
}

impl VendorHeaders {
    fn new(context: &ChannelContext) -> Result<Self, String> {
        let name = |prefix: &str, end: &str| {
            HeaderName::try_from(format!("{prefix}-{end}"))
                .map_err(|_| format!("the instance's header prefix {prefix:?} is not valid in a header name"))
        };
        let (runs, workflows) = (&context.run_header_prefix, &context.workflow_header_prefix);
        Ok(Self {
            run_signature: name(runs, "Signature")?,
            workflow_signature: name(workflows, "Signature")?,
            workflow_event: name(workflows, "Event")?,
            workflow_webhook_id: name(workflows, "Webhook-Id")?,
        })
    }
}

impl WebhookChannel {
    fn open(stored: &ChannelConfig, context: &ChannelContext) -> Result<Self, String> {
        let url = stored.secrets.get("url").ok_or("the webhook has no url")?;
        let url = Url::parse(url.expose()).map_err(|error| format!("the webhook's url is invalid: {error}"))?;
        let tls = config::tls(stored)?;
        let target = context.egress.target_with_tls(&url, &tls).map_err(|why| format!("the webhook's url {why}"))?;
        let text = |key| stored.settings.get(key).and_then(Value::as_str);
        let method = config::method(text("method").unwrap_or(config::METHOD_DEFAULT)).ok_or("the method is unknown")?;
        let custom = headers::header_map(stored)?;
        let mut secrets = Secrets::of_url(&url);
        secrets.extend(custom.values().filter_map(|value| value.to_str().ok()).map(str::to_owned));
        secrets.extend(signing::secret_texts(stored));
        let mut headers = HeaderMap::with_capacity(custom.len() + 10);
        headers.insert(CONTENT_TYPE, JSON);
        headers.insert(USER_AGENT, USER_AGENT_VALUE);
        // After the defaults, so that a template's content type replaces ours.
        headers.extend(custom);
        Ok(Self {
            target,
            shown_url: text("url").unwrap_or_default().to_owned(),
            method,
            headers,
            template: text("bodyTemplate").map(Template::new),
            signer: signing::signer(stored)?,
            vendor_headers: VendorHeaders::new(context)?,
            secrets: Secrets::new(secrets.iter().map(String::as_str)),
        })
    }

    /// The body, and why it is the standard one if the template failed. A test reports that as its result: it
    /// shows whether the template works.
    fn body(&self, outbound: &OutboundMessage<'_>) -> Result<(Vec<u8>, Option<AttemptNote>), Box<AttemptResult>> {
        let message = || outbound.texts();
        let key = || {
            let OutboundMessage { event, rule_id, channel_id, .. } = *outbound;
            delivery::idempotency_key(event, ChannelType::Webhook, rule_id, channel_id)
        };
        let plain = payload::body(outbound.event, message, key);
        let rendered = match &self.template {
            None => return Ok((plain, None)),
            Some(Ok(template)) => template.render(&plain, &message()),
            Some(Err(why)) => Err(why.clone()),
        };
        match rendered {
            Ok(body) => Ok((body, None)),
            Err(why) if outbound.event.kind == EventKind::ChannelTest => {
                let error = format!("the body template failed: {why}");
                Err(Box::new(AttemptResult::permanent_failure(ErrorClass::Configuration, error)))
            }
            Err(why) => {
                let note = format!("the body template failed, so the standard body was sent: {why}");
                Ok((plain, Some(AttemptNote(note))))
            }
        }
    }

    /// Signs the bytes of the body as they are sent: receivers verify before they parse.
    fn sign(&self, headers: &mut HeaderMap, message: &OutboundMessage<'_>, body: &[u8]) {
        let id = message.delivery_id.to_string();
        let mut insert = |name: &HeaderName, value: String, is_signature: bool| {
            // Never fails: ids, numbers, hex and base64 are valid header values.
            if let Ok(mut value) = HeaderValue::try_from(value) {
                // Masked where the request is shown.
                value.set_sensitive(is_signature);
                headers.insert(name.clone(), value);
            }
        };
        insert(&WEBHOOK_SIGNATURE, self.signer.standard(&id, message.now, body), true);
        insert(&WEBHOOK_TIMESTAMP, message.now.unix_seconds().to_string(), false);
        insert(&WEBHOOK_ID, id, false);
        match message.event.resource_type {
            ResourceType::UseCase => {
                let headers = &self.vendor_headers;
                insert(&headers.workflow_signature, self.signer.timestamped_hex(message.now, body), true);
                insert(&headers.workflow_event, payload::event_name(message.event).to_owned(), false);
                if let Some(rule_id) = message.rule_id {
                    insert(&headers.workflow_webhook_id, rule_id.to_string(), false);
                }
            }
            ResourceType::ScheduledQuery | ResourceType::Flow | ResourceType::Job => {
                insert(&self.vendor_headers.run_signature, self.signer.body_hex(body), true);
            }
            // These have no vendor scheme to be compatible with: Standard Webhooks alone.
            ResourceType::Endpoint | ResourceType::Alert | ResourceType::Channel => {}
        }
    }
}

impl HttpChannel for WebhookChannel {
    fn target(&self) -> &EgressTarget {
        &self.target
    }

    fn shown_url(&self) -> &str {
        &self.shown_url
    }

    fn request(&self, message: &OutboundMessage<'_>) -> Result<Request<Full<Bytes>>, Box<AttemptResult>> {
        let (body, note) = self.body(message)?;
        let mut headers = self.headers.clone();
        if note.is_some() {
            headers.insert(CONTENT_TYPE, JSON);
        }
        if body.is_empty() {
            // hyper leaves it out where there is no body, and some receivers then refuse a POST (411).
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        self.sign(&mut headers, message, &body);
        let mut request = Request::new(Full::new(Bytes::from(body)));
        *request.method_mut() = self.method.clone();
        *request.headers_mut() = headers;
        if let Some(note) = note {
            request.extensions_mut().insert(note);
        }
        Ok(request)
    }

    fn ca_field(&self) -> Option<&'static str> {
        Some("tls.caCertificate")
    }

    fn secrets(&self) -> &Secrets {
        &self.secrets
    }
}

//! Webhooks on the wire, byte by byte, and their configuration.

use std::sync::Arc;

use serde_json::{Value, json};
use tidings_channels::egress::{Egress, Guard};
use tidings_channels::{
    AttemptResult, ChannelConfig, ChannelContext, ErrorClass, OutboundMessage, RateSignal, registry, webhook,
};
use tidings_domain::channel::ChannelType;
use tidings_domain::delivery::Outcome;
use tidings_domain::event::{Event, EventKind};
use tidings_domain::incident::IncidentTrigger;
use tidings_domain::resource::ResourceType;
use tidings_domain::secret::Secret;
use tidings_domain::signature::{Signer, verify_standard};

use crate::support::{NOW, Receiver, context, digest, failed, header, incident, loopback, message, stored};

const RETRY: Outcome = Outcome::Retry { after_ms: None };
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

fn secret() -> Secret {
    Secret::new(format!("whsec_{}", "ab".repeat(32)))
}

async fn deliver(config: Value, message: &OutboundMessage<'_>, context: &ChannelContext) -> AttemptResult {
    let stored = stored(ChannelType::Webhook, config, context);
    registry::plugin(ChannelType::Webhook).open(&stored, context).unwrap().deliver(message).await
}

async fn head_and_body(config: Value, event: &Event) -> (String, Vec<u8>) {
    let receiver = Receiver::answering(OK).await;
    let mut config = config;
    config["url"] = receiver.url().into();
    let result = deliver(config, &message(event), &context(loopback())).await;
    assert_eq!((result.is_delivered(), result.response_body.as_deref()), (true, Some("ok")), "{result:?}");
    receiver.request()
}

#[tokio::test]
async fn run_webhook_has_standard_and_vendor_signature() {
    for resource_type in [ResourceType::ScheduledQuery, ResourceType::Flow, ResourceType::Job] {
        let (head, body) = head_and_body(json!({}), &failed(resource_type)).await;
        assert!(head.starts_with("POST /hook HTTP/1.1\r\n"), "{head}");
        let get = |name| header(&head, name).unwrap_or_default();
        assert_eq!(get("content-type"), "application/json");
        assert_eq!(get("user-agent"), concat!("Tidings/", env!("CARGO_PKG_VERSION")));
        assert_eq!(get("webhook-id"), "dlv_03030303030303030303030303030303");
        assert_eq!(get("webhook-timestamp"), NOW.unix_seconds().to_string());
        let (id, at) = (get("webhook-id"), get("webhook-timestamp"));
        assert!(verify_standard(&secret(), id, at, &body, get("webhook-signature")));
        assert_eq!(get("x-mako-signature"), Signer::new(&secret(), None).body_hex(&body));
        for absent in ["x-magone-signature", "accept-encoding", "x-magone-event", "transfer-encoding"] {
            assert_eq!(header(&head, absent), None, "{absent}");
        }
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["resourceType"], resource_type.as_str());
    }
}

#[tokio::test]
async fn use_case_webhook_has_workflow_headers() {
    let (head, body) = head_and_body(json!({"method": "PUT"}), &failed(ResourceType::UseCase)).await;
    assert!(head.starts_with("PUT /hook"), "{head}");
    let get = |name| header(&head, name);
    assert_eq!(get("x-magone-signature"), Some(&*Signer::new(&secret(), None).timestamped_hex(NOW, &body)));
    assert_eq!(get("x-magone-event"), Some("workflow.failed"));
    assert_eq!(get("x-magone-webhook-id"), Some("rule_04040404040404040404040404040404"));
    assert_eq!(get("x-mako-signature"), None);
}

#[tokio::test]
async fn incident_and_digest_webhooks_have_standard_headers_only() {
    let events = [
        incident(ResourceType::Endpoint, IncidentTrigger::Opened),
        incident(ResourceType::Alert, IncidentTrigger::Resolved),
        digest(&["Production API is down"]),
    ];
    for (event, name) in events.iter().zip(["incident_opened", "incident_resolved", "digest"]) {
        let (head, body) = head_and_body(json!({}), event).await;
        let get = |name| header(&head, name).unwrap_or_default();
        let (id, at) = (get("webhook-id"), get("webhook-timestamp"));
        assert!(verify_standard(&secret(), id, at, &body, get("webhook-signature")));
        assert!(!head.to_lowercase().contains("\r\nx-"), "{head}");
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((&body["event"], &body["version"]), (&json!(name), &json!(1)));
        for key in ["title", "summary", "detail", "severity"] {
            assert!(body[key].as_str().is_some_and(|text| !text.is_empty()), "{name}: {key}");
        }
    }
}

#[tokio::test]
async fn channel_test_has_no_rule_header_and_prefixes_are_configurable() {
    let receiver = Receiver::answering(OK).await;
    let mut context = context(loopback());
    (context.run_header_prefix, context.workflow_header_prefix) = ("X-Acme".into(), "X-Umbrella".into());
    let event = failed(ResourceType::UseCase);
    let mut message = message(&event);
    message.rule_id = None;
    assert!(deliver(json!({"url": receiver.url()}), &message, &context).await.is_delivered());
    let (head, _) = receiver.request();
    assert_eq!(header(&head, "x-umbrella-event"), Some("workflow.failed"));
    assert_eq!((header(&head, "x-umbrella-webhook-id"), header(&head, "x-magone-event")), (None, None));
}

#[tokio::test]
async fn custom_headers_and_body_template_are_sent() {
    let config = json!({
        "headers": {"Authorization": "Bearer 0123456789", "Content-Type": "text/plain"},
        "bodyTemplate": "{{ title }}: {{ errorMessage }}"
    });
    let (head, body) = head_and_body(config, &failed(ResourceType::Flow)).await;
    assert_eq!(header(&head, "authorization"), Some("Bearer 0123456789"));
    assert_eq!(head.matches("content-type").count() + head.matches("Content-Type").count(), 1, "{head}");
    assert_eq!(header(&head, "content-type"), Some("text/plain"));
    assert_eq!(body, b"Daily revenue rollup failed: relation \"orders\" does not exist");
}

/// An event whose `output` is too long for a template that iterates over it.
pub fn with_long_output() -> Event {
    let mut event = failed(ResourceType::UseCase);
    event.kind = EventKind::WorkflowCompleted;
    event.trigger = tidings_domain::trigger::Trigger::Success;
    let list = serde_json::to_string(&json!({"list": vec![1; 20_000]})).unwrap();
    event.run_mut().output = Some(serde_json::value::RawValue::from_string(list).unwrap());
    event
}

pub fn iterating_template(url: &str) -> Value {
    let template = "{% for i in output.list %}{{ errorMessage }}{% endfor %}";
    json!({"url": url, "bodyTemplate": template, "headers": {"content-type": "text/plain"}})
}

#[tokio::test]
async fn failing_template_sends_the_standard_body_and_notes_why() {
    for (answer, outcome, error) in [
        (OK, Outcome::Delivered, None),
        ("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n", RETRY, Some("HTTP 400 Bad Request")),
    ] {
        let receiver = Receiver::answering(answer).await;
        let event = with_long_output();
        let result = deliver(iterating_template(&receiver.url()), &message(&event), &context(loopback())).await;
        assert_eq!((result.outcome, result.error.as_deref()), (outcome, error), "{result:?}");
        assert_eq!(
            result.note.as_deref(),
            Some("the body template failed, so the standard body was sent: it takes more than 50000 steps")
        );
        let (head, body) = receiver.request();
        assert_eq!(header(&head, "content-type"), Some("application/json"));
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["output"]["list"].as_array().unwrap().len(), 20_000);
        assert!(header(&head, "webhook-signature").unwrap().starts_with("v1,"));
    }
}

/// A test is sent to find out whether the channel works.
#[tokio::test]
async fn failing_template_fails_a_test() {
    let receiver = Receiver::answering(OK).await;
    let mut event = with_long_output();
    event.kind = EventKind::ChannelTest;
    let result = deliver(iterating_template(&receiver.url()), &message(&event), &context(loopback())).await;
    assert_eq!(
        (result.outcome, result.error_class),
        (Outcome::PermanentFailure, Some(ErrorClass::Configuration)),
        "{result:?}"
    );
    assert_eq!(result.error.as_deref(), Some("the body template failed: it takes more than 50000 steps"));
    assert_eq!(receiver.connections(), 0);
}

#[tokio::test]
async fn empty_body_has_a_content_length() {
    for method in ["POST", "PUT", "PATCH"] {
        let config =
            json!({"bodyTemplate": "{{ missing }}", "method": method, "headers": {"content-type": "text/plain"}});
        let (head, body) = head_and_body(config, &failed(ResourceType::Flow)).await;
        assert_eq!((header(&head, "content-length"), body.as_slice()), (Some("0"), &b""[..]), "{head}");
        assert_eq!(head.to_ascii_lowercase().matches("content-length").count(), 1, "{head}");
    }
}

#[tokio::test]
async fn retry_after_of_429_and_503_delays_retry() {
    let date = "Sat, 02 May 2026 04:01:12 GMT";
    for (status, value, after_ms) in [
        ("429 Too Many Requests", "7", Some(7_000)),
        ("503 Service Unavailable", "0", None),
        ("503 Service Unavailable", date, Some(59_655)),
        ("503 Service Unavailable", "Wed, 21 Oct 2015 07:28:00 GMT", None),
        ("503 Service Unavailable", "soon", None),
        ("429 Too Many Requests", "-5", None),
        ("429 Too Many Requests", "1.5", Some(1_500)),
        ("429 Too Many Requests", "99999999999999999999", Some(3_600_000)),
        ("500 Internal Server Error", "7", None),
    ] {
        let answer = format!("HTTP/1.1 {status}\r\nretry-after: {value}\r\ncontent-length: 0\r\n\r\n");
        let receiver = Receiver::answering(answer).await;
        let event = failed(ResourceType::Flow);
        let result = deliver(json!({"url": receiver.url()}), &message(&event), &context(loopback())).await;
        assert_eq!(result.outcome, Outcome::Retry { after_ms }, "{status} {value}");
        let is_refused = status.starts_with("429");
        assert_eq!(result.rate, is_refused.then_some(RateSignal::Refused { after_ms }), "{status} {value}");
    }
}

fn check(config: Value, current: Option<&ChannelConfig>) -> Result<ChannelConfig, Vec<String>> {
    let context = ChannelContext::new(Arc::new(Egress::new(Guard::default())));
    let plugin = registry::plugin(ChannelType::Webhook);
    let checked = plugin.check(config.as_object().unwrap(), current, &context);
    checked.map_err(|violations| violations.iter().map(ToString::to_string).collect())
}

#[test]
fn check_reserved_and_invalid_headers_are_refused() {
    for name in [
        "Host",
        "content-length",
        "Transfer-Encoding",
        "connection",
        "TE",
        "upgrade",
        "user-agent",
        "webhook-id",
        "Webhook-Signature",
        "webhook-anything",
        "X-Mako-Signature",
        "x-magone-signature",
        "X-MagOne-Event",
        "X-MagOne-Webhook-Id",
        "content-type",
        "expect",
        "bad name",
        "bad\nname",
        "",
        "ä",
    ] {
        let refused = check(json!({"url": "https://example.com", "headers": {name: "x"}}), None).unwrap_err();
        assert!(refused.len() == 1 && refused[0].starts_with("/headers/"), "{name}: {refused:?}");
    }
    for (headers, pointer) in [
        (json!({"x-a": "a\r\nx-b: c"}), "/headers/x-a"),
        (json!({"x-a": ""}), "/headers/x-a"),
        (json!({"x-a": 1}), "/headers/x-a"),
        (json!({"x-a": "x".repeat(1_025)}), "/headers/x-a"),
        (json!({"x-a": "1", "X-A": "2"}), "/headers/x-a"),
        (json!("x-a: b"), "/headers"),
        (Value::Object((0..21).map(|n| (format!("x-{n}"), json!("v"))).collect()), "/headers"),
    ] {
        let refused = check(json!({"url": "https://example.com", "headers": headers}), None).unwrap_err();
        assert!(refused.iter().any(|violation| violation.starts_with(pointer)), "{refused:?}");
    }
}

#[test]
fn check_edit_keeps_missing_fields() {
    let url = "https://example.com/hooks/abcdefghijklmnopqrst?key=1";
    let mut first =
        check(json!({"url": url, "method": "patch", "headers": {"X-A": "secret-a", "X-B": "secret-b"}}), None).unwrap();
    webhook::rotate(&mut first, secret(), 0, NOW);
    assert_eq!(
        Value::Object(first.settings.clone()),
        json!({
            "url": "https://example.com/hooks/abcd…?key=•••", "method": "PATCH",
            "headers": {"X-A": "•••", "X-B": "•••"}
        })
    );
    assert_eq!(check(json!({}), Some(&first)).as_ref(), Ok(&first), "an empty edit changes nothing");
    let shown = Value::Object(first.settings.clone());
    assert_eq!(check(shown, Some(&first)).as_ref(), Ok(&first), "what the API showed can be sent back");

    let edited = json!({"url": "", "method": null, "headers": {"x-a": "•••", "X-C": "secret-c"}});
    let edited = check(edited, Some(&first)).unwrap();
    assert_eq!(edited.secrets["url"], first.secrets["url"]);
    assert_eq!(edited.secrets["signingSecret"], first.secrets["signingSecret"]);
    assert_eq!(edited.settings["method"], "POST");
    assert_eq!(edited.secrets["headers"].expose(), r#"{"X-C":"secret-c","x-a":"secret-a"}"#);
    let cleared = check(json!({"headers": null}), Some(&first)).unwrap();
    assert_eq!(cleared.secrets.get("headers"), None);

    assert!(check(json!({"url": null}), Some(&first)).is_err());
    assert!(check(json!({"headers": {"X-D": "•••"}}), Some(&first)).is_err(), "a mask is not a value");
}

#[test]
fn check_stored_headers_are_not_sent_to_another_origin() {
    let own = json!({"url": "https://example.com/hook", "headers": {"X-A": "secret-a", "X-B": "secret-b"}});
    let mut first = check(own, None).unwrap();
    webhook::rotate(&mut first, secret(), 0, NOW);
    let reenter = |name: &str| format!("/headers/{name}: must be entered again, because the destination changed");
    for url in ["https://example.org/hook", "https://example.com:8443/hook"] {
        assert_eq!(check(json!({"url": url}), Some(&first)).unwrap_err(), [reenter("X-A"), reenter("X-B")], "{url}");
    }
    let elsewhere = "https://example.org/hook";
    let refused = check(json!({"url": elsewhere, "headers": {"x-a": "•••", "X-B": ""}}), Some(&first)).unwrap_err();
    assert_eq!(refused, [reenter("X-B"), reenter("x-a")]);
    let refused = check(json!({"url": elsewhere, "headers": {"X-A": "fresh", "X-B": "•••"}}), Some(&first));
    assert_eq!(refused.unwrap_err(), [reenter("X-B")]);

    let moved = check(json!({"url": elsewhere, "headers": {"X-A": "fresh"}}), Some(&first)).unwrap();
    assert_eq!(moved.secrets["headers"].expose(), r#"{"X-A":"fresh"}"#, "what is not listed is dropped");
    assert_eq!(moved.secrets["signingSecret"], first.secrets["signingSecret"]);
    assert!(check(json!({"url": elsewhere, "headers": null}), Some(&first)).is_ok());
    for same in ["https://EXAMPLE.com:443/other?key=1", ""] {
        let kept = check(json!({"url": same, "headers": {"X-A": "•••", "X-B": ""}}), Some(&first)).unwrap();
        assert_eq!(kept.secrets["headers"], first.secrets["headers"], "{same:?}");
        let kept = check(json!({"url": same}), Some(&first)).unwrap();
        assert_eq!(kept.secrets["headers"], first.secrets["headers"], "{same:?}");
    }
}

#[test]
fn check_tries_template_when_saved() {
    let with = |template: &str, headers: Value| {
        check(json!({"url": "https://example.com", "bodyTemplate": template, "headers": headers}), None)
    };
    for (template, message) in [
        (r#"{"text": "{{ title }}"}"#, "| tojson"),
        ("{{ title ~ title }}", "use [a, b] | join"),
        ("{{ title", "line 1"),
        ("{{ title | format }}", "unknown filter"),
    ] {
        let refused = with(template, json!({})).unwrap_err();
        assert!(refused.len() == 1 && refused[0].starts_with("/bodyTemplate: "), "{refused:?}");
        assert!(refused[0].contains(message), "{refused:?}");
    }
    let text = with("{{ title }}", json!({"Content-Type": "text/plain"})).unwrap();
    let plain = check(json!({"bodyTemplate": null}), Some(&text)).unwrap();
    assert_eq!(plain.secrets.get("headers"), None, "the content type goes with its template");
    assert!(check(json!({"url": "https://example.com", "headers": {"content-type": "text/plain"}}), None).is_err());
}

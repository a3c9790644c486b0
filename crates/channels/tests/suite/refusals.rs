//! Vendors that refuse a message for its form: it goes once more in a simpler one, within the same attempt.

use std::sync::Arc;

use serde_json::{Value, json};
use tidings_channels::{AttemptResult, Notifier, OutboundMessage, registry};
use tidings_domain::channel::ChannelType;
use tidings_domain::delivery::Outcome;
use tidings_domain::incident::IncidentTrigger;
use tidings_domain::resource::ResourceType;
use tokio::io::AsyncWriteExt as _;

use crate::conformance::context_for;
use crate::support::{Receiver, incident, loopback, message, read_request, stored};

/// Answers each request with what `answer` makes of its body: a status and a body.
async fn vendor(answer: fn(&Value) -> (&'static str, &'static str)) -> Receiver {
    Receiver::start(move |mut stream, _, log| async move {
        while let Some((head, body)) = read_request(&mut stream).await? {
            let (status, text) = answer(&serde_json::from_slice(&body).unwrap());
            log.lock().unwrap().push((head, body));
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{text}", text.len());
            stream.write_all(answer.as_bytes()).await?;
        }
        Ok(())
    })
    .await
}

fn opened(channel_type: ChannelType, vendor: &Receiver, config: Value) -> Arc<dyn Notifier> {
    let context = context_for(loopback(), &vendor.address.to_string());
    registry::plugin(channel_type).open(&stored(channel_type, config, &context), &context).unwrap()
}

async fn deliver(channel: &dyn Notifier, thread: Option<&str>) -> AttemptResult {
    let event = incident(ResourceType::Endpoint, IncidentTrigger::Worsened);
    channel.deliver(&OutboundMessage { thread, ..message(&event) }).await
}

fn bodies(vendor: &Receiver) -> Vec<Value> {
    vendor.requests.lock().unwrap().iter().map(|(_, body)| serde_json::from_slice(body).unwrap()).collect()
}

#[tokio::test]
async fn discord_embed_that_is_refused_is_sent_as_plain_text() {
    let vendor = vendor(|body| match body.get("embeds") {
        Some(_) => ("400 Bad Request", r#"{"message": "Invalid Form Body", "code": 50035}"#),
        None => ("204 No Content", ""),
    })
    .await;
    let config = json!({"webhookUrl": vendor.url(), "username": "Ops", "avatarUrl": "https://example.com/a.png"});
    let result = deliver(&*opened(ChannelType::Discord, &vendor, config), None).await;
    assert!(result.is_delivered(), "{result:?}");
    let note = result.note.unwrap();
    assert!(note.starts_with("sent as plain text, because") && note.ends_with("Invalid Form Body (50035)"), "{note}");
    let bodies = bodies(&vendor);
    assert_eq!(bodies.len(), 2);
    assert!(bodies[1]["content"].as_str().unwrap().contains("is down now"), "{}", bodies[1]);
    let keys: Vec<_> = bodies[1].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["allowed_mentions", "content"], "nothing that was optional");
}

#[tokio::test]
async fn slack_blocks_that_are_refused_are_sent_as_plain_text() {
    let vendor = vendor(|body| match body.get("blocks") {
        Some(_) => ("400 Bad Request", "invalid_blocks"),
        None => ("200 OK", "ok"),
    })
    .await;
    let result = deliver(&*opened(ChannelType::Slack, &vendor, json!({"webhookUrl": vendor.url()})), None).await;
    assert!(result.is_delivered() && result.note.unwrap().contains("invalid_blocks"));
    assert!(bodies(&vendor)[1]["text"].as_str().unwrap().contains("is down now"));
}

#[tokio::test]
async fn slack_thread_that_is_gone_does_not_cost_the_message() {
    let vendor = vendor(|body| match body.get("thread_ts") {
        Some(_) => ("200 OK", r#"{"ok":false,"error":"channel_not_found"}"#),
        None => ("200 OK", r#"{"ok":true,"channel":"C2","ts":"2.0","message":{}}"#),
    })
    .await;
    let channel = opened(ChannelType::Slack, &vendor, json!({"botToken": "xoxb-1234567890-abcdef", "channel": "#new"}));
    let result = deliver(&*channel, Some(r#"{"channel":"C1","ts":"1.0"}"#)).await;
    assert!(result.is_delivered() && result.note.unwrap().starts_with("sent outside of its thread"));
    let bodies = bodies(&vendor);
    assert_eq!((&bodies[0]["channel"], &bodies[1]["channel"]), (&json!("C1"), &json!("#new")));
    assert!(bodies[1].get("blocks").is_some());
}

#[tokio::test]
async fn plain_text_that_is_refused_as_well_ends_the_delivery() {
    let vendor = vendor(|_| ("400 Bad Request", "invalid_payload")).await;
    let result = deliver(&*opened(ChannelType::Slack, &vendor, json!({"webhookUrl": vendor.url()})), None).await;
    assert_eq!(result.outcome, Outcome::PermanentFailure);
    assert_eq!(bodies(&vendor).len(), 2, "once more, not again and again");
}

#[tokio::test]
async fn pages_of_proxies_are_retried_without_a_second_request() {
    let vendor = vendor(|_| ("403 Forbidden", "<html><title>Attention Required! | Cloudflare</title></html>")).await;
    for (channel_type, key) in [(ChannelType::Slack, "webhookUrl"), (ChannelType::Discord, "webhookUrl")] {
        let result = deliver(&*opened(channel_type, &vendor, json!({key: vendor.url()})), None).await;
        assert!(matches!(result.outcome, Outcome::Retry { .. }), "{result:?}");
    }
    assert_eq!(bodies(&vendor).len(), 2);
}

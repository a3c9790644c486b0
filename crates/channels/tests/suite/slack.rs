//! Slack with a bot token: later messages about an incident are threaded under its first message.

use serde_json::{Value, json};
use tidings_channels::registry;
use tidings_domain::channel::ChannelType;
use tidings_domain::incident::IncidentTrigger;
use tidings_domain::resource::ResourceType;

use crate::conformance::context_for;
use crate::support::{Receiver, incident, loopback, message, stored};

const RESPONSE: &str = r#"{"ok":true,"channel":"C0123","ts":"1503435956.000247","message":{"text":"…"}}"#;

#[tokio::test]
async fn incident_messages_are_threaded_and_first_is_updated_on_resolve() {
    let slack =
        Receiver::answering(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{RESPONSE}", RESPONSE.len())).await;
    let context = context_for(loopback(), &slack.address.to_string());
    let config = json!({"botToken": "xoxb-1234567890-abcdef", "channel": "#ops"});
    let plugin = registry::plugin(ChannelType::Slack);
    let channel = plugin.open(&stored(ChannelType::Slack, config, &context), &context).unwrap();

    let opened = channel.deliver(&message(&incident(ResourceType::Endpoint, IncidentTrigger::Opened))).await;
    assert!(opened.is_delivered(), "{opened:?}");
    let thread = opened.attempt_state.unwrap();
    for trigger in [IncidentTrigger::Reminder { number: 1 }, IncidentTrigger::Resolved] {
        let event = incident(ResourceType::Endpoint, trigger);
        let later = message(&event);
        let result = channel.deliver(&tidings_channels::OutboundMessage { thread: Some(&thread), ..later }).await;
        assert!(result.is_delivered(), "{result:?}");
    }

    let requests = slack.requests.lock().unwrap();
    let seen: Vec<(String, Value)> = requests
        .iter()
        .map(|(head, body)| {
            let path = head.split(' ').nth(1).unwrap().to_owned();
            (path, serde_json::from_slice(body).unwrap())
        })
        .collect();
    let paths: Vec<_> = seen.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(paths, ["/api/chat.postMessage", "/api/chat.postMessage", "/api/chat.postMessage", "/api/chat.update"]);
    assert_eq!((&seen[0].1["channel"], seen[0].1.get("thread_ts")), (&json!("#ops"), None));
    for (_, reply) in &seen[1..3] {
        assert_eq!((&reply["channel"], &reply["thread_ts"]), (&json!("C0123"), &json!("1503435956.000247")));
    }
    let update = &seen[3].1;
    assert_eq!((&update["channel"], &update["ts"]), (&json!("C0123"), &json!("1503435956.000247")));
    assert!(update["text"].as_str().unwrap().contains("has recovered"), "{update}");
}

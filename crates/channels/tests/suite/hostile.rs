//! Every channel type with texts that some vendor would act on, or that are too long.

use mail_parser::MessageParser;
use serde_json::{Value, json};
use tidings_channels::registry::PLUGINS;
use tidings_domain::channel::ChannelType;
use tidings_domain::event::{Content, Event};
use tidings_domain::incident::{IncidentTrigger, SubjectField};
use tidings_domain::resource::ResourceType;

use crate::conformance::{check, context_for, marked};
use crate::support::{NOW, Receiver, SURELY, digest, failed, incident, loopback, message};

/// An event of every kind with each hostile text.
fn hostile_events() -> Vec<Event> {
    let texts = [
        String::new(),
        " \t\r\n".into(),
        "\u{0}\u{1}\u{7f}\u{85}\u{2028}\u{feff}".into(),
        "a\r\nBcc: x@example.com\r\n\r\n.\r\n".into(),
        "<!channel> <@U1> <#C1> &amp; <https://x|y> *b* _i_ ~s~ `c` ```".into(),
        "@everyone @here <@1> [x](https://x) ||s|| # h\n> q\n- l \\".into(),
        "<script>alert('x')</script> {{ title }} {% if %} ${x} %s".into(),
        "👩‍👩‍👧‍👦🏳️‍🌈".repeat(300),
        "\u{202e}\u{2067}مرحبا שלום\u{2069}".repeat(200),
        "x".repeat(1_048_576),
        "`".repeat(100_000),
        "\n".repeat(100_000),
    ];
    let mut events: Vec<Event> = texts.iter().flat_map(|text| hostile_incidents(text)).collect();
    for resource_type in [ResourceType::Flow, ResourceType::UseCase, ResourceType::Channel] {
        for text in &texts {
            let mut event =
                failed(if resource_type == ResourceType::Channel { ResourceType::Flow } else { resource_type });
            if resource_type == ResourceType::Channel {
                event = Event::sample(event.id, event.workspace_id, resource_type, "ch_1", NOW);
            }
            event.run_mut().resource_name = Some(text.clone());
            event.run_mut().error_message = Some(text.clone());
            event.run_mut().deep_link = Some(format!("https://example.com/{text}"));
            (event.resource_id, event.run_id) = (text.chars().take(50).collect(), text.chars().take(50).collect());
            events.push(event);
        }
    }
    events
}

/// Every notification about an incident with this text in every field; and digests of it, single and repeated.
fn hostile_incidents(text: &str) -> Vec<Event> {
    use IncidentTrigger::{Escalated, Flapping, Opened, Reminder, Resolved, Stable, Worsened};
    let triggers =
        [Opened, Worsened, Escalated { after_seconds: 900 }, Reminder { number: 2 }, Flapping, Stable, Resolved];
    // Huge texts once per event only: they appear in many fields already.
    let is_huge = text.len() >= 100_000;
    let mut events = Vec::new();
    for (at, trigger) in triggers.into_iter().enumerate().take(if is_huge { 1 } else { 7 }) {
        let resource_type = if at % 2 == 0 { ResourceType::Endpoint } else { ResourceType::Alert };
        let mut event = incident(resource_type, trigger);
        (event.resource_id, event.run_id) = (text.chars().take(50).collect(), text.chars().take(50).collect());
        let Content::Incident(snapshot) = &mut event.content else { unreachable!("an incident's event") };
        snapshot.name = text.to_owned();
        snapshot.detail = Some(text.to_owned());
        snapshot.url = Some(text.to_owned());
        snapshot.link = Some(format!("https://example.com/{text}"));
        snapshot.actor = Some(text.to_owned());
        snapshot.fields =
            vec![SubjectField { label: text.to_owned(), value: text.to_owned() }; if is_huge { 1 } else { 30 }];
        snapshot.tags = vec![text.to_owned(); 3];
        events.push(event);
    }
    events.extend([digest(&[text]), digest(&vec![text; if is_huge { 1 } else { 200 }])]);
    events
}

#[tokio::test]
async fn hostile_events_are_delivered_within_vendor_limits() {
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n{\"ok\":true}";
    for plugin in PLUGINS {
        let receiver = Receiver::speaking(plugin.channel_type(), answer).await;
        let host_port = receiver.address.to_string();
        let context = context_for(loopback(), &host_port);
        for (config, _) in marked(plugin.channel_type(), "http", &host_port) {
            if config.pointer("/smtp/tls").is_some_and(|tls| tls != "none") {
                continue;
            }
            let stored = check(plugin, &config, None, &context);
            let notifier = plugin.open(&stored, &context).unwrap();
            for event in hostile_events() {
                let mut message = message(&event);
                message.timeout = SURELY;
                let result = notifier.deliver(&message).await;
                assert!(result.is_delivered(), "{:?}: {result:?}", plugin.channel_type());
            }
        }
        for (_, body) in receiver.requests.lock().unwrap().iter() {
            assert_limits(plugin.channel_type(), body);
        }
    }
}

/// The vendor's limits on what was sent.
fn assert_limits(channel_type: ChannelType, body: &[u8]) {
    let units = |value: &Value| value.as_str().map_or(0, |text| text.encode_utf16().count());
    match channel_type {
        ChannelType::Webhook => drop(serde_json::from_slice::<Value>(body).expect("JSON")),
        ChannelType::Slack => {
            let body: Value = serde_json::from_slice(body).expect("JSON");
            let blocks = body["blocks"].as_array().expect("blocks");
            assert!(blocks.len() <= 50 && units(&body["text"]) <= 4_000);
            for block in blocks {
                let text = units(&block["text"]["text"]);
                assert!(text <= if block["type"] == "header" { 150 } else { 3_000 });
                let fields = block["fields"].as_array().cloned().unwrap_or_default();
                assert!(fields.len() <= 10 && fields.iter().all(|field| (1..=2_000).contains(&units(&field["text"]))));
            }
            for text in texts(&body).filter(|text| text["type"] == "mrkdwn") {
                let text = text["text"].as_str().unwrap_or_default();
                assert!(!text.contains("<!") && !text.contains("<@") && !text.contains("<#"), "{text}");
            }
        }
        ChannelType::Discord => {
            let body: Value = serde_json::from_slice(body).expect("JSON");
            assert_eq!(body["allowed_mentions"], json!({"parse": []}));
            let embed = &body["embeds"][0];
            let fields = embed["fields"].as_array().expect("fields");
            assert!((1..=256).contains(&units(&embed["title"])) && units(&embed["description"]) <= 4_096);
            assert!(fields.len() <= 25);
            let mut total = units(&embed["title"]) + units(&embed["description"]) + units(&embed["footer"]["text"]);
            for field in fields {
                assert!((1..=256).contains(&units(&field["name"])) && (1..=1_024).contains(&units(&field["value"])));
                total += units(&field["name"]) + units(&field["value"]);
            }
            assert!(total <= 6_000);
        }
        ChannelType::Email => {
            let text = String::from_utf8_lossy(body);
            assert!(text.lines().all(|line| line.len() <= 998), "no line over 998 bytes");
            let head = text.split("\r\n\r\n").next().unwrap_or_default();
            assert!(!head.to_lowercase().contains("\r\nbcc:"), "no header was injected: {head}");
            // Gmail clips longer mails.
            let mail = MessageParser::default().parse(body).expect("a mail");
            let page = mail.body_html(0).expect("HTML");
            assert!(page.len() < 102_000, "{} bytes", page.len());
        }
    }
}

/// Every object in the JSON that has a `type`.
fn texts(value: &Value) -> Box<dyn Iterator<Item = &Value> + '_> {
    let inside: Box<dyn Iterator<Item = &Value>> = match value {
        Value::Array(values) => Box::new(values.iter().flat_map(texts)),
        Value::Object(fields) => Box::new(fields.values().flat_map(texts)),
        _ => Box::new(std::iter::empty()),
    };
    Box::new(value.get("type").map(|_| value).into_iter().chain(inside))
}

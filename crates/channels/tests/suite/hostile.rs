//! Every channel of the registry with texts that mean something to one vendor or another, or that are too long.

use mail_parser::MessageParser;
use serde_json::{Value, json};
use tidings_channels::registry::PLUGINS;
use tidings_domain::channel::ChannelType;
use tidings_domain::event::{Content, Event};
use tidings_domain::incident::{IncidentTrigger, SubjectField};
use tidings_domain::resource::ResourceType;

use crate::conformance::{check, environment_for, marked};
use crate::support::{NOW, Receiver, SURELY, digest, failed, letter, loopback, outage};

/// Every event that a channel may be asked to say, with texts that mean something to one vendor or another.
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

/// Each event of an incident with this text wherever one is; and digests of it, alone and many times.
fn hostile_incidents(text: &str) -> Vec<Event> {
    use IncidentTrigger::{Escalated, Flapping, Opened, Reminder, Resolved, Stable, Worsened};
    let triggers =
        [Opened, Worsened, Escalated { after_seconds: 900 }, Reminder { number: 2 }, Flapping, Stable, Resolved];
    // A text without end once is enough: it stands in many places.
    let is_huge = text.len() >= 100_000;
    let mut events = Vec::new();
    for (at, trigger) in triggers.into_iter().enumerate().take(if is_huge { 1 } else { 7 }) {
        let resource_type = if at % 2 == 0 { ResourceType::Endpoint } else { ResourceType::Alert };
        let mut event = outage(resource_type, trigger);
        (event.resource_id, event.run_id) = (text.chars().take(50).collect(), text.chars().take(50).collect());
        let Content::Incident(outage) = &mut event.content else { unreachable!("it is of an incident") };
        outage.name = text.to_owned();
        outage.detail = Some(text.to_owned());
        outage.url = Some(text.to_owned());
        outage.link = Some(format!("https://example.com/{text}"));
        outage.actor = Some(text.to_owned());
        outage.fields =
            vec![SubjectField { label: text.to_owned(), value: text.to_owned() }; if is_huge { 1 } else { 30 }];
        outage.tags = vec![text.to_owned(); 3];
        events.push(event);
    }
    events.extend([digest(&[text]), digest(&vec![text; if is_huge { 1 } else { 200 }])]);
    events
}

#[tokio::test]
async fn hostile_events_never_fail_to_be_said() {
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n{\"ok\":true}";
    for kind in PLUGINS {
        let receiver = Receiver::speaking(kind.channel_type(), answer).await;
        let place = receiver.address.to_string();
        let environment = environment_for(loopback(), &place);
        for (config, _) in marked(kind.channel_type(), "http", &place) {
            if config.pointer("/smtp/tls").is_some_and(|tls| tls != "none") {
                continue;
            }
            let stored = check(kind, &config, None, &environment);
            let destination = kind.open(&stored, &environment).unwrap();
            for event in hostile_events() {
                let mut letter = letter(&event);
                letter.timeout = SURELY;
                let report = destination.deliver(&letter).await;
                assert!(report.is_delivered(), "{:?}: {report:?}", kind.channel_type());
            }
        }
        for (_, body) in receiver.requests.lock().unwrap().iter() {
            assert_limits(kind.channel_type(), body);
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
            assert!(!head.to_lowercase().contains("\r\nbcc:"), "no header was slipped in: {head}");
            // Gmail clips what is longer.
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

//! What a channel renders for people is what it sends, without its secrets.

use serde_json::{Value, json};
use tidings_channels::{Rendered, RenderedRequest, registry};
use tidings_domain::channel::ChannelType;
use tidings_domain::incident::IncidentTrigger;
use tidings_domain::resource::ResourceType;

use crate::conformance::context_for;
use crate::support::{Receiver, context, failed, header, incident, loopback, message, stored};
use crate::webhook::{iterating_template, with_long_output};

const OK: &str = "HTTP/1.1 200 OK\r\nserver: nginx\r\nset-cookie: sid=1\r\ncontent-length: 2\r\n\r\nok";
const MASKED: &str = "•••";

fn request(rendered: Rendered) -> RenderedRequest {
    match rendered {
        Rendered::Request(request) => request,
        Rendered::Mail(mail) => panic!("{mail:?}"),
    }
}

#[tokio::test]
async fn rendered_webhook_is_the_request_without_secrets() {
    let receiver = Receiver::answering(OK).await;
    let url = format!("{}/aB3xyzToken?key=sk_live_abcdefgh", receiver.url());
    let config = json!({"url": url, "headers": {"Authorization": "Bearer very-secret-token"}});
    let context = context(loopback());
    let plugin = registry::plugin(ChannelType::Webhook);
    let channel = plugin.open(&stored(ChannelType::Webhook, config, &context), &context).unwrap();
    let event = failed(ResourceType::UseCase);
    let outbound = message(&event);

    let result = channel.deliver(&outbound).await;
    assert_eq!(result.response_headers.as_deref(), Some("server: nginx\nset-cookie: •••"), "{result:?}");
    let (head, body) = receiver.request();
    let rendered = request(channel.render(&outbound).unwrap());
    assert_eq!((rendered.method.as_str(), rendered.body.as_bytes(), &rendered.note), ("POST", &*body, &None));
    assert!(rendered.url.ends_with("/hook/•••?key=sk_l…"), "{}", rendered.url);
    let masked =
        ["authorization", "webhook-signature", "x-magone-signature"].map(|name| (name.to_owned(), MASKED.to_owned()));
    for (name, value) in &rendered.headers {
        let sent = header(&head, name).expect(name);
        match masked.contains(&(name.clone(), value.clone())) {
            true => assert_ne!(sent, value),
            false => assert_eq!(sent, value, "{name}"),
        }
    }
    assert_eq!(rendered.headers.iter().filter(|(_, value)| value == MASKED).count(), masked.len());
    let shown = format!("{rendered:?}");
    for secret in ["aB3xyzToken", "sk_live_abcdefgh", "very-secret-token", "whsec_"] {
        assert!(!shown.contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn rendered_webhook_with_failing_template_notes_the_standard_body() {
    let (config, event) = (iterating_template("http://127.0.0.1:1/hook"), with_long_output());
    let context = context(loopback());
    let plugin = registry::plugin(ChannelType::Webhook);
    let channel = plugin.open(&stored(ChannelType::Webhook, config, &context), &context).unwrap();
    let rendered = request(channel.render(&message(&event)).unwrap());
    assert!(rendered.note.is_some_and(|note| note.contains("the standard body was sent")));
    assert!(serde_json::from_str::<Value>(&rendered.body).is_ok());
}

#[tokio::test]
async fn rendered_chat_message_is_the_body_that_is_sent() {
    let event = incident(ResourceType::Endpoint, IncidentTrigger::Opened);
    let receiver = Receiver::answering(OK).await;
    let context = context_for(loopback(), &receiver.address.to_string());
    let configs = [
        (ChannelType::Slack, json!({"webhookUrl": receiver.url()})),
        (ChannelType::Slack, json!({"botToken": "xoxb-1234567890-abcdef", "channel": "#ops"})),
        (ChannelType::Discord, json!({"webhookUrl": receiver.url(), "username": "Tidings"})),
    ];
    for (channel_type, config) in configs {
        let plugin = registry::plugin(channel_type);
        let channel = plugin.open(&stored(channel_type, config, &context), &context).unwrap();
        channel.deliver(&message(&event)).await;
        let (_, body) = receiver.requests.lock().unwrap().pop().unwrap();
        let rendered = request(channel.render(&message(&event)).unwrap());
        assert_eq!(rendered.body.as_bytes(), &*body);
        assert!(!format!("{rendered:?}").contains("xoxb-1234567890-abcdef"));
        assert!(rendered.url.starts_with("http"), "{}", rendered.url);
    }
}

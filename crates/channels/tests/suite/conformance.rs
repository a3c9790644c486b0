//! What every channel type must satisfy, in loops over the registry: a new type cannot be left out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use serde_json::{Map, Value, json};
use tidings_channels::config::ChannelPlugin;
use tidings_channels::egress::{Egress, Guard};
use tidings_channels::registry::PLUGINS;
use tidings_channels::{ChannelConfig, ChannelContext, ErrorClass, webhook};
use tidings_domain::channel::ChannelType;
use tidings_domain::delivery::Outcome;
use tidings_domain::resource::ResourceType;
use tidings_domain::secret::Secret;
use tidings_domain::signature;
use tidings_domain::violation::Violations;

use crate::support::{NOW, Names, Receiver, SURELY, context, failed, loopback, message};

/// Complete configurations that use `host_port`, with marks in their secrets.
///
/// The match makes a new channel type without configurations a compile error.
pub fn marked(channel_type: ChannelType, scheme: &str, host_port: &str) -> Vec<(Value, Vec<&'static str>)> {
    let url = format!("{scheme}://{host_port}/hooks/MARKpath0123456789abcdef?key=MARKquery0123456789abcdef");
    match channel_type {
        ChannelType::Webhook => vec![(
            json!({"url": url, "headers": {"X-Key": "MARKheader0123456789"}}),
            vec!["MARKpath0123456789abcdef", "MARKquery0123456789abcdef", "MARKheader0123456789"],
        )],
        ChannelType::Slack => vec![
            (json!({"webhookUrl": url}), vec!["MARKpath0123456789abcdef", "MARKquery0123456789abcdef"]),
            (json!({"botToken": "xoxb-MARKtoken0123456789", "channel": "C1"}), vec!["xoxb-MARKtoken0123456789"]),
        ],
        ChannelType::Discord => {
            vec![(json!({"webhookUrl": url}), vec!["MARKpath0123456789abcdef", "MARKquery0123456789abcdef"])]
        }
        ChannelType::Email => {
            let (host, port) = host_port.rsplit_once(':').unwrap_or((host_port, "25"));
            let smtp = json!({
                "host": host, "port": port.parse::<u16>().unwrap(), "tls": "none", "from": "tidings@example.com"
            });
            let mut secret = smtp.clone();
            (secret["tls"], secret["username"], secret["password"]) =
                ("starttls".into(), "ops".into(), "MARKpassword0123456789".into());
            vec![
                (json!({"recipients": ["a@example.com"], "smtp": smtp}), vec![]),
                (json!({"recipients": ["a@example.com"], "smtp": secret}), vec!["MARKpassword0123456789"]),
            ]
        }
    }
}

fn object(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_else(|| panic!("{value} is an object"))
}

pub fn check(
    plugin: &dyn ChannelPlugin,
    config: &Value,
    current: Option<&ChannelConfig>,
    context: &ChannelContext,
) -> ChannelConfig {
    let checked: Result<_, Violations> = plugin.check(&object(config), current, context);
    let mut stored = checked.unwrap_or_else(|wrong| panic!("{:?} {config}: {wrong:?}", plugin.channel_type()));
    if plugin.channel_type() == ChannelType::Webhook && current.is_none() {
        webhook::rotate(&mut stored, signature::new_secret(&[7; 32]), 0, NOW);
    }
    stored
}

/// A context whose Slack API is at `host_port` as well.
pub fn context_for(guard: Guard, host_port: &str) -> ChannelContext {
    let mut context = context(guard);
    context.slack_api_base = format!("http://{host_port}/api");
    context
}

#[test]
fn every_field_is_documented_and_its_example_is_valid() {
    let context = context(Guard::default());
    for plugin in PLUGINS {
        let name = plugin.channel_type();
        let mut keys: Vec<_> = plugin.fields().iter().map(|field| field.key).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), plugin.fields().len(), "{name:?}: every key once");
        assert!(!keys.is_empty());
        for field in plugin.fields() {
            assert!(field.about.len() > 10, "{name:?} {}", field.key);
            // The example, together with those of the required fields, causes no violation of its own field.
            let mut config = nested(field.key, example(field.example));
            for required in plugin.fields().iter().filter(|other| other.required) {
                config[required.key] = example(required.example);
            }
            if let Err(violations) = plugin.check(&object(&config), None, &context) {
                let own = violations.iter().find(|wrong| wrong.pointer.starts_with(&pointer(field.key)));
                assert_eq!(own, None, "{name:?} {}", field.key);
            }
        }
    }
}

/// An example as it would appear in `config`: parsed if it is JSON, else as text.
fn example(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or(text.into())
}

/// A key with dots is a field of nested objects.
fn nested(key: &str, value: Value) -> Value {
    key.rsplit('.').fold(value, |inner, part| json!({part: inner}))
}

fn pointer(key: &str) -> String {
    format!("/{}", key.replace('.', "/"))
}

#[test]
fn unknown_keys_and_wrong_types_are_violations_of_the_field() {
    let context = context(Guard::default());
    for plugin in PLUGINS {
        let refused = |config: Value| plugin.check(&object(&config), None, &context).expect_err("refused");
        let name = plugin.channel_type();
        assert!(refused(json!({"a/b~c": 1})).iter().any(|wrong| wrong.pointer == "/a~1b~0c"), "{name:?}");
        assert!(!refused(json!({})).is_empty(), "{name:?}: an empty configuration is refused");
        for field in plugin.fields() {
            for odd in [json!(1.5), json!(true), json!([[]]), json!({"": {}})] {
                let refused = refused(nested(field.key, odd));
                let pointed = refused.iter().any(|wrong| wrong.pointer.starts_with(&pointer(field.key)));
                assert!(pointed, "{name:?} {}: {refused:?}", field.key);
            }
        }
    }
}

#[test]
fn secrets_are_only_in_secrets() {
    let context = context_for(loopback(), "127.0.0.1:9");
    for plugin in PLUGINS {
        for (config, marks) in marked(plugin.channel_type(), "http", "127.0.0.1:9") {
            let stored = check(plugin, &config, None, &context);
            let settings = Value::Object(stored.settings.clone()).to_string();
            let debug = format!("{stored:?}");
            let secrets: String = stored.secrets.values().map(Secret::expose).collect();
            for mark in marks {
                assert!(secrets.contains(mark), "{:?}: {mark} is kept", plugin.channel_type());
                assert!(!settings.contains(mark) && !debug.contains(mark), "{:?}: {mark}", plugin.channel_type());
            }
            for key in stored.secrets.keys() {
                let known = plugin.fields().iter().any(|field| field.secret && key.starts_with(field.key));
                assert!(
                    known || key.starts_with("signingSecret"),
                    "{:?}: {key} is a secret field",
                    plugin.channel_type()
                );
            }
        }
    }
}

#[test]
fn edits_merge_and_previews_can_be_sent_back() {
    let context = context_for(loopback(), "127.0.0.1:9");
    for plugin in PLUGINS {
        for (config, _) in marked(plugin.channel_type(), "http", "127.0.0.1:9") {
            let stored = check(plugin, &config, None, &context);
            let name = plugin.channel_type();
            assert_eq!(
                check(plugin, &json!({}), Some(&stored), &context),
                stored,
                "{name:?}: an empty edit changes nothing"
            );
            let shown = Value::Object(stored.settings.clone());
            assert_eq!(check(plugin, &shown, Some(&stored), &context), stored, "{name:?}: as it was shown");
            for field in plugin.fields().iter().filter(|field| field.secret && stored.secrets.contains_key(field.key)) {
                // Secrets that are objects are emptied value by value: see the webhook's own tests.
                if example(field.example).is_string() {
                    let emptied = check(plugin, &nested(field.key, "".into()), Some(&stored), &context);
                    assert_eq!(emptied, stored, "{name:?}: an empty {} keeps it", field.key);
                }
            }
        }
    }
}

#[tokio::test]
async fn targets_are_guarded_when_saved_and_when_connecting() {
    // Saved when the address was still allowed, or by name: refused when connecting.
    let lenient = context_for(loopback(), "127.0.0.1:9");
    let names = Names {
        known: BTreeMap::from([("inside.example.com", vec!["10.0.0.1:9".parse().unwrap()])]),
        ..Names::default()
    };
    let egress = Egress::with(Guard::default(), Arc::new(names), RootCertStore::empty());
    let mut strict = ChannelContext::new(Arc::new(egress));
    strict.slack_api_base = "https://inside.example.com/api".into();
    let event = failed(ResourceType::Flow);
    for plugin in PLUGINS {
        for (config, _) in marked(plugin.channel_type(), "https", "inside.example.com:9") {
            let stored = check(plugin, &config, None, &lenient);
            let notifier = plugin.open(&stored, &strict).unwrap();
            let result = tokio::time::timeout(SURELY, notifier.deliver(&message(&event))).await.expect("in time");
            assert_eq!(result.error_class, Some(ErrorClass::TargetRefused), "{:?}: {result:?}", plugin.channel_type());
            assert!(result.error.is_some_and(|message| message.contains("TIDINGS_ALLOW_TARGETS")));
        }
        let (config, _) = marked(plugin.channel_type(), "https", "127.0.0.1:9").swap_remove(0);
        let refused = plugin.check(&object(&config), None, &strict).expect_err("a literal is refused when it is saved");
        assert!(refused.iter().any(|wrong| wrong.message.contains("TIDINGS_ALLOW_TARGETS")), "{refused:?}");
        // Saved before the rules were tightened: opening fails with a readable error, or the delivery does.
        let stored = check(plugin, &config, None, &lenient);
        match plugin.open(&stored, &strict) {
            Err(message) => assert!(message.contains("TIDINGS_ALLOW_TARGETS"), "{message}"),
            Ok(notifier) => {
                let result = notifier.deliver(&message(&event)).await;
                assert_eq!(result.error_class, Some(ErrorClass::TargetRefused), "{result:?}");
            }
        }
    }
}

#[tokio::test]
async fn misbehaving_receivers_result_is_in_time_and_without_secrets() {
    for plugin in PLUGINS {
        let garbage = "\u{1}\u{2} MARK?\r\n\r\n";
        for receiver in [
            Receiver::hanging().await,
            Receiver::dripping("HTTP/1.1 503 Busy\r\nx: ").await,
            Receiver::dripping("2").await,
            Receiver::answering_once(garbage).await,
            Receiver::answering_once("").await,
            Receiver::echoing("500 Oops").await,
            Receiver::echoing("404 Not Found").await,
            Receiver::echoing("429 Slow").await,
            Receiver::echoing("302 Found\r\nlocation: http://169.254.169.254/latest").await,
        ] {
            let host_port = receiver.address.to_string();
            let context = context_for(loopback(), &host_port);
            for (config, marks) in marked(plugin.channel_type(), "http", &host_port) {
                let stored = check(plugin, &config, None, &context);
                let notifier = plugin.open(&stored, &context).unwrap();
                let event = failed(ResourceType::Flow);
                let mut message = message(&event);
                message.timeout = Duration::from_millis(150);
                let result = tokio::time::timeout(SURELY, notifier.deliver(&message)).await.expect("in time");
                assert_ne!(result.outcome, Outcome::Delivered, "{:?}: {result:?}", plugin.channel_type());
                assert!(result.error_class.is_some() && result.error.is_some(), "{result:?}");
                let shown = format!("{result:?}");
                for secret in marks.into_iter().chain(stored.secrets.values().map(Secret::expose)) {
                    assert!(!shown.contains(secret), "{:?}: {shown}", plugin.channel_type());
                }
            }
        }
    }
}

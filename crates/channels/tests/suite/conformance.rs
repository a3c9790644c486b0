//! What every channel type must hold, in one loop over the registry: a new type cannot escape it.

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

use crate::support::{NOW, Names, Receiver, SURELY, environment, failed, letter, loopback};

/// A configuration that is complete, and the secrets' marks in it. `place` is a host (and port) that it speaks to.
///
/// A new channel type does not compile without its own.
pub fn marked(channel_type: ChannelType, scheme: &str, place: &str) -> Vec<(Value, Vec<&'static str>)> {
    let url = format!("{scheme}://{place}/hooks/MARKpath0123456789abcdef?key=MARKquery0123456789abcdef");
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
            let (host, port) = place.rsplit_once(':').unwrap_or((place, "25"));
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
    kind: &dyn ChannelPlugin,
    config: &Value,
    current: Option<&ChannelConfig>,
    environment: &ChannelContext,
) -> ChannelConfig {
    let checked: Result<_, Violations> = kind.check(&object(config), current, environment);
    let mut stored = checked.unwrap_or_else(|wrong| panic!("{:?} {config}: {wrong:?}", kind.channel_type()));
    if kind.channel_type() == ChannelType::Webhook && current.is_none() {
        webhook::rotate(&mut stored, signature::new_secret(&[7; 32]), 0, NOW);
    }
    stored
}

/// The instance's Slack address leads to `place` as well.
pub fn environment_for(guard: Guard, place: &str) -> ChannelContext {
    let mut environment = environment(guard);
    environment.slack_api_base = format!("http://{place}/api");
    environment
}

#[test]
fn every_field_is_documented_and_its_example_is_good() {
    let environment = environment(Guard::default());
    for kind in PLUGINS {
        let name = kind.channel_type();
        let mut keys: Vec<_> = kind.fields().iter().map(|field| field.key).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), kind.fields().len(), "{name:?}: every key once");
        assert!(!keys.is_empty());
        for field in kind.fields() {
            assert!(field.about.len() > 10, "{name:?} {}", field.key);
            // An example alone, or with what is required beside it, raises no word against its own field.
            let mut config = nested(field.key, example(field.example));
            for required in kind.fields().iter().filter(|other| other.required) {
                config[required.key] = example(required.example);
            }
            if let Err(violations) = kind.check(&object(&config), None, &environment) {
                let own = violations.iter().find(|wrong| wrong.pointer.starts_with(&pointer(field.key)));
                assert_eq!(own, None, "{name:?} {}", field.key);
            }
        }
    }
}

/// An example as it stands in `config`: JSON where it reads as such, else text.
fn example(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or(text.into())
}

/// A field whose key has dots lies within objects.
fn nested(key: &str, value: Value) -> Value {
    key.rsplit('.').fold(value, |inner, part| json!({part: inner}))
}

fn pointer(key: &str) -> String {
    format!("/{}", key.replace('.', "/"))
}

#[test]
fn unknown_keys_and_wrong_types_are_refused_by_name() {
    let environment = environment(Guard::default());
    for kind in PLUGINS {
        let refused = |config: Value| kind.check(&object(&config), None, &environment).expect_err("refused");
        let name = kind.channel_type();
        assert!(refused(json!({"a/b~c": 1})).iter().any(|wrong| wrong.pointer == "/a~1b~0c"), "{name:?}");
        assert!(!refused(json!({})).is_empty(), "{name:?}: an empty configuration leads nowhere");
        for field in kind.fields() {
            for odd in [json!(1.5), json!(true), json!([[]]), json!({"": {}})] {
                let refused = refused(nested(field.key, odd));
                let pointed = refused.iter().any(|wrong| wrong.pointer.starts_with(&pointer(field.key)));
                assert!(pointed, "{name:?} {}: {refused:?}", field.key);
            }
        }
    }
}

#[test]
fn secrets_are_nowhere_but_in_the_secrets() {
    let environment = environment_for(loopback(), "127.0.0.1:9");
    for kind in PLUGINS {
        for (config, marks) in marked(kind.channel_type(), "http", "127.0.0.1:9") {
            let stored = check(kind, &config, None, &environment);
            let settings = Value::Object(stored.settings.clone()).to_string();
            let debug = format!("{stored:?}");
            let secrets: String = stored.secrets.values().map(Secret::expose).collect();
            for mark in marks {
                assert!(secrets.contains(mark), "{:?}: {mark} is kept", kind.channel_type());
                assert!(!settings.contains(mark) && !debug.contains(mark), "{:?}: {mark}", kind.channel_type());
            }
            for key in stored.secrets.keys() {
                let known = kind.fields().iter().any(|field| field.secret && key.starts_with(field.key));
                assert!(
                    known || key.starts_with("signingSecret"),
                    "{:?}: {key} is a secret field",
                    kind.channel_type()
                );
            }
        }
    }
}

#[test]
fn edits_merge_and_what_was_shown_can_be_sent_back() {
    let environment = environment_for(loopback(), "127.0.0.1:9");
    for kind in PLUGINS {
        for (config, _) in marked(kind.channel_type(), "http", "127.0.0.1:9") {
            let stored = check(kind, &config, None, &environment);
            let name = kind.channel_type();
            assert_eq!(check(kind, &json!({}), Some(&stored), &environment), stored, "{name:?}: nothing named");
            let shown = Value::Object(stored.settings.clone());
            assert_eq!(check(kind, &shown, Some(&stored), &environment), stored, "{name:?}: as it was shown");
            for field in kind.fields().iter().filter(|field| field.secret && stored.secrets.contains_key(field.key)) {
                // A secret that is an object is emptied value by value; see the webhook's own tests.
                if example(field.example).is_string() {
                    let emptied = check(kind, &nested(field.key, "".into()), Some(&stored), &environment);
                    assert_eq!(emptied, stored, "{name:?}: an empty {} keeps it", field.key);
                }
            }
        }
    }
}

#[tokio::test]
async fn targets_are_guarded() {
    // Saved when the address was allowed, or by name: at the connection it is refused all the same.
    let lenient = environment_for(loopback(), "127.0.0.1:9");
    let names = Names {
        known: BTreeMap::from([("inside.example.com", vec!["10.0.0.1:9".parse().unwrap()])]),
        ..Names::default()
    };
    let egress = Egress::with(Guard::default(), Arc::new(names), RootCertStore::empty());
    let mut strict = ChannelContext::new(Arc::new(egress));
    strict.slack_api_base = "https://inside.example.com/api".into();
    let event = failed(ResourceType::Flow);
    for kind in PLUGINS {
        for (config, _) in marked(kind.channel_type(), "https", "inside.example.com:9") {
            let stored = check(kind, &config, None, &lenient);
            let destination = kind.open(&stored, &strict).unwrap();
            let report = tokio::time::timeout(SURELY, destination.deliver(&letter(&event))).await.expect("in time");
            assert_eq!(report.error_class, Some(ErrorClass::TargetRefused), "{:?}: {report:?}", kind.channel_type());
            assert!(report.error.is_some_and(|words| words.contains("TIDINGS_ALLOW_TARGETS")));
        }
        let (config, _) = marked(kind.channel_type(), "https", "127.0.0.1:9").swap_remove(0);
        let refused = kind.check(&object(&config), None, &strict).expect_err("a literal is refused when it is saved");
        assert!(refused.iter().any(|wrong| wrong.message.contains("TIDINGS_ALLOW_TARGETS")), "{refused:?}");
        // Should it have been saved before the rules were tightened, it opens to a refusal in words, or refuses later.
        let stored = check(kind, &config, None, &lenient);
        match kind.open(&stored, &strict) {
            Err(words) => assert!(words.contains("TIDINGS_ALLOW_TARGETS"), "{words}"),
            Ok(destination) => {
                let report = destination.deliver(&letter(&event)).await;
                assert_eq!(report.error_class, Some(ErrorClass::TargetRefused), "{report:?}");
            }
        }
    }
}

#[tokio::test]
async fn whatever_the_receiver_does_the_report_is_in_time_and_holds_no_secret() {
    for kind in PLUGINS {
        let garbage = "\u{1}\u{2} MARK?\r\n\r\n";
        for receiver in [
            Receiver::hanging().await,
            Receiver::dripping("HTTP/1.1 200 OK\r\nx: ").await,
            Receiver::dripping("2").await,
            Receiver::answering_once(garbage).await,
            Receiver::answering_once("").await,
            Receiver::echoing("500 Oops").await,
            Receiver::echoing("404 Not Found").await,
            Receiver::echoing("429 Slow").await,
            Receiver::echoing("302 Found\r\nlocation: http://169.254.169.254/latest").await,
        ] {
            let place = receiver.address.to_string();
            let environment = environment_for(loopback(), &place);
            for (config, marks) in marked(kind.channel_type(), "http", &place) {
                let stored = check(kind, &config, None, &environment);
                let destination = kind.open(&stored, &environment).unwrap();
                let event = failed(ResourceType::Flow);
                let mut letter = letter(&event);
                letter.timeout = Duration::from_millis(150);
                let report = tokio::time::timeout(SURELY, destination.deliver(&letter)).await.expect("in time");
                assert_ne!(report.outcome, Outcome::Delivered, "{:?}: {report:?}", kind.channel_type());
                assert!(report.error_class.is_some() && report.error.is_some(), "{report:?}");
                let said = format!("{report:?}");
                for secret in marks.into_iter().chain(stored.secrets.values().map(Secret::expose)) {
                    assert!(!said.contains(secret), "{:?}: {said}", kind.channel_type());
                }
            }
        }
    }
}

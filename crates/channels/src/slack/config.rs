//! A Slack channel's `config`: an incoming webhook, or a bot token with a channel.

use serde_json::{Map, Value};
use tidings_domain::text::has_control;
use tidings_domain::violation::Violations;

use crate::config::{ChannelConfig, ChannelContext, Field};
use crate::config_reader::{ConfigReader, mask, preview_url};

pub(super) static FIELDS: &[Field] = &[
    Field {
        key: "webhookUrl",
        about: "The URL of an incoming webhook; instead of botToken and channel.",
        required: false,
        secret: true,
        example: "https://hooks.slack.com/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX",
    },
    Field {
        key: "botToken",
        about: "A bot token (xoxb-…) with the scope chat:write; instead of webhookUrl.",
        required: false,
        secret: true,
        example: "xoxb-000000000000-000000000000-XXXXXXXXXXXXXXXXXXXXXXXX",
    },
    Field {
        key: "channel",
        about: "With botToken: the id or name of the channel to post to.",
        required: false,
        secret: false,
        example: "C0123456789",
    },
    Field {
        key: "displayLabel",
        about: "The destination's name in lists.",
        required: false,
        secret: false,
        example: "#data-alerts",
    },
];

/// Path segments of a webhook URL that are not secret: `services`.
const OPEN_SEGMENTS: usize = 1;
const TOKEN_BYTES_MAX: usize = 300;
const NAME_CHARS_MAX: usize = 80;

pub(super) fn check(
    input: &Map<String, Value>,
    current: Option<&ChannelConfig>,
    context: &ChannelContext,
) -> Result<ChannelConfig, Violations> {
    let mut reader = ConfigReader::new(FIELDS, input, current);
    let mut stored = ChannelConfig::default();
    let url = reader.secret_url("webhookUrl", context);
    let token = reader.secret("botToken");
    for key in ["channel", "displayLabel"] {
        let Some(text) = reader.text(key) else { continue };
        if text.chars().count() > NAME_CHARS_MAX || has_control(&text) {
            reader.error(key, format!("must be at most {NAME_CHARS_MAX} characters without control characters"));
        }
        stored.settings.insert(key.into(), text.into());
    }
    match (url, token) {
        (Some(_), Some(_)) => {
            reader.error("botToken", "must not be set together with webhookUrl; clear one of them with null")
        }
        (Some((secret, url)), None) => {
            stored.settings.insert("webhookUrl".into(), preview_url(&url, OPEN_SEGMENTS).into());
            stored.secrets.insert("webhookUrl".into(), secret);
            if stored.settings.contains_key("channel") {
                reader.error("channel", "is only for botToken; an incoming webhook has its own channel");
            }
        }
        (None, Some(token)) => {
            let text = token.expose();
            if !text.starts_with("xox") || text.len() > TOKEN_BYTES_MAX || !text.bytes().all(|b| b.is_ascii_graphic()) {
                reader.error("botToken", "must be a Slack token such as xoxb-…");
            }
            stored.settings.insert("botToken".into(), mask(text).into());
            stored.secrets.insert("botToken".into(), token);
            if !stored.settings.contains_key("channel") {
                reader.require("channel", "is required with botToken: the channel to post to");
            }
        }
        (None, None) => reader.require("webhookUrl", "is required, or botToken and channel"),
    }
    reader.finish(stored)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::egress::{Egress, Guard};

    fn checked(input: Value, current: Option<&ChannelConfig>) -> Result<ChannelConfig, Vec<String>> {
        let context = ChannelContext::new(Arc::new(Egress::new(Guard::default())));
        check(input.as_object().unwrap(), current, &context)
            .map_err(|violations| violations.into_iter().map(|violation| violation.pointer).collect())
    }

    const URL: &str = "https://hooks.slack.com/services/T0/B0/XXXXXXXXXXXXXXXXXXXXXXXX";

    #[test]
    fn check_accepts_webhook_or_token_but_not_both() {
        let webhook = checked(json!({"webhookUrl": URL, "displayLabel": "#a"}), None).unwrap();
        assert_eq!(webhook.settings["webhookUrl"], "https://hooks.slack.com/services/•••/•••/XXXX…");
        assert_eq!(checked(json!({}), None), Err(vec!["/webhookUrl".into()]));
        assert_eq!(checked(json!({"botToken": "xoxb-1"}), None), Err(vec!["/channel".into()]));
        assert_eq!(checked(json!({"botToken": "hello", "channel": "C1"}), None), Err(vec!["/botToken".into()]));
        assert_eq!(checked(json!({"webhookUrl": URL, "channel": "C1"}), None), Err(vec!["/channel".into()]));

        let both = json!({"botToken": "xoxb-1", "channel": "C1"});
        assert_eq!(checked(both, Some(&webhook)), Err(vec!["/botToken".into()]));
        let switch = json!({"botToken": "xoxb-1", "channel": "C1", "webhookUrl": null});
        let switched = checked(switch, Some(&webhook)).unwrap();
        assert_eq!(switched.secrets.keys().collect::<Vec<_>>(), ["botToken"]);
        assert_eq!(switched.settings["displayLabel"], "#a", "a missing field keeps its value");
    }
}

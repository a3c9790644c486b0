//! A Discord channel's `config`.

use serde_json::{Map, Value};
use tidings_domain::text::{clean, is_blank};
use tidings_domain::violation::Violations;

use crate::config::{ChannelConfig, ChannelContext, Field};
use crate::config_reader::{ConfigReader, preview_url};
use crate::egress::target::URL_BYTES_MAX;
use crate::link::{Link, has_dotted_host};

pub(super) static FIELDS: &[Field] = &[
    Field {
        key: "webhookUrl",
        about: "The URL of a webhook of the Discord channel.",
        required: true,
        secret: true,
        example: "https://discord.com/api/webhooks/000000000000000000/XXXXXXXXXXXXXXXXXXXXXXXX",
    },
    Field {
        key: "username",
        about: "The author name of the messages, instead of the webhook's.",
        required: false,
        secret: false,
        example: "Tidings",
    },
    Field {
        key: "avatarUrl",
        about: "The URL of the author's picture, instead of the webhook's.",
        required: false,
        secret: false,
        example: "https://example.com/avatar.png",
    },
];

/// Path segments of a webhook URL that are not secret: `api/webhooks`.
const OPEN_SEGMENTS: usize = 2;
const USERNAME_CHARS_MAX: usize = 80;

pub(super) fn check(
    input: &Map<String, Value>,
    current: Option<&ChannelConfig>,
    context: &ChannelContext,
) -> Result<ChannelConfig, Violations> {
    let mut reader = ConfigReader::new(FIELDS, input, current);
    let mut stored = ChannelConfig::default();
    match reader.secret_url("webhookUrl", context) {
        Some((secret, url)) => {
            stored.settings.insert("webhookUrl".into(), preview_url(&url, OPEN_SEGMENTS).into());
            stored.secrets.insert("webhookUrl".into(), secret);
        }
        None => reader.require("webhookUrl", "is required: the webhook's URL"),
    }
    if let Some(name) = reader.text("username") {
        if let Some(message) = username_error(&name) {
            reader.error("username", message);
        }
        stored.settings.insert("username".into(), name.into());
    }
    if let Some(url) = reader.text("avatarUrl") {
        match Link::parse(&url, URL_BYTES_MAX) {
            // As serialised: Discord finds other forms malformed.
            Some(Link::Web(url)) if url.starts_with("https://") && has_dotted_host(&url) => {
                stored.settings.insert("avatarUrl".into(), url.into());
            }
            _ => reader.error("avatarUrl", format!("must be a public https URL of at most {URL_BYTES_MAX} bytes")),
        }
    }
    reader.finish(stored)
}

/// Discord's rules for names ("User Resource: usernames and nicknames").
fn username_error(name: &str) -> Option<String> {
    let lower = name.to_lowercase();
    if is_blank(name) {
        Some("must have a visible character".into())
    } else if name.trim() != name
        || name.chars().count() > USERNAME_CHARS_MAX
        || *clean(name) != *name
        || name.contains(['\n', '\t'])
    {
        Some(format!(
            "must be at most {USERNAME_CHARS_MAX} characters, without leading or trailing spaces or control characters"
        ))
    } else if let Some(word) = ["discord", "clyde", "```", "@", "#", ":"].into_iter().find(|word| lower.contains(word))
    {
        Some(format!("must not contain {word:?}, which Discord does not allow"))
    } else if matches!(lower.as_str(), "everyone" | "here") {
        Some("must not be everyone or here, which Discord does not allow".into())
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn username_error_follows_discords_rules() {
        for name in ["Tidings", "Ops Bot", &"ä".repeat(80)] {
            assert_eq!(username_error(name), None, "{name}");
        }
        for name in [
            "My Discord",
            "CLYDE",
            "a@b",
            "a#b",
            "a:b",
            "everyone",
            "Here",
            " x",
            "a\nb",
            "a\u{202e}b",
            "\u{200b}",
            &"x".repeat(81),
        ] {
            assert!(username_error(name).is_some(), "{name}");
        }
    }
}

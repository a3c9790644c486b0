//! What a Discord channel's `config` may hold.

use serde_json::{Map, Value};
use tidings_domain::text::has_control;
use tidings_domain::violation::Violations;
use url::Url;

use crate::config::{ChannelConfig, ChannelContext, Field};
use crate::config_reader::{ConfigReader, preview_url};
use crate::egress::target::URL_BYTES_MAX;

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
        about: "The name that messages appear under, instead of the webhook's.",
        required: false,
        secret: false,
        example: "Tidings",
    },
    Field {
        key: "avatarUrl",
        about: "The address of the picture that messages appear with, instead of the webhook's.",
        required: false,
        secret: false,
        example: "https://example.com/avatar.png",
    },
];

/// Of the path of a webhook's URL only `api/webhooks` is no secret.
const OPEN_SEGMENTS: usize = 2;
const USERNAME_CHARS_MAX: usize = 80;

pub(super) fn check(
    input: &Map<String, Value>,
    current: Option<&ChannelConfig>,
    environment: &ChannelContext,
) -> Result<ChannelConfig, Violations> {
    let mut form = ConfigReader::new(FIELDS, input, current);
    let mut stored = ChannelConfig::default();
    match form.secret_url("webhookUrl", environment) {
        Some((secret, url)) => {
            stored.settings.insert("webhookUrl".into(), preview_url(&url, OPEN_SEGMENTS).into());
            stored.secrets.insert("webhookUrl".into(), secret);
        }
        None => form.require("webhookUrl", "must be there: the webhook's URL"),
    }
    if let Some(name) = form.text("username") {
        if let Some(message) = refused_username(&name) {
            form.refuse("username", message);
        }
        stored.settings.insert("username".into(), name.into());
    }
    if let Some(url) = form.text("avatarUrl") {
        let fits = url.len() <= URL_BYTES_MAX && Url::parse(&url).is_ok_and(|url| url.scheme() == "https");
        if !fits {
            form.refuse("avatarUrl", format!("must be an https URL of at most {URL_BYTES_MAX} bytes"));
        }
        stored.settings.insert("avatarUrl".into(), url.into());
    }
    form.finish(stored)
}

/// Discord's rules for names ("User Resource: usernames and nicknames").
fn refused_username(name: &str) -> Option<String> {
    let lower = name.to_lowercase();
    if name.trim() != name || name.chars().count() > USERNAME_CHARS_MAX || has_control(name) {
        Some(format!("must be at most {USERNAME_CHARS_MAX} characters, without spaces around and control characters"))
    } else if let Some(word) = ["discord", "clyde", "```", "@", "#", ":"].into_iter().find(|word| lower.contains(word))
    {
        Some(format!("must not hold {word:?}, which Discord refuses"))
    } else if matches!(lower.as_str(), "everyone" | "here") {
        Some("must not be everyone or here, which Discord refuses".into())
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_discord_refuses_are_refused_here() {
        for name in ["Tidings", "Ops Bot", &"ä".repeat(80)] {
            assert_eq!(refused_username(name), None, "{name}");
        }
        for name in ["My Discord", "CLYDE", "a@b", "a#b", "a:b", "everyone", "Here", " x", "a\nb", &"x".repeat(81)] {
            assert!(refused_username(name).is_some(), "{name}");
        }
    }
}

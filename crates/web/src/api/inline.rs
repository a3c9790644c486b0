//! Inline channel fields: how a rule names the destination of a channel of its own, and what that is in a channel's
//! `config`. The names are those of the first origin document.

use serde_json::{Map, Value};
use tidings_domain::channel::{Channel, ChannelType};

use crate::fields::Fields;
use crate::problem::Problem;

/// A field of a rule that belongs to a channel of its own.
struct Inline {
    channel_type: ChannelType,
    /// Its key in the rule.
    key: &'static str,
    /// Its key in the channel's `config`.
    config_key: &'static str,
}

const FIELDS: [Inline; 5] = [
    Inline { channel_type: ChannelType::Email, key: "recipients", config_key: "recipients" },
    Inline { channel_type: ChannelType::Webhook, key: "url", config_key: "url" },
    Inline { channel_type: ChannelType::Slack, key: "slackWebhookUrl", config_key: "webhookUrl" },
    Inline { channel_type: ChannelType::Slack, key: "displayLabel", config_key: "displayLabel" },
    Inline { channel_type: ChannelType::Discord, key: "webhookUrl", config_key: "webhookUrl" },
];

fn of_type(channel_type: ChannelType) -> impl Iterator<Item = &'static Inline> {
    FIELDS.iter().filter(move |field| field.channel_type == channel_type)
}

/// Whether any inline field is there.
pub(crate) fn is_any(fields: &Fields) -> bool {
    FIELDS.iter().any(|field| fields.has(field.key))
}

/// Takes the inline fields of this type as a `config`; those of other types are wrong here.
pub(crate) fn take(fields: &mut Fields, channel_type: ChannelType) -> Map<String, Value> {
    let mut config = Map::new();
    for field in &FIELDS {
        let Some(value) = fields.take(field.key) else { continue };
        if field.channel_type == channel_type {
            config.insert(field.config_key.to_owned(), value);
        } else {
            let own: Vec<_> = of_type(channel_type).map(|field| field.key).collect();
            let (theirs, ours) = (field.channel_type.as_str(), channel_type.as_str());
            let message = format!("belongs to channelType {theirs}; {ours} has {}", own.join(", "));
            fields.refuse(field.key, message);
        }
    }
    config
}

/// Takes the inline fields where there is no telling what they belong to, or nothing for them to belong to.
pub(crate) fn refuse(fields: &mut Fields, message: Option<&str>) {
    for field in &FIELDS {
        if fields.take(field.key).is_some()
            && let Some(message) = message
        {
            fields.refuse(field.key, message);
        }
    }
}

/// The inline fields of a rule's own channel, as they are shown.
pub(crate) fn shown(channel: &Channel) -> Map<String, Value> {
    let mut shown = Map::new();
    for field in of_type(channel.channel_type) {
        let value = channel.settings.get(field.config_key).cloned().unwrap_or(Value::Null);
        shown.insert(field.key.to_owned(), value);
    }
    shown
}

/// The same problem with the pointers into a `config` as pointers to inline fields.
pub(crate) fn renamed(problem: Problem, channel_type: ChannelType) -> Problem {
    problem.with_pointers(|pointer| {
        let (first, rest) = match pointer.strip_prefix('/').map(|path| path.split_once('/').unwrap_or((path, ""))) {
            Some(parts) => parts,
            None => return pointer.to_owned(),
        };
        let key = of_type(channel_type).find(|field| field.config_key == first).map_or(first, |field| field.key);
        if rest.is_empty() { format!("/{key}") } else { format!("/{key}/{rest}") }
    })
}

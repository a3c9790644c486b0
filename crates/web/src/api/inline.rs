//! Inline channel fields: a rule with its own channel holds the channel's destination among its own fields. This module
//! maps these fields to the channel's `config` and back.

use serde_json::{Map, Value};
use tidings_domain::channel::{Channel, ChannelType};

use crate::fields::Fields;
use crate::problem::Problem;

/// A field of a rule that configures its own channel.
struct InlineField {
    channel_type: ChannelType,
    /// The key in the rule.
    key: &'static str,
    /// The key in the channel's `config`.
    config_key: &'static str,
}

const FIELDS: [InlineField; 5] = [
    InlineField { channel_type: ChannelType::Email, key: "recipients", config_key: "recipients" },
    InlineField { channel_type: ChannelType::Webhook, key: "url", config_key: "url" },
    InlineField { channel_type: ChannelType::Slack, key: "slackWebhookUrl", config_key: "webhookUrl" },
    InlineField { channel_type: ChannelType::Slack, key: "displayLabel", config_key: "displayLabel" },
    InlineField { channel_type: ChannelType::Discord, key: "webhookUrl", config_key: "webhookUrl" },
];

fn of_type(channel_type: ChannelType) -> impl Iterator<Item = &'static InlineField> {
    FIELDS.iter().filter(move |field| field.channel_type == channel_type)
}

/// Whether an inline field is present.
pub(crate) fn any_present(fields: &Fields) -> bool {
    FIELDS.iter().any(|field| fields.has(field.key))
}

/// Reads the inline fields of this type as a `config`; those of other types are violations.
pub(crate) fn read(fields: &mut Fields, channel_type: ChannelType) -> Map<String, Value> {
    let mut config = Map::new();
    for field in &FIELDS {
        let Some(value) = fields.take(field.key) else { continue };
        if field.channel_type == channel_type {
            config.insert(field.config_key.to_owned(), value);
        } else {
            let own: Vec<_> = of_type(channel_type).map(|field| field.key).collect();
            let (theirs, ours) = (field.channel_type.as_str(), channel_type.as_str());
            let message = format!("belongs to channelType {theirs}; the fields of {ours} are: {}", own.join(", "));
            fields.refuse(field.key, message);
        }
    }
    config
}

/// Reads and drops the inline fields; with a message, each of them is a violation.
pub(crate) fn reject(fields: &mut Fields, message: Option<&str>) {
    for field in &FIELDS {
        if fields.take(field.key).is_some()
            && let Some(message) = message
        {
            fields.refuse(field.key, message);
        }
    }
}

/// The inline fields of a rule's own channel for responses, secrets masked.
pub(crate) fn fields_of(channel: &Channel) -> Map<String, Value> {
    let mut fields = Map::new();
    for field in of_type(channel.channel_type) {
        let value = channel.settings.get(field.config_key).cloned().unwrap_or(Value::Null);
        fields.insert(field.key.to_owned(), value);
    }
    fields
}

/// Maps pointers into a `config` to the inline fields that the caller sent.
pub(crate) fn map_pointers(problem: Problem, channel_type: ChannelType) -> Problem {
    problem.map_pointers(|pointer| {
        let (first, rest) = match pointer.strip_prefix('/').map(|path| path.split_once('/').unwrap_or((path, ""))) {
            Some(parts) => parts,
            None => return pointer.to_owned(),
        };
        let key = of_type(channel_type).find(|field| field.config_key == first).map_or(first, |field| field.key);
        if rest.is_empty() { format!("/{key}") } else { format!("/{key}/{rest}") }
    })
}

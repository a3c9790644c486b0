//! Inline channel fields: a rule with a channel of its own has the channel's destination among its own fields.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tidings_channels::{ChannelConfig, ChannelContext, Field, registry};
use tidings_domain::channel::{Channel, ChannelType};
use tidings_domain::violation::{Violation, Violations, pointer};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Schema, SchemaType, Type};
use utoipa::{PartialSchema, ToSchema};

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

impl InlineField {
    fn spec(&self) -> Option<&'static Field> {
        registry::plugin(self.channel_type).fields().iter().find(|field| field.key == self.config_key)
    }
}

fn of_type(channel_type: ChannelType) -> impl Iterator<Item = &'static InlineField> {
    FIELDS.iter().filter(move |field| field.channel_type == channel_type)
}

/// The inline fields of a request, those of all channel types. An absent one keeps its value in an edit.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InlineFields(Map<String, Value>);

impl InlineFields {
    /// The destination of a webhook.
    pub(super) fn webhook(url: Value) -> Self {
        Self(Map::from_iter([("url".to_owned(), url)]))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A violation for each field.
    pub(super) fn refused(&self, message: &str) -> Violations {
        self.0.keys().map(|key| Violation::new(pointer(key), message)).collect()
    }

    /// A violation for each field of another channel type.
    pub(super) fn foreign(&self, channel_type: ChannelType) -> Violations {
        let others = FIELDS.iter().filter(|field| field.channel_type != channel_type && self.0.contains_key(field.key));
        let own: Vec<_> = of_type(channel_type).map(|field| field.key).collect();
        let violation = |field: &InlineField| {
            let (theirs, ours) = (field.channel_type.as_str(), channel_type.as_str());
            let message = format!("belongs to channelType {theirs}; the fields of {ours} are: {}", own.join(", "));
            Violation::new(pointer(field.key), message)
        };
        others.map(violation).collect()
    }

    /// The configuration of a channel of this type, merged over the `current` one. Violations name the fields of the rule.
    pub(super) fn check(
        &self,
        channel_type: ChannelType,
        current: Option<&ChannelConfig>,
        context: &ChannelContext,
    ) -> Result<ChannelConfig, Violations> {
        let given = of_type(channel_type).filter_map(|field| Some((field.config_key, self.0.get(field.key)?)));
        let config = given.map(|(key, value)| (key.to_owned(), value.clone())).collect();
        registry::plugin(channel_type).check(&config, current, context).map_err(|violations| {
            let own = |violation: Violation| match of_type(channel_type)
                .find_map(|field| Some((field.key, violation.pointer.strip_prefix(&pointer(field.config_key))?)))
            {
                Some((key, rest)) => Violation::new(format!("{}{rest}", pointer(key)), violation.message),
                None => violation,
            };
            violations.into_iter().map(own).collect()
        })
    }
}

/// The inline fields of a rule in responses, secrets masked. None if the channel is shared.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub struct ShownFields(Map<String, Value>);

impl ShownFields {
    pub(super) fn of(channel: &Channel) -> Self {
        let shown = of_type(channel.channel_type).filter(|_| channel.owner_rule_id.is_some());
        let value = |field: &InlineField| channel.settings.get(field.config_key).cloned().unwrap_or(Value::Null);
        Self(shown.map(|field| (field.key.to_owned(), value(field))).collect())
    }
}

/// The schema of all inline fields.
fn schema(is_request: bool) -> RefOr<Schema> {
    let property = |field: &InlineField| -> Option<Schema> {
        let Field { about, required, secret, example, .. } = field.spec()?;
        let about = format!("Of channelType {}: {about}", field.channel_type.as_str());
        if example.starts_with('[') {
            let items = ObjectBuilder::new().schema_type(Type::String);
            return Some(ArrayBuilder::new().items(items).description(Some(about)).into());
        }
        let is_nullable = !(*required || *secret);
        let kinds = if is_nullable { vec![Type::String, Type::Null] } else { vec![Type::String] };
        let text = ObjectBuilder::new().schema_type(SchemaType::from_iter(kinds)).examples([*example]);
        let about = match (secret, is_request) {
            (false, _) => about,
            (true, true) => format!("{about} In an edit, an empty or masked value keeps the stored one."),
            (true, false) => format!("{about} Secret: masked."),
        };
        let text = text.description(Some(about));
        Some(if *secret && is_request { text.write_only(true) } else { text }.into())
    };
    let mut object = ObjectBuilder::new();
    for field in &FIELDS {
        if let Some(schema) = property(field) {
            object = object.property(field.key, schema);
        }
    }
    object.into()
}

impl PartialSchema for InlineFields {
    fn schema() -> RefOr<Schema> {
        schema(true)
    }
}

impl ToSchema for InlineFields {}

impl PartialSchema for ShownFields {
    fn schema() -> RefOr<Schema> {
        schema(false)
    }
}

impl ToSchema for ShownFields {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_inline_field_is_one_of_its_channel_type() {
        for field in &FIELDS {
            assert!(field.spec().is_some(), "{}", field.key);
        }
        let mut keys: Vec<_> = FIELDS.iter().map(|field| field.key).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), FIELDS.len(), "a key has one meaning");
    }
}

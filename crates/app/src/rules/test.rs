//! `/notification-rules/test`: sends a test at once.

use serde::Deserialize;
use tidings_domain::channel::ChannelType;
use tidings_domain::id::RuleId;
use tidings_domain::resource::{ResourceType, validate_resource_selector};
use tidings_domain::rule::RuleSettings;
use tidings_domain::violation::Violation;
use tidings_engine::TestConfig;
use utoipa::ToSchema;

use super::{InlineFields, find};
use crate::channels::TestResult;
use crate::contract::Input;
use crate::error::{AppError, Result};
use crate::principal::{Authorized, SendNow};
use crate::schemas;

/// The resource in a test that names none.
const SAMPLE_RESOURCE_ID: &str = "sample";

/// What to test: a saved rule by its id, or a rule as it would be created, with a channel of its own. Of the latter the
/// channel and the resource are used; the other fields are validated only, as tests evaluate neither triggers nor gates. (A
/// shared channel has a test of its own.)
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({"channelType": "webhook", "url": "https://example.com/hooks/tidings"}))]
pub struct RuleTest {
    /// A saved rule; instead of all other fields.
    #[serde(default)]
    #[schema(value_type = RuleId)]
    pub rule_id: Option<RuleId>,
    #[serde(default)]
    #[schema(schema_with = schemas::rule_type)]
    pub resource_type: Option<ResourceType>,
    #[serde(default)]
    #[schema(schema_with = schemas::resource_selector)]
    pub resource_id: Option<String>,
    #[serde(default)]
    #[schema(value_type = bool)]
    pub enabled: Option<bool>,
    #[serde(default)]
    #[schema(value_type = bool)]
    pub paused: Option<bool>,
    #[serde(flatten)]
    pub settings: RuleSettings,
    #[serde(default)]
    #[schema(value_type = ChannelType)]
    pub channel_type: Option<ChannelType>,
    #[serde(flatten)]
    pub inline: InlineFields,
    /// A webhook that is not saved has a throwaway secret in any case.
    #[serde(default)]
    #[schema(value_type = bool)]
    pub rotate_webhook_secret: Option<bool>,
}

impl RuleTest {
    /// Whether it has no other field than the rule's id.
    fn is_of_saved_rule_only(&self) -> bool {
        self.resource_type.is_none()
            && self.resource_id.is_none()
            && self.enabled.or(self.paused).or(self.rotate_webhook_secret).is_none()
            && self.settings.triggers.is_empty()
            && self.settings.trigger_types.is_empty()
            && self.channel_type.is_none()
            && self.inline.is_empty()
    }
}

/// Sends a test through the channel of a saved rule, or through one that is not saved. It leaves no delivery.
///
/// # Errors
/// [`AppError::Invalid`], [`AppError::Busy`], and if there is no such rule, or if its channel cannot be used.
pub async fn test(by: &Authorized<SendNow>, mut input: Input<RuleTest>) -> Result<TestResult> {
    if let Some(id) = input.value.rule_id {
        if !input.value.is_of_saved_rule_only() {
            input.refuse_field("/ruleId", "must be the only field: a saved rule is tested as it is");
        }
        input.finish()?;
        find(&*by.view()?, id)?;
        let _slot = by.channel_test_slot()?;
        return Ok(by.engine().test_rule(by.workspace_id(), id).await?.into());
    }
    if let Some(kind) = input.value.resource_type {
        let mut settings = input.value.settings.clone();
        if settings.triggers.is_empty() {
            settings.triggers = RuleSettings::for_every_event(kind).triggers;
        }
        input.refuse(settings.violations(kind));
    }
    let fault = input.value.resource_id.as_deref().and_then(validate_resource_selector);
    input.refuse(fault.map(|fault| Violation::new("/resourceId", fault)));
    let Some(channel_type) = input.value.channel_type else {
        if !input.is_refused("/ruleId") {
            input.refuse_field("/channelType", "is required");
        }
        input.finish()?;
        return Err(AppError::invalid("/channelType", "is required"));
    };
    if input.value.rotate_webhook_secret == Some(true) && channel_type != ChannelType::Webhook {
        input.refuse_field("/rotateWebhookSecret", "only webhooks have a signing secret");
    }
    let foreign = input.value.inline.foreign(channel_type);
    let config = if foreign.is_empty() {
        input.value.inline.check(channel_type, None, by.engine().settings().channel_context())
    } else {
        Err(foreign)
    };
    let config = config.unwrap_or_else(|violations| {
        input.refuse(violations);
        Default::default()
    });
    let RuleTest { resource_type, resource_id, .. } = input.finish()?;
    let test = TestConfig {
        resource_type: resource_type.unwrap_or(ResourceType::Flow),
        resource_id: resource_id.filter(|id| id != "*").unwrap_or_else(|| SAMPLE_RESOURCE_ID.to_owned()),
        channel_type,
        config,
    };
    let _slot = by.channel_test_slot()?;
    Ok(by.engine().test_config(by.workspace_id(), test).await?.into())
}

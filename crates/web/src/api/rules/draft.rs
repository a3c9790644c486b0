//! Request bodies of rules: creation, edit and test.

use tidings_domain::channel::ChannelType;
use tidings_domain::id::{ChannelId, RuleId};
use tidings_domain::resource::{ResourceSelector, ResourceType, validate_resource_selector};
use tidings_domain::rule::Rule;
use tidings_domain::severity::Severity;
use tidings_domain::trigger::{RuleTrigger, TRIGGER_TYPE_FORM, TriggerType};
use tidings_engine::TestConfig;
use tidings_engine::settings::{NewRule, RuleChannel, RuleEdit, RuleView};

use crate::api::inline;
use crate::body::Object;
use crate::fields::{Fields, one_of};
use crate::problem::Problem;

const TRIGGER_TYPES_MAX: usize = 20;
/// The resource in a test that names none.
const SAMPLE_RESOURCE_ID: &str = "sample";

/// The triggers of every resource type.
const ALL_TRIGGERS: [RuleTrigger; 5] =
    [RuleTrigger::Success, RuleTrigger::Failure, RuleTrigger::Opened, RuleTrigger::Resolved, RuleTrigger::Escalated];

/// The fields that creation, edit and test share.
struct RuleBase {
    triggers: Option<Vec<RuleTrigger>>,
    trigger_types: Option<Vec<TriggerType>>,
    enabled: Option<bool>,
    paused: Option<bool>,
    failure_severity: Option<Severity>,
}

impl RuleBase {
    /// Reads them for a rule of this resource type; if it is unknown, the triggers of every type are accepted.
    fn read(fields: &mut Fields, resource_type: Option<ResourceType>) -> Self {
        let possible = resource_type.map_or(&ALL_TRIGGERS[..], RuleTrigger::allowed_for);
        let named = |word: &str| possible.iter().copied().find(|trigger| trigger.as_str() == word);
        let words: Vec<_> = possible.iter().map(|trigger| trigger.as_str()).collect();
        let triggers = fields.words("triggers", possible.len(), &one_of(words.iter().copied()), named);
        if triggers.as_ref().is_some_and(Vec::is_empty) {
            fields.refuse_once("triggers", format!("must list at least one trigger: {}", words.join(", ")));
        }
        let severities = [Severity::Critical, Severity::Warning, Severity::Info];
        let named = |word: &str| severities.into_iter().find(|severity| severity.as_str() == word);
        Self {
            triggers,
            trigger_types: fields.words("triggerTypes", TRIGGER_TYPES_MAX, TRIGGER_TYPE_FORM, TriggerType::parse),
            enabled: fields.boolean("enabled"),
            paused: fields.boolean("paused"),
            failure_severity: fields.parsed("failureSeverity", &one_of(severities.map(Severity::as_str)), named),
        }
    }
}

fn resource_type(fields: &mut Fields) -> Option<ResourceType> {
    let types = one_of(ResourceType::OF_RULES.map(ResourceType::as_str));
    fields.parsed("resourceType", &types, ResourceType::parse_rule_type)
}

fn channel_type(fields: &mut Fields) -> Option<ChannelType> {
    fields.parsed("channelType", &one_of(ChannelType::ALL.map(ChannelType::as_str)), ChannelType::parse)
}

fn channel_id(fields: &mut Fields) -> Option<ChannelId> {
    fields.parsed("channelId", "must be a channel's id, such as ch_… of GET /channels", |text| text.parse().ok())
}

const NOT_WITH_CHANNEL_ID: &str = "must not be combined with channelId: a rule has a shared channel or one of its own";

/// The channel in the body: a shared one by `channelId`, or one of its own by the inline fields of `channel_type`.
fn channel(fields: &mut Fields, channel_type: Option<ChannelType>) -> Option<RuleChannel> {
    if fields.has("channelId") {
        let id = channel_id(fields);
        inline::reject(fields, Some(NOT_WITH_CHANNEL_ID));
        return id.map(RuleChannel::Shared);
    }
    fields.know("channelId");
    let Some(channel_type) = channel_type else {
        inline::reject(fields, None);
        return None;
    };
    let config = inline::read(fields, channel_type);
    Some(RuleChannel::Inline { channel_type, config })
}

/// Reads the creation of a rule. With `channelId`, `channelType` is optional and must be that of the channel.
pub(super) fn new(object: Object, type_of: impl Fn(ChannelId) -> Option<ChannelType>) -> Result<NewRule, Problem> {
    let mut fields = Fields::null_as_absent(object);
    let resource_type = resource_type(&mut fields);
    let resource_type = fields.required("resourceType", resource_type);
    let resource_id = fields.external_id("resourceId", validate_resource_selector);
    let resource_id = fields.required("resourceId", resource_id);
    let base = RuleBase::read(&mut fields, resource_type);
    let has_incidents = resource_type.is_some_and(ResourceType::has_incidents);
    // By default a rule of a resource with incidents notifies of all their transitions; runs have no default.
    let triggers = base.triggers.or_else(|| has_incidents.then(|| RuleTrigger::OF_INCIDENTS.to_vec()));
    let triggers = fields.required("triggers", triggers);
    let is_shared = fields.has("channelId");
    let channel_type = channel_type(&mut fields);
    let channel_type = if is_shared { channel_type } else { fields.required("channelType", channel_type) };
    let channel = channel(&mut fields, channel_type);
    check_expected_type(&mut fields, channel.as_ref(), channel_type, type_of);
    let rotate = fields.boolean("rotateWebhookSecret") == Some(true);
    reject_rotation(&mut fields, rotate && channel_type != Some(ChannelType::Webhook));
    fields.finish(|| {
        Some(NewRule {
            resource_type: resource_type?,
            resource: ResourceSelector::parse(&resource_id?),
            channel: channel?,
            triggers: triggers?,
            trigger_types: base.trigger_types.unwrap_or_default(),
            enabled: base.enabled.unwrap_or(true),
            paused: base.paused.unwrap_or(false),
            failure_severity: base.failure_severity.unwrap_or(Severity::Warning),
        })
    })
}

/// Reads an edit of a rule. Its resource cannot be changed, but the body may repeat it.
pub(super) fn edit(
    object: Object,
    before: &RuleView,
    type_of: impl Fn(ChannelId) -> Option<ChannelType>,
) -> Result<RuleEdit, Problem> {
    let mut fields = Fields::new(object);
    reject_other_resource(&mut fields, &before.rule);
    let base = RuleBase::read(&mut fields, Some(before.rule.resource_type));
    let new_type = channel_type(&mut fields);
    let current_type = before.channel.channel_type;
    let changes_channel = fields.has("channelId")
        || inline::any_present(&fields)
        || new_type.is_some_and(|new_type| new_type != current_type);
    let channel_type = new_type.unwrap_or(current_type);
    let channel = if changes_channel {
        channel(&mut fields, Some(channel_type))
    } else {
        fields.know("channelId");
        inline::reject(&mut fields, None);
        None
    };
    check_expected_type(&mut fields, channel.as_ref(), new_type, type_of);
    let rotate_secret = fields.boolean("rotateWebhookSecret").unwrap_or(false);
    reject_rotation(&mut fields, rotate_secret && channel_type != ChannelType::Webhook);
    fields.finish(|| {
        Some(RuleEdit {
            channel,
            triggers: base.triggers,
            trigger_types: base.trigger_types,
            enabled: base.enabled,
            paused: base.paused,
            failure_severity: base.failure_severity,
            rotate_secret,
        })
    })
}

fn reject_other_resource(fields: &mut Fields, rule: &Rule) {
    if fields.text("resourceType").is_some_and(|kind| kind != rule.resource_type.as_str()) {
        fields.refuse_once("resourceType", "cannot be changed: create another rule");
    }
    if fields.external_id("resourceId", |_| None).is_some_and(|id| id != rule.resource.as_str()) {
        fields.refuse_once("resourceId", "cannot be changed: create another rule");
    }
}

fn reject_rotation(fields: &mut Fields, wrong: bool) {
    if wrong {
        fields.refuse_once("rotateWebhookSecret", "only webhooks have a signing secret");
    }
}

/// A `channelType` beside a `channelId` of another type is a violation: the caller means another channel.
fn check_expected_type(
    fields: &mut Fields,
    channel: Option<&RuleChannel>,
    expected: Option<ChannelType>,
    type_of: impl Fn(ChannelId) -> Option<ChannelType>,
) {
    let (Some(RuleChannel::Shared(id)), Some(expected)) = (channel, expected) else { return };
    if let Some(actual) = type_of(*id)
        && actual != expected
    {
        fields.refuse_once("channelType", format!("the channel of this channelId is of type {}", actual.as_str()));
    }
}

/// What to test.
pub(super) enum TestRequest {
    /// A stored rule.
    Rule(RuleId),
    /// A configuration that is not stored.
    Config(TestConfig),
}

/// Reads a test: `{ruleId}`, or the body of a creation. Of the latter only the channel and the resource are used, because
/// tests evaluate neither gates nor triggers; the other fields are validated all the same.
pub(super) fn test(object: Object) -> Result<TestRequest, Problem> {
    let mut fields = Fields::null_as_absent(object);
    if fields.has("ruleId") {
        let rule_id = fields.parsed("ruleId", "must be a rule's id, such as rule_…", |text| text.parse().ok());
        return fields.finish(|| rule_id.map(TestRequest::Rule));
    }
    fields.know("ruleId");
    let resource_type = resource_type(&mut fields);
    let resource_id = fields.external_id("resourceId", validate_resource_selector).filter(|id| id != "*");
    RuleBase::read(&mut fields, resource_type);
    fields.boolean("rotateWebhookSecret");
    if fields.take("channelId").is_some() {
        fields.refuse_once("channelId", "a shared channel is tested with POST /channels/{id}/test");
    }
    let channel_type = channel_type(&mut fields);
    let channel_type = fields.required("channelType", channel_type);
    let channel = channel(&mut fields, channel_type);
    fields.finish(|| match channel? {
        RuleChannel::Inline { channel_type, config } => Some(TestRequest::Config(TestConfig {
            resource_type: resource_type.unwrap_or(ResourceType::Flow),
            resource_id: resource_id.unwrap_or_else(|| SAMPLE_RESOURCE_ID.to_owned()),
            channel_type,
            config,
        })),
        RuleChannel::Shared(_) => None,
    })
}

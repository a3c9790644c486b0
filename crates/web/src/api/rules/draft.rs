//! Bodies of rules: to be made, edited or tested, each read with everything that is wrong in it.

use tidings_domain::channel::ChannelType;
use tidings_domain::id::{ChannelId, RuleId};
use tidings_domain::resource::{ResourceSelector, ResourceType, invalid_external_id};
use tidings_domain::rule::Rule;
use tidings_domain::severity::Severity;
use tidings_domain::trigger::{RuleTrigger, TRIGGER_TYPE_FORM, TriggerType};
use tidings_engine::TestConfig;
use tidings_engine::settings::{NewRule, RuleChannel, RuleEdit, RuleView};

use crate::api::inline;
use crate::body::Object;
use crate::fields::{Fields, one_of};
use crate::problem::Problem;

/// The most trigger types that a rule may list.
const TRIGGER_TYPES_MAX: usize = 20;
/// The resource that a test speaks of where none is named.
const SAMPLE_RESOURCE_ID: &str = "sample";

/// What rules may list, whatever they are about.
const ALL_TRIGGERS: [RuleTrigger; 5] =
    [RuleTrigger::Success, RuleTrigger::Failure, RuleTrigger::Opened, RuleTrigger::Resolved, RuleTrigger::Escalated];

/// A rule's fields that are the same whether it is made, edited or tested.
struct Common {
    triggers: Option<Vec<RuleTrigger>>,
    trigger_types: Option<Vec<TriggerType>>,
    enabled: Option<bool>,
    paused: Option<bool>,
    failure_severity: Option<Severity>,
}

impl Common {
    /// Reads them, for a rule about this type of resource; for any if it is not known.
    fn read(fields: &mut Fields, resource_type: Option<ResourceType>) -> Self {
        let possible = resource_type.map_or(&ALL_TRIGGERS[..], RuleTrigger::of);
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
    fields.parsed("resourceType", &types, ResourceType::parse_of_rules)
}

fn channel_type(fields: &mut Fields) -> Option<ChannelType> {
    fields.parsed("channelType", &one_of(ChannelType::ALL.map(ChannelType::as_str)), ChannelType::parse)
}

fn channel_id(fields: &mut Fields) -> Option<ChannelId> {
    fields.parsed("channelId", "must be a channel's id, such as ch_… of GET /channels", |text| text.parse().ok())
}

const EITHER: &str = "must not stand beside channelId: a rule has a shared channel or one of its own";

/// The channel that a body names: a shared one, or its own by inline fields of `channel_type`.
fn channel(fields: &mut Fields, channel_type: Option<ChannelType>) -> Option<RuleChannel> {
    if fields.has("channelId") {
        let id = channel_id(fields);
        inline::refuse(fields, Some(EITHER));
        return id.map(RuleChannel::Shared);
    }
    fields.know("channelId");
    let Some(channel_type) = channel_type else {
        inline::refuse(fields, None);
        return None;
    };
    let config = inline::take(fields, channel_type);
    Some(RuleChannel::Inline { channel_type, config })
}

/// Reads a rule that is to be made. With `channelId`, `channelType` is what the channel's type is expected to be.
pub(super) fn new(object: Object, type_of: impl Fn(ChannelId) -> Option<ChannelType>) -> Result<NewRule, Problem> {
    let mut fields = Fields::where_null_is_absent(object);
    let resource_type = resource_type(&mut fields);
    let resource_type = fields.required("resourceType", resource_type);
    let resource_id = fields.text_where("resourceId", invalid_external_id);
    let resource_id = fields.required("resourceId", resource_id);
    let common = Common::read(&mut fields, resource_type);
    let of_incidents = resource_type.is_some_and(ResourceType::has_incidents);
    // What breaks is told of whole, unless somebody says otherwise.
    let triggers = common.triggers.or_else(|| of_incidents.then(|| RuleTrigger::OF_INCIDENTS.to_vec()));
    let triggers = fields.required("triggers", triggers);
    let is_shared = fields.has("channelId");
    let channel_type = channel_type(&mut fields);
    let channel_type = if is_shared { channel_type } else { fields.required("channelType", channel_type) };
    let channel = channel(&mut fields, channel_type);
    check_expected_type(&mut fields, channel.as_ref(), channel_type, type_of);
    let rotate = fields.boolean("rotateWebhookSecret") == Some(true);
    refuse_rotation(&mut fields, rotate && channel_type != Some(ChannelType::Webhook));
    fields.finish(|| {
        Some(NewRule {
            resource_type: resource_type?,
            resource: ResourceSelector::parse(&resource_id?),
            channel: channel?,
            triggers: triggers?,
            trigger_types: common.trigger_types.unwrap_or_default(),
            enabled: common.enabled.unwrap_or(true),
            paused: common.paused.unwrap_or(false),
            failure_severity: common.failure_severity.unwrap_or(Severity::Warning),
        })
    })
}

/// Reads an edit of a rule. What the rule is about cannot be edited, but may be repeated.
pub(super) fn edit(
    object: Object,
    before: &RuleView,
    type_of: impl Fn(ChannelId) -> Option<ChannelType>,
) -> Result<RuleEdit, Problem> {
    let mut fields = Fields::new(object);
    refuse_other_resource(&mut fields, &before.rule);
    let common = Common::read(&mut fields, Some(before.rule.resource_type));
    let wanted = channel_type(&mut fields);
    let now = before.channel.channel_type;
    let changes_channel =
        fields.has("channelId") || inline::is_any(&fields) || wanted.is_some_and(|wanted| wanted != now);
    let channel_type = wanted.unwrap_or(now);
    let channel = if changes_channel {
        channel(&mut fields, Some(channel_type))
    } else {
        fields.know("channelId");
        inline::refuse(&mut fields, None);
        None
    };
    check_expected_type(&mut fields, channel.as_ref(), wanted, type_of);
    let rotate_secret = fields.boolean("rotateWebhookSecret").unwrap_or(false);
    refuse_rotation(&mut fields, rotate_secret && channel_type != ChannelType::Webhook);
    fields.finish(|| {
        Some(RuleEdit {
            channel,
            triggers: common.triggers,
            trigger_types: common.trigger_types,
            enabled: common.enabled,
            paused: common.paused,
            failure_severity: common.failure_severity,
            rotate_secret,
        })
    })
}

fn refuse_other_resource(fields: &mut Fields, rule: &Rule) {
    if fields.text("resourceType").is_some_and(|kind| kind != rule.resource_type.as_str()) {
        fields.refuse_once("resourceType", "cannot be changed: make another rule");
    }
    if fields.text("resourceId").is_some_and(|id| id != rule.resource.as_str()) {
        fields.refuse_once("resourceId", "cannot be changed: make another rule");
    }
}

fn refuse_rotation(fields: &mut Fields, wrong: bool) {
    if wrong {
        fields.refuse_once("rotateWebhookSecret", "only webhooks have a signing secret");
    }
}

/// A shared channel has its type; a body that names another one means another channel.
fn check_expected_type(
    fields: &mut Fields,
    channel: Option<&RuleChannel>,
    expected: Option<ChannelType>,
    type_of: impl Fn(ChannelId) -> Option<ChannelType>,
) {
    let (Some(RuleChannel::Shared(id)), Some(expected)) = (channel, expected) else { return };
    if let Some(is) = type_of(*id)
        && is != expected
    {
        fields.refuse_once("channelType", format!("the channel of this channelId is of type {}", is.as_str()));
    }
}

/// What is to be tested.
pub(super) enum TestOf {
    /// A saved rule.
    Rule(RuleId),
    /// A configuration that is not saved.
    Config(TestConfig),
}

/// Reads what is to be tested: `{ruleId}`, or a rule as it would be saved. Of that only the channel and the resource
/// matter: a test walks no gate and asks no trigger.
pub(super) fn test(object: Object) -> Result<TestOf, Problem> {
    let mut fields = Fields::where_null_is_absent(object);
    if fields.has("ruleId") {
        let rule_id = fields.parsed("ruleId", "must be a rule's id, such as rule_…", |text| text.parse().ok());
        return fields.finish(|| rule_id.map(TestOf::Rule));
    }
    fields.know("ruleId");
    let resource_type = resource_type(&mut fields);
    let resource_id = fields.text_where("resourceId", invalid_external_id).filter(|id| id != "*");
    Common::read(&mut fields, resource_type);
    fields.boolean("rotateWebhookSecret");
    if fields.take("channelId").is_some() {
        fields.refuse_once("channelId", "a shared channel is tested with POST /channels/{id}/test");
    }
    let channel_type = channel_type(&mut fields);
    let channel_type = fields.required("channelType", channel_type);
    let channel = channel(&mut fields, channel_type);
    fields.finish(|| match channel? {
        RuleChannel::Inline { channel_type, config } => Some(TestOf::Config(TestConfig {
            resource_type: resource_type.unwrap_or(ResourceType::Flow),
            resource_id: resource_id.unwrap_or_else(|| SAMPLE_RESOURCE_ID.to_owned()),
            channel_type,
            config,
        })),
        RuleChannel::Shared(_) => None,
    })
}

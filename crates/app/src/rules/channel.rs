//! The channel of a rule that is created or edited.

use std::sync::Arc;

use serde_json::Value;
use tidings_channels::ChannelConfig;
use tidings_domain::channel::{Channel, ChannelType, Connectivity, Policies};
use tidings_domain::id::RuleId;
use tidings_domain::rule::Rule;
use tidings_domain::secret::Secret;
use tidings_domain::text::{is_blank, truncate_chars};
use tidings_domain::time::Timestamp;
use tidings_engine::clock::new_id;
use tidings_engine::settings::channels::{changes_destination, new_signing_secret, reenable, rotate_signing_secret};
use tidings_engine::settings::{NAME_CHARS_MAX, OVERLAP_MS_DEFAULT};
use tidings_engine::snapshot::{LoadedChannel, WorkspaceView};
use tidings_store::settings::{ConfigChange, Precondition};

use super::RuleDraft;
use crate::contract::Input;
use crate::error::{AppError, Result};
use crate::principal::{Authorized, Configure};
use crate::quotas::{self, Quota};

const NOT_WITH_CHANNEL_ID: &str = "must not be combined with channelId: a rule has a shared channel or one of its own";
const NO_CHANNEL: &str = "there is no such channel in this workspace";
const NO_SIGNING_SECRET: &str = "only webhooks have a signing secret";

/// Which channel a request gives to a rule.
pub(super) enum Choice {
    /// That which the rule has.
    Unchanged,
    Shared(Arc<LoadedChannel>),
    /// One of its own, with this configuration.
    Own(ChannelType, ChannelConfig),
}

/// The channel of a rule, and the changes to commit before the rule.
pub(super) struct ChannelPart {
    pub channel: Channel,
    pub changes: Vec<ConfigChange>,
    pub signing_secret: Option<Secret>,
    pub has_new_secrets: bool,
    /// Whether it sends elsewhere, or otherwise, from now on.
    pub has_new_config: bool,
}

impl Choice {
    /// Reads the choice, and adds what is wrong with it. `None` if there is none.
    pub(super) fn read(
        by: &Authorized<Configure>,
        view: &WorkspaceView,
        input: &mut Input<RuleDraft>,
        rule: Option<&Rule>,
    ) -> Option<Self> {
        let current = rule.and_then(|rule| view.channel(rule.channel_id));
        let choice = Self::read_channel(by, view, input, rule.is_some(), current.map(AsRef::as_ref));
        if input.value.rotate_webhook_secret {
            let fault = match (&choice, current) {
                (Some(Self::Own(ChannelType::Webhook, _)), _) | (None, _) => None,
                (Some(Self::Own(..)), _) => Some(NO_SIGNING_SECRET),
                (Some(Self::Unchanged), Some(loaded)) if !loaded.is_shared() => {
                    (loaded.channel.channel_type != ChannelType::Webhook).then_some(NO_SIGNING_SECRET)
                }
                _ => Some("this rule uses a shared channel: rotate the channel's secret instead"),
            };
            if let Some(fault) = fault {
                input.refuse_field("/rotateWebhookSecret", fault);
            }
        }
        choice
    }

    fn read_channel(
        by: &Authorized<Configure>,
        view: &WorkspaceView,
        input: &mut Input<RuleDraft>,
        is_edit: bool,
        current: Option<&LoadedChannel>,
    ) -> Option<Self> {
        if input.is_refused("/channelId") || input.is_refused("/channelType") {
            return None;
        }
        if let Some(id) = input.value.channel_id {
            if !input.value.inline.is_empty() {
                input.refuse(input.value.inline.refused(NOT_WITH_CHANNEL_ID));
                return None;
            }
            let Some(loaded) = view.channel(id).filter(|loaded| loaded.is_shared()) else {
                input.refuse_field("/channelId", NO_CHANNEL);
                return None;
            };
            let actual = loaded.channel.channel_type;
            if input.value.channel_type.is_some_and(|expected| expected != actual) {
                let message = format!("the channel of this channelId is of type {}", actual.as_str());
                input.refuse_field("/channelType", message);
            }
            return Some(Self::Shared(Arc::clone(loaded)));
        }
        let current_type = current.map(|loaded| loaded.channel.channel_type);
        let Some(channel_type) = input.value.channel_type.or(current_type) else {
            input.refuse_field("/channelType", "is required");
            return None;
        };
        if is_edit && input.value.inline.is_empty() && current_type == Some(channel_type) {
            return Some(Self::Unchanged);
        }
        let foreign = input.value.inline.foreign(channel_type);
        if !foreign.is_empty() {
            // Rather the type is wrong than that the fields of this one are missing.
            input.refuse(foreign);
            return None;
        }
        // What it does not say is as it was, if it is the same channel.
        let merged_over = current.filter(|loaded| !loaded.is_shared() && current_type == Some(channel_type));
        let context = by.engine().settings().channel_context();
        match input.value.inline.check(channel_type, merged_over.map(|loaded| &loaded.config), context) {
            Ok(config) => Some(Self::Own(channel_type, config)),
            Err(violations) => {
                input.refuse(violations);
                None
            }
        }
    }

    /// The channel that the rule has from now on.
    pub(super) fn apply(
        self,
        by: &Authorized<Configure>,
        view: &WorkspaceView,
        rule_id: RuleId,
        draft: &RuleDraft,
        now: Timestamp,
    ) -> Result<ChannelPart> {
        let rule = view.rule(rule_id);
        let private = rule.and_then(|rule| view.private_channel(rule));
        match (self, private) {
            (Self::Shared(loaded), _) => Ok(ChannelPart::kept(&loaded)),
            (Self::Own(channel_type, config), Some(loaded)) if loaded.channel.channel_type == channel_type => {
                updated(by, loaded, config, draft, now)
            }
            (Self::Own(channel_type, config), private) => {
                if private.is_none() {
                    quotas::check(by, view, Quota::PrivateChannels, 1)?;
                }
                Ok(created(by, rule_id, channel_type, config, now))
            }
            (Self::Unchanged, Some(loaded)) if changes_own_channel(loaded, draft) => {
                updated(by, loaded, loaded.config.clone(), draft, now)
            }
            (Self::Unchanged, _) => {
                let loaded = rule.and_then(|rule| view.channel(rule.channel_id));
                loaded.map(|loaded| ChannelPart::kept(loaded)).ok_or(AppError::not_found("channel"))
            }
        }
    }
}

impl ChannelPart {
    fn kept(loaded: &LoadedChannel) -> Self {
        Self {
            channel: loaded.channel.clone(),
            changes: Vec::new(),
            signing_secret: None,
            has_new_secrets: false,
            has_new_config: false,
        }
    }
}

/// Whether an edit without channel fields changes the rule's own channel all the same.
fn changes_own_channel(loaded: &LoadedChannel, draft: &RuleDraft) -> bool {
    draft.rotate_webhook_secret || (draft.enabled == Some(true) && loaded.channel.disabled_reason.is_some())
}

fn created(
    by: &Authorized<Configure>,
    rule_id: RuleId,
    channel_type: ChannelType,
    mut config: ChannelConfig,
    now: Timestamp,
) -> ChannelPart {
    let settings = by.engine().settings();
    let signing_secret = new_signing_secret(&mut config, channel_type, settings.clock(), now);
    let channel = Channel {
        id: new_id(settings.clock(), now),
        workspace_id: by.workspace_id(),
        owner_rule_id: Some(rule_id),
        name: own_name(&config, channel_type, rule_id),
        channel_type,
        settings: config.settings.clone(),
        enabled: true,
        disabled_reason: None,
        policies: Policies::default(),
        connectivity: Connectivity::default(),
        revision: 1,
        created_at: now,
        updated_at: now,
    };
    let put = ConfigChange::PutChannel(settings.channel_record(channel.clone(), &config), Precondition::Absent);
    ChannelPart { channel, changes: vec![put], signing_secret, has_new_secrets: true, has_new_config: true }
}

/// A rule's own channel with a new configuration, and a new signing secret if the draft asks for one. A channel that Tidings
/// has disabled is enabled again when the rule is enabled or the destination changes.
fn updated(
    by: &Authorized<Configure>,
    loaded: &LoadedChannel,
    mut config: ChannelConfig,
    draft: &RuleDraft,
    now: Timestamp,
) -> Result<ChannelPart> {
    let settings = by.engine().settings();
    let mut channel = loaded.channel.clone();
    let (has_new_destination, has_new_config) = (changes_destination(loaded, &config), config != loaded.config);
    match draft.enabled {
        Some(true) => (channel.enabled, channel.disabled_reason) = (true, None),
        None if has_new_destination => reenable(&mut channel),
        _ => {}
    }
    let mut signing_secret = None;
    if draft.rotate_webhook_secret {
        let (channel_type, clock) = (channel.channel_type, settings.clock());
        signing_secret = Some(rotate_signing_secret(&mut config, channel_type, OVERLAP_MS_DEFAULT, clock, now)?);
    }
    let before = channel.revision;
    (channel.revision, channel.updated_at) = (before + 1, now);
    channel.settings.clone_from(&config.settings);
    if let Some(rule_id) = channel.owner_rule_id {
        channel.name = own_name(&config, channel.channel_type, rule_id);
    }
    let record = settings.channel_record(channel.clone(), &config);
    let put = ConfigChange::PutChannel(record, Precondition::Revision(before));
    let has_new_secrets = has_new_destination || signing_secret.is_some();
    Ok(ChannelPart { channel, changes: vec![put], signing_secret, has_new_secrets, has_new_config })
}

/// The name of a rule's own channel, as explanations and simulations show it: the label that its rule gives it, or what it
/// is.
fn own_name(config: &ChannelConfig, channel_type: ChannelType, rule_id: RuleId) -> String {
    let label = config.settings.get("displayLabel").and_then(Value::as_str).filter(|label| !is_blank(label));
    label.map_or_else(
        || format!("{} of {rule_id}", channel_type.as_str()),
        |label| truncate_chars(label, NAME_CHARS_MAX),
    )
}

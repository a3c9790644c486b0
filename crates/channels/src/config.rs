//! A channel's configuration: what may be in it, what of it is secret, and how it becomes a [`Notifier`].

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};
use tidings_domain::channel::ChannelType;
use tidings_domain::secret::Secret;
use tidings_domain::violation::Violations;

use crate::Notifier;
use crate::egress::Egress;
use crate::email::RelayConfig;

/// A field of a channel type's configuration, for validation, redaction, forms and documents.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Its key in `config`.
    pub key: &'static str,
    /// What it is, in a sentence.
    pub about: &'static str,
    /// Whether it must be there.
    pub required: bool,
    /// Whether it is sealed at rest and shown only as a masked preview.
    pub secret: bool,
    /// An example that passes validation.
    pub example: &'static str,
}

/// A channel's configuration as it is kept.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ChannelConfig {
    /// What the API shows as `config`: fields that are no secret, and masked previews of those that are.
    pub settings: Map<String, Value>,
    /// The secrets, by the field's key; to be sealed before they are stored.
    pub secrets: BTreeMap<String, Secret>,
}

/// What all channels share: the way out, and what the operator set for the instance.
#[derive(Clone)]
pub struct ChannelContext {
    /// The only way out to the network.
    pub egress: Arc<Egress>,
    /// The instance's own SMTP server, if the operator named one.
    pub mail: Option<Arc<RelayConfig>>,
    /// What the vendor header of runs begins with (`X-Mako`).
    pub run_header_prefix: String,
    /// What the vendor headers of use cases begin with (`X-MagOne`).
    pub workflow_header_prefix: String,
    /// Where Slack's Web API is, without a final slash; elsewhere for servers that are compatible with it.
    pub slack_api_base: String,
}

/// Where Slack's Web API is.
pub const SLACK_API_BASE: &str = "https://slack.com/api";

impl ChannelContext {
    /// What an instance has where its operator set nothing: no mail server, the default header prefixes.
    pub fn new(egress: Arc<Egress>) -> Self {
        Self {
            egress,
            mail: None,
            run_header_prefix: "X-Mako".into(),
            workflow_header_prefix: "X-MagOne".into(),
            slack_api_base: SLACK_API_BASE.into(),
        }
    }
}

/// A channel type: what its configuration looks like and how it becomes a destination.
pub trait ChannelPlugin: Send + Sync {
    /// Which type it is.
    fn channel_type(&self) -> ChannelType;

    /// The fields of `config`.
    fn fields(&self) -> &'static [Field];

    /// Checks a `config` object and gives what is to be kept. On an edit, `current` is what is kept now and `input`
    /// is merged over it: a missing, empty or unchanged (masked) secret keeps its value, `null` clears an optional
    /// field. Pointers in the violations are relative to `config`, such as `/url`. Unknown keys are violations.
    fn check(
        &self,
        input: &Map<String, Value>,
        current: Option<&ChannelConfig>,
        environment: &ChannelContext,
    ) -> Result<ChannelConfig, Violations>;

    /// Makes the destination. The error says in words, without secrets, why a stored configuration cannot be used.
    fn open(&self, stored: &ChannelConfig, environment: &ChannelContext) -> Result<Arc<dyn Notifier>, String>;
}

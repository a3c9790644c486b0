//! A channel's configuration: its fields, what is secret among them, and how it becomes a [`Notifier`].

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};
use tidings_domain::channel::ChannelType;
use tidings_domain::secret::Secret;
use tidings_domain::violation::Violations;

use crate::Notifier;
use crate::egress::Egress;
use crate::email::{MailPools, RelayConfig};

/// A field of a channel type's configuration, for validation, redaction, forms and documentation.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Its key in `config`; a field of a nested object has a dot (`smtp.host`).
    pub key: &'static str,
    /// A sentence for users.
    pub about: &'static str,
    /// Whether a configuration without it is invalid.
    pub required: bool,
    /// Secrets are encrypted at rest and shown only as a masked preview.
    pub secret: bool,
    /// Passes validation, together with the examples of the required fields.
    pub example: &'static str,
}

/// A validated configuration, as it is stored.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ChannelConfig {
    /// The `config` object that the API shows: plain fields, and masked previews of the secret ones.
    pub settings: Map<String, Value>,
    /// The secrets by field key. The engine encrypts them before they are stored.
    pub secrets: BTreeMap<String, Secret>,
}

/// What all channels of an instance share: egress and the operator's settings.
#[derive(Clone)]
pub struct ChannelContext {
    /// The only way out to the network.
    pub egress: Arc<Egress>,
    /// The instance's SMTP server, if the operator set one.
    pub relay: Option<Arc<RelayConfig>>,
    /// Connections to mail servers.
    pub mail_pools: Arc<MailPools>,
    /// Prefix of the vendor headers for runs (`X-Mako`).
    pub run_header_prefix: String,
    /// Prefix of the vendor headers for use cases (`X-MagOne`).
    pub workflow_header_prefix: String,
    /// Base URL of Slack's Web API without a final slash. Differs for servers that are compatible with Slack.
    pub slack_api_base: String,
}

/// Base URL of Slack's own Web API.
pub const SLACK_API_BASE: &str = "https://slack.com/api";

impl ChannelContext {
    /// The defaults: no mail server, default header prefixes, Slack's own API.
    pub fn new(egress: Arc<Egress>) -> Self {
        Self {
            egress,
            relay: None,
            mail_pools: Arc::default(),
            run_header_prefix: "X-Mako".into(),
            workflow_header_prefix: "X-MagOne".into(),
            slack_api_base: SLACK_API_BASE.into(),
        }
    }
}

/// A channel type: describes and validates its configuration, and opens channels.
pub trait ChannelPlugin: Send + Sync {
    /// The type that this plugin implements.
    fn channel_type(&self) -> ChannelType;

    /// The fields of `config`.
    fn fields(&self) -> &'static [Field];

    /// Validates a `config` object and returns what to store. On an edit, `input` is merged over the stored `current`:
    /// a missing, empty or unchanged (masked) secret keeps its value, `null` clears an optional field. Pointers in the
    /// violations are relative to `config`, such as `/url`. Unknown keys are violations.
    fn check(
        &self,
        input: &Map<String, Value>,
        current: Option<&ChannelConfig>,
        context: &ChannelContext,
    ) -> Result<ChannelConfig, Violations>;

    /// Opens a channel. The error says, without secrets, why the stored configuration cannot be used.
    fn open(&self, stored: &ChannelConfig, context: &ChannelContext) -> Result<Arc<dyn Notifier>, String>;
}

//! Channels: how a notification reaches its receiver.
//!
//! # Cast
//!
//! - [`OutboundMessage`]: one attempt to deliver one notification: event, severity, instant, time limit, and the state that
//!   earlier attempts left.
//! - [`Notifier`]: an open channel. [`Notifier::deliver`] makes one attempt and returns an [`AttemptResult`]: delivered, to
//!   be retried, or failed for good, with an [`ErrorClass`] and a text that can be stored and shown. [`Notifier::render`]
//!   returns what it would send.
//! - [`ChannelPlugin`]: a channel type. It lists its configuration fields, validates a configuration (`check`) and makes a
//!   notifier of a stored one (`open`). [`registry`] lists all plugins.
//! - [`ChannelConfig`] and [`ChannelContext`]: a stored configuration with its secrets kept apart, and what all channels of
//!   an instance share.
//! - [`config_reader`]: reads a `config` object field by field and merges an edit over the stored configuration.
//! - [`http_channel`]: the common part of [`webhook`], [`slack`] and [`discord`]. Such a channel is two pure functions
//!   (message to request, response to result) around one HTTP exchange.
//! - [`email`]: builds a MIME message and submits it by SMTP, one transaction per recipient.
//! - [`egress`]: the only way out to the network. It resolves a name, checks each address, and connects to one that passed.
//!   The monitor's probes use it as well.
//!
//! # Flow
//!
//! ```text
//! API:     config object ─ ChannelPlugin::check ─> ChannelConfig ─> vault and store
//! engine:  ChannelConfig ─ ChannelPlugin::open  ─> Notifier
//!          OutboundMessage ─ Notifier::deliver ─> render ─> egress ─> classify ─> AttemptResult
//! ```
//!
//! The engine decides when to send, when to retry and what to keep; this crate knows no rules, no store and no API. It
//! makes no attempt of its own accord, with one exception: a request over a pooled connection that the peer had closed is
//! repeated once on a fresh one.

pub mod attempt;
pub mod config;
pub mod config_reader;
pub mod discord;
pub mod egress;
pub mod email;
pub mod http_channel;
mod link;
#[cfg(test)]
mod pictures;
mod plain;
pub mod registry;
pub mod rendered;
pub mod response_headers;
pub mod retry_after;
#[cfg(test)]
mod samples;
pub mod slack;
mod truncate;
pub mod webhook;

use std::time::Duration;

use async_trait::async_trait;
use tidings_domain::calendar::Zone;
use tidings_domain::event::Event;
use tidings_domain::id::{ChannelId, DeliveryId, RuleId};
use tidings_domain::message::{self, Message};
use tidings_domain::severity::Severity;
use tidings_domain::time::Timestamp;

pub use attempt::{AttemptResult, ErrorClass, RateSignal};
pub use config::{ChannelConfig, ChannelContext, ChannelPlugin, Field};
pub use rendered::{Rendered, RenderedMail, RenderedRequest};

use egress::DialOptions;

/// One attempt to deliver one notification.
#[derive(Debug, Clone, Copy)]
pub struct OutboundMessage<'a> {
    /// Also the `webhook-id`: the same for every attempt, so that receivers can deduplicate.
    pub delivery_id: DeliveryId,
    /// `None` for a channel's own test.
    pub rule_id: Option<RuleId>,
    /// `None` for a test of a configuration that is not stored.
    pub channel_id: Option<ChannelId>,
    /// The event to render.
    pub event: &'a Event,
    /// The severity that the rule assigns to the event.
    pub severity: Severity,
    /// The workspace's time zone, for the times in texts.
    pub zone: &'a Zone,
    /// The instant of this attempt; signatures contain it.
    pub now: Timestamp,
    /// Limit for the whole attempt.
    pub timeout: Duration,
    /// Dial and resolve anew instead of using what was kept: for every attempt but a delivery's first, and for Tests.
    pub fresh: bool,
    /// The last attempt's [`AttemptResult::attempt_state`], such as the recipients that have accepted already.
    pub attempt_state: Option<&'a str>,
    /// The `attempt_state` of the first message about the same incident, if this channel has delivered one: the thread
    /// that this message belongs to.
    pub thread: Option<&'a str>,
}

impl OutboundMessage<'_> {
    /// For whom and how anew connections for this attempt are opened.
    pub fn dial_options(&self) -> DialOptions {
        DialOptions { workspace: Some(self.event.workspace_id), fresh: self.fresh }
    }

    /// The event's texts for people, in the workspace's time zone.
    pub fn texts(&self) -> Message {
        message::of(self.event, self.severity, self.zone)
    }
}

/// An open channel: its configuration parsed, its secrets decrypted, its signing keys prepared.
#[async_trait]
pub trait Notifier: Send + Sync {
    /// Makes one attempt. Never panics, ends at most moments after the message's timeout, and never puts a secret into the
    /// result.
    async fn deliver(&self, message: &OutboundMessage<'_>) -> AttemptResult;

    /// What [`Self::deliver`] sends for this message, rendered by the same code, secrets masked. The error says why nothing
    /// can be rendered.
    fn render(&self, message: &OutboundMessage<'_>) -> Result<Rendered, String>;
}

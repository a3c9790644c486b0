//! How to say it: one module a channel type, one registry, one way out to the network.
//!
//! In the way of an event this crate stands last: the engine hands a [`OutboundMessage`] to a [`Notifier`] and gets a
//! [`AttemptResult`] back. Nothing here knows rules, stores or the API; a channel is mostly two pure functions,
//! request from letter and outcome from response.

pub mod config;
pub mod config_reader;
pub mod discord;
pub mod egress;
pub mod email;
pub mod http_channel;
pub mod registry;
pub mod report;
#[cfg(test)]
mod samples;
pub mod slack;
mod truncate;
pub mod webhook;

use std::time::Duration;

use async_trait::async_trait;
use tidings_domain::event::Event;
use tidings_domain::id::{DeliveryId, RuleId};
use tidings_domain::severity::Severity;
use tidings_domain::time::Timestamp;

pub use config::{ChannelConfig, ChannelContext, ChannelPlugin, Field};
pub use report::{AttemptResult, ErrorClass};

/// One thing to say, this time.
#[derive(Debug, Clone, Copy)]
pub struct OutboundMessage<'a> {
    /// The delivery; its id is the `webhook-id`, the same on every try.
    pub delivery_id: DeliveryId,
    /// The rule that speaks; none for a channel's own test.
    pub rule_id: Option<RuleId>,
    /// What happened.
    pub event: &'a Event,
    /// How bad it is to this rule.
    pub severity: Severity,
    /// This attempt's instant: the signatures' timestamp.
    pub now: Timestamp,
    /// How long this attempt may take, all included.
    pub timeout: Duration,
    /// What the last attempt's [`AttemptResult::carry`] left for this one, such as the recipients already served.
    pub attempt_state: Option<&'a str>,
    /// What the first message about the same incident left ([`AttemptResult::carry`]), where this channel has said one: what
    /// this one belongs under.
    pub thread: Option<&'a str>,
}

/// A channel that is ready to speak: its settings read, its secrets opened, its keys made.
#[async_trait]
pub trait Notifier: Send + Sync {
    /// Makes one attempt. Never panics, never outlives the letter's timeout by more than a moment, and never puts a
    /// secret into the report.
    async fn deliver(&self, letter: &OutboundMessage<'_>) -> AttemptResult;
}

//! `/deliveries/{id}/message`: what the channel of a delivery sends, secrets masked.

use serde::Serialize;
use tidings_channels::{Rendered, RenderedMail, RenderedRequest};
use tidings_domain::channel::ChannelType;
use tidings_domain::id::{ChannelId, DeliveryId};
use tidings_engine::DeliveryMessage;
use utoipa::ToSchema;

use crate::attempt::Header;
use crate::error::Result;
use crate::principal::{Authorized, Read};
use crate::response::Response;

/// What the channel of a delivery sends for it: rendered now from the stored event, with the settings that the channel has
/// now. Secrets, signatures and custom headers are masked.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Message {
    pub delivery_id: DeliveryId,
    pub channel_id: ChannelId,
    pub channel_type: ChannelType,
    /// The revision of the channel with which it is rendered; null if the channel was deleted.
    pub rendered_with: Option<u32>,
    /// The revision of the channel with which the last attempt was made; null without an attempt.
    pub attempted_with: Option<u32>,
    /// Whether the channel was edited since the last attempt, so that what was sent may have differed; null without an attempt,
    /// or if the channel was deleted.
    pub channel_changed: Option<bool>,
    /// Why there is neither request nor mail; null if there is.
    pub unavailable: Option<String>,
    /// Of webhooks, Slack and Discord.
    pub request: Option<MessageRequest>,
    /// Of email.
    pub mail: Option<MessageMail>,
}

/// An HTTP request.
#[derive(Debug, Serialize, ToSchema)]
pub struct MessageRequest {
    pub method: String,
    /// Parts that may be secret are masked.
    pub url: String,
    pub headers: Vec<Header>,
    pub body: String,
    /// Something about the rendering, such as that the body template failed and the standard body is sent.
    pub note: Option<String>,
}

/// A mail, the same for each recipient.
#[derive(Debug, Serialize, ToSchema)]
pub struct MessageMail {
    pub from: String,
    pub recipients: Vec<String>,
    pub subject: String,
    pub text: String,
    pub html: String,
}

impl Response for Message {}

impl Message {
    fn of(message: DeliveryMessage) -> Self {
        let DeliveryMessage { delivery, rendered, channel_revision, attempted_revision } = message;
        let mut shown = Self {
            delivery_id: delivery.id,
            channel_id: delivery.channel_id,
            channel_type: delivery.channel_type,
            rendered_with: channel_revision,
            attempted_with: attempted_revision,
            channel_changed: channel_revision.zip(attempted_revision).map(|(now, then)| now != then),
            unavailable: None,
            request: None,
            mail: None,
        };
        match rendered {
            Err(why) => shown.unavailable = Some(why),
            Ok(Rendered::Request(request)) => shown.request = Some(request.into()),
            Ok(Rendered::Mail(mail)) => shown.mail = Some(mail.into()),
        }
        shown
    }
}

impl From<RenderedRequest> for MessageRequest {
    fn from(request: RenderedRequest) -> Self {
        let RenderedRequest { method, url, headers, body, note } = request;
        let headers = headers.into_iter().map(|(name, value)| Header { name, value }).collect();
        Self { method, url, headers, body, note }
    }
}

impl From<RenderedMail> for MessageMail {
    fn from(mail: RenderedMail) -> Self {
        let RenderedMail { from, recipients, subject, text, html } = mail;
        Self { from, recipients, subject, text, html }
    }
}

/// The message of one delivery.
///
/// # Errors
/// If there is no such delivery, and those of the store.
pub async fn message(by: &Authorized<Read>, id: DeliveryId) -> Result<Message> {
    Ok(Message::of(by.engine().delivery_message(by.workspace_id(), id).await?))
}

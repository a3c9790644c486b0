//! Composes a MIME message: headers, and the content as text and as HTML, in a form that strict servers accept.
//!
//! Everything is ASCII, with lines far below 998 bytes: headers as encoded words, bodies quoted-printable.

use std::time::{Duration, SystemTime};

use lettre::message::header::{ContentTransferEncoding, ContentType, HeaderName, HeaderValue};
use lettre::message::{Body, Mailbox, Message, MultiPart, SinglePart};
use lettre::{Address, error::Error as MailError};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tidings_domain::id::WorkspaceId;
use tidings_domain::severity::Severity;
use tidings_domain::time::Timestamp;

use super::content::Content;
use super::{html, text};
use crate::OutboundMessage;

/// 31 December 9999, the last day that a `Date` header can express.
const DATE_MS_MAX: i64 = 253_402_300_799_000;

/// Everything that has a meaning in a message id and does not occur in an incident's id.
const ID_ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'_').remove(b'-');

/// A mail without its recipient.
pub(super) struct MimeMessage {
    from: Mailbox,
    date: SystemTime,
    message_id: String,
    /// What all mails about an incident refer to.
    thread_id: Option<String>,
    /// The workspace's mails, for filters (RFC 2919).
    list_id: String,
    subject: String,
    is_critical: bool,
    alternatives: MultiPart,
}

impl MimeMessage {
    /// The message as a mail from this sender.
    pub(super) fn compose(message: &OutboundMessage<'_>, from: &Mailbox) -> Self {
        let content = Content::from_message(message);
        // `=_` does not occur in quoted-printable text, so no text can contain the boundary.
        let boundary = format!("=_{}", message.delivery_id);
        Self {
            from: from.clone(),
            date: date(message.now),
            // The same for every attempt, so that a client can hide duplicates.
            message_id: format!("<{}@{}>", message.delivery_id, from.email.domain()),
            // No mail of an incident is known to be the first: rules, recipients and clocks differ. So all of them
            // refer to one that was never sent (RFC 5322 allows this), and clients put them below it side by side.
            thread_id: content
                .incident_id
                .as_deref()
                .map(|id| format!("<incident.{}@{}>", utf8_percent_encode(id, ID_ESCAPED), from.email.domain())),
            list_id: list_id(message.event.workspace_id, from.email.domain()),
            subject: content.subject.clone(),
            is_critical: content.severity == Severity::Critical,
            alternatives: MultiPart::alternative()
                .boundary(boundary)
                .singlepart(part(ContentType::TEXT_PLAIN, text::render(&content)))
                .singlepart(part(ContentType::TEXT_HTML, html::render(&content))),
        }
    }

    /// The mail as it is sent to this recipient, with CRLF line ends.
    pub(super) fn to(&self, recipient: &Address) -> Result<Vec<u8>, MailError> {
        let mut message = Message::builder()
            .date(self.date)
            .from(self.from.clone())
            .to(Mailbox::from(recipient.clone()))
            .subject(self.subject.clone())
            .message_id(Some(self.message_id.clone()))
            .raw_header(raw("List-Id", &self.list_id))
            // Prevents automatic replies: RFC 3834, and Exchange's equivalent.
            .raw_header(raw("Auto-Submitted", "auto-generated"))
            .raw_header(raw("X-Auto-Response-Suppress", "All"));
        if self.is_critical {
            // RFC 2156, and the form that older clients read.
            message = message.raw_header(raw("Importance", "high")).raw_header(raw("X-Priority", "1"));
        }
        if let Some(thread_id) = &self.thread_id {
            message = message.in_reply_to(thread_id.clone()).references(thread_id.clone());
        }
        Ok(message.multipart(self.alternatives.clone())?.formatted())
    }
}

/// `Tidings notifications <ws_….tidings.example.com>`: a list id is a name within a domain of the sender.
fn list_id(workspace_id: WorkspaceId, domain: &str) -> String {
    // An address literal or an international name is no list namespace.
    let is_name = domain.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'));
    format!("Tidings notifications <{workspace_id}.tidings.{}>", if is_name { domain } else { "localhost" })
}

fn raw(name: &'static str, value: &str) -> HeaderValue {
    HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned())
}

fn part(kind: ContentType, text: String) -> SinglePart {
    // Quoted-printable can encode any text; only other encodings can be refused.
    let encoding = ContentTransferEncoding::QuotedPrintable;
    let body = Body::new_with_encoding(text, encoding)
        .unwrap_or_else(|refused| Body::dangerous_pre_encoded(refused, encoding));
    SinglePart::builder().header(kind).body(body)
}

fn date(now: Timestamp) -> SystemTime {
    let ms = now.unix_ms().clamp(0, DATE_MS_MAX);
    SystemTime::UNIX_EPOCH + Duration::from_millis(ms.unsigned_abs())
}

#[cfg(test)]
mod tests;

//! Composing a mail: headers, and the content as text and as HTML, in the form that a strict server takes.
//!
//! All of it is ASCII with lines far below 998 bytes: headers are encoded words, bodies quoted-printable.

use std::time::{Duration, SystemTime};

use lettre::message::header::{ContentTransferEncoding, ContentType, HeaderName, HeaderValue};
use lettre::message::{Body, Mailbox, Message, MultiPart, SinglePart};
use lettre::{Address, error::Error as MailError};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tidings_domain::time::Timestamp;

use super::content::Content;
use super::{html, text};
use crate::OutboundMessage;

/// The last second that a `Date` header can say: 31 December 9999.
const DATE_MS_MAX: i64 = 253_402_300_799_000;

/// All that could mean something in a message id, and is not in an incident's.
const ID_ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'_').remove(b'-');

/// A mail without its recipient.
pub(super) struct Mail {
    from: Mailbox,
    date: SystemTime,
    message_id: String,
    /// What all mails of an incident refer to.
    thread_id: Option<String>,
    subject: String,
    alternatives: MultiPart,
}

impl Mail {
    /// What this letter says, as a mail from this sender.
    pub(super) fn compose(letter: &OutboundMessage<'_>, from: &Mailbox) -> Self {
        let content = Content::of(letter);
        // `=_` cannot stand in quoted-printable text, so that no text can hold the boundary.
        let boundary = format!("=_{}", letter.delivery_id);
        Self {
            from: from.clone(),
            date: date(letter.now),
            // The same on every try, so that one who gets a mail twice sees it once.
            message_id: format!("<{}@{}>", letter.delivery_id, from.email.domain()),
            // Of an incident no mail is known to be the first: rules, recipients and clocks differ. So all refer to
            // one that was never sent (RFC 5322 allows that), and clients hang them below it side by side.
            thread_id: content
                .incident_id
                .as_deref()
                .map(|id| format!("<incident.{}@{}>", utf8_percent_encode(id, ID_ESCAPED), from.email.domain())),
            subject: content.subject.clone(),
            alternatives: MultiPart::alternative()
                .boundary(boundary)
                .singlepart(part(ContentType::TEXT_PLAIN, text::render(&content)))
                .singlepart(part(ContentType::TEXT_HTML, html::render(&content))),
        }
    }

    /// The mail as it goes to this recipient, lines ended by CRLF.
    pub(super) fn to(&self, recipient: &Address) -> Result<Vec<u8>, MailError> {
        let mut message = Message::builder()
            .date(self.date)
            .from(self.from.clone())
            .to(Mailbox::from(recipient.clone()))
            .subject(self.subject.clone())
            .message_id(Some(self.message_id.clone()))
            // Nobody's holiday notice shall answer: RFC 3834, and the same for Exchange.
            .raw_header(raw("Auto-Submitted", "auto-generated"))
            .raw_header(raw("X-Auto-Response-Suppress", "All"));
        if let Some(thread_id) = &self.thread_id {
            message = message.in_reply_to(thread_id.clone()).references(thread_id.clone());
        }
        Ok(message.multipart(self.alternatives.clone())?.formatted())
    }
}

fn raw(name: &'static str, value: &str) -> HeaderValue {
    HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned())
}

fn part(kind: ContentType, text: String) -> SinglePart {
    // Quoted-printable holds any text; only other encodings can be refused.
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
#[path = "compose_tests.rs"]
mod tests;

//! Attempts of deliveries in responses.

use serde::Serialize;
use tidings_channels::response_headers::parse_kept_headers;
use tidings_domain::delivery::AttemptTrigger;
use tidings_domain::time::Timestamp;
use tidings_store::queue;
use utoipa::ToSchema;

/// One attempt to deliver.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    pub number: u32,
    /// Why it was made.
    pub trigger: AttemptTrigger,
    pub started_at: Timestamp,
    pub duration_ms: u32,
    pub http_status: Option<u16>,
    /// The class of the error, such as `timeout`; null for an HTTP answer.
    pub error_class: Option<String>,
    pub error: Option<String>,
    /// Headers of what the receiver answered, in their order: at most 32, 256 bytes of each value and 2 KiB of all, without
    /// those of framing. Values of headers that carry credentials are masked.
    pub response_headers: Vec<Header>,
    /// The beginning of what the receiver answered.
    pub response_body: Option<String>,
    /// The revision of the channel with which it was made.
    pub channel_revision: Option<u32>,
    /// Something to know about it, such as that the body template failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// A header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Header {
    /// In lower case.
    pub name: String,
    pub value: String,
}

impl Header {
    fn of(attempt: &queue::Attempt) -> Vec<Self> {
        let lines = attempt.response_headers.as_deref().unwrap_or_default();
        parse_kept_headers(lines).map(|(name, value)| Self { name: name.to_owned(), value: value.to_owned() }).collect()
    }
}

impl Attempt {
    /// An attempt of the history.
    pub fn of(attempt: &queue::Attempt) -> Self {
        Self {
            number: attempt.number,
            trigger: attempt.trigger,
            started_at: attempt.started_at,
            duration_ms: attempt.duration_ms,
            http_status: attempt.http_status,
            error_class: attempt.error_class.clone(),
            error: attempt.error.clone(),
            response_headers: Header::of(attempt),
            response_body: attempt.response_body.clone(),
            channel_revision: attempt.channel_revision,
            note: attempt.note.clone(),
        }
    }
}

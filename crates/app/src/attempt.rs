//! Attempts of deliveries in responses.

use serde::Serialize;
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
    /// The beginning of what the receiver answered.
    pub response_body: Option<String>,
    /// Something to know about it, such as that the body template failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
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
            response_body: attempt.response_body.clone(),
            note: attempt.note.clone(),
        }
    }
}

//! Why the talk with a mail server ended early, for all recipients that were not served by then.

use super::wire::Reply;
use crate::ErrorClass;
use crate::egress::EgressError;

/// A failure of the whole connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    /// What kind of failure it was; [`ErrorClass::Rejected`] means for good.
    pub class: ErrorClass,
    /// In words, without secrets.
    pub words: String,
    /// The reply's code, if a reply it was.
    pub code: Option<u16>,
}

impl Failure {
    pub(super) fn new(class: ErrorClass, words: impl Into<String>) -> Self {
        Self { class, words: words.into(), code: None }
    }

    /// The deadline passed.
    pub(super) fn timeout(what: &str) -> Self {
        Self::new(ErrorClass::Timeout, format!("the SMTP server did not answer {what} in time"))
    }

    /// The server refused this step, which may go well another time.
    pub(super) fn deferred(what: &str, reply: &Reply) -> Self {
        let words = format!("the SMTP server refused {what}: {}", reply.describe());
        Self { code: Some(reply.code), ..Self::new(ErrorClass::Status, words) }
    }

    /// The server refused this step; for good if it says so with 5xx.
    pub(super) fn refused(what: &str, reply: &Reply) -> Self {
        let class = if reply.code >= 500 { ErrorClass::Rejected } else { ErrorClass::Status };
        Self { class, ..Self::deferred(what, reply) }
    }
}

impl From<EgressError> for Failure {
    fn from(error: EgressError) -> Self {
        Self::new(error.class, error.message)
    }
}

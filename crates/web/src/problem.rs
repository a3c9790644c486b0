//! Problems: every way in which a request is refused, as RFC 9457 `application/problem+json`.
//!
//! [`Code`] is the whole list. Its word is what the body says, what the documents list and what the tests expect.

use std::borrow::Cow;

use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use tidings_domain::id::{EndpointId, RuleId};
use tidings_domain::violation::{Violation, Violations};
use tidings_engine::EngineError;
use tidings_engine::settings::ChannelUsers;
use tidings_store::StoreError;

/// What kind of problem it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// The body is no JSON.
    InvalidJson,
    /// There is no API key, or nobody knows it.
    Unauthenticated,
    /// The API key may only read.
    ReadOnly,
    /// The plan allows no more of these. The word for it is that of the first origin document.
    Quota,
    /// There is no such thing, or not for this key.
    NotFound,
    /// The path is right, the method is not.
    MethodNotAllowed,
    /// The body did not arrive in time.
    RequestTimeout,
    /// Rules still use the channel.
    ChannelInUse,
    /// The channel's stored configuration cannot be used.
    ChannelUnusable,
    /// The endpoint is paused, so that nothing is taken in about it.
    EndpointPaused,
    /// The incident is over.
    IncidentResolved,
    /// The delivery is in a state in which it cannot be sent again.
    NotResendable,
    /// The delivery's rule is disabled or gone.
    RuleNotLive,
    /// `If-Match` is no tag of ours.
    InvalidIfMatch,
    /// It is not at the revision that `If-Match` names.
    RevisionMismatch,
    /// The body is too large.
    TooLarge,
    /// The body is of a type that is not read here.
    UnsupportedMediaType,
    /// Something in the input is wrong; `errors` says what and where.
    Invalid,
    /// It is our fault.
    Internal,
    /// The search takes too long as it stands.
    SearchTooSlow,
    /// It cannot be done now; later it can.
    Unavailable,
}

impl Code {
    /// Every code, in the order of their status.
    pub const ALL: [Self; 21] = [
        Self::InvalidJson,
        Self::Unauthenticated,
        Self::ReadOnly,
        Self::Quota,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::RequestTimeout,
        Self::ChannelInUse,
        Self::ChannelUnusable,
        Self::EndpointPaused,
        Self::IncidentResolved,
        Self::NotResendable,
        Self::RuleNotLive,
        Self::InvalidIfMatch,
        Self::RevisionMismatch,
        Self::TooLarge,
        Self::UnsupportedMediaType,
        Self::Invalid,
        Self::Internal,
        Self::SearchTooSlow,
        Self::Unavailable,
    ];

    /// The word for it; stable.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidJson => "invalid_json",
            Self::Unauthenticated => "unauthenticated",
            Self::ReadOnly => "read_only",
            Self::Quota => "PT403",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::RequestTimeout => "request_timeout",
            Self::ChannelInUse => "channel_in_use",
            Self::ChannelUnusable => "channel_unusable",
            Self::EndpointPaused => "endpoint_paused",
            Self::IncidentResolved => "incident_resolved",
            Self::NotResendable => "not_resendable",
            Self::RuleNotLive => "rule_not_live",
            Self::InvalidIfMatch => "invalid_if_match",
            Self::RevisionMismatch => "revision_mismatch",
            Self::TooLarge => "too_large",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::Invalid => "invalid",
            Self::Internal => "internal",
            Self::SearchTooSlow => "search_too_slow",
            Self::Unavailable => "unavailable",
        }
    }

    /// The status that it is answered with.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::InvalidJson => StatusCode::BAD_REQUEST,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::ReadOnly | Self::Quota => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::ChannelInUse
            | Self::ChannelUnusable
            | Self::EndpointPaused
            | Self::IncidentResolved
            | Self::NotResendable
            | Self::RuleNotLive => StatusCode::CONFLICT,
            Self::InvalidIfMatch | Self::RevisionMismatch => StatusCode::PRECONDITION_FAILED,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::SearchTooSlow | Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The problem in a few words, the same every time.
    pub const fn title(self) -> &'static str {
        match self {
            Self::InvalidJson => "The body is not valid JSON",
            Self::Unauthenticated => "A valid API key is needed",
            Self::ReadOnly => "This API key may only read",
            Self::Quota => "The plan allows no more of these",
            Self::NotFound => "Not found",
            Self::MethodNotAllowed => "This path does not know the method",
            Self::RequestTimeout => "The body did not arrive in time",
            Self::ChannelInUse => "The channel is still in use",
            Self::ChannelUnusable => "The channel cannot be used",
            Self::EndpointPaused => "The endpoint is paused",
            Self::IncidentResolved => "The incident is over",
            Self::NotResendable => "The delivery cannot be sent again",
            Self::RuleNotLive => "The rule of the delivery is not live",
            Self::InvalidIfMatch => "If-Match is not a tag that was given here",
            Self::RevisionMismatch => "It was changed meanwhile",
            Self::TooLarge => "The body is too large",
            Self::UnsupportedMediaType => "The body is of a type that is not read here",
            Self::Invalid => "The input is not right",
            Self::Internal => "Something went wrong on our side",
            Self::SearchTooSlow => "The search takes too long",
            Self::Unavailable => "Not now",
        }
    }
}

/// A request refused.
#[derive(Debug)]
pub struct Problem {
    code: Code,
    detail: Cow<'static, str>,
    errors: Violations,
    users: ChannelUsers,
}

/// Seconds after which to come back, for what is unavailable.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("5");

impl Problem {
    /// A problem, with what is to be said of this case.
    pub fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { code, detail: detail.into(), errors: Violations::new(), users: ChannelUsers::default() }
    }

    /// What is wrong with the input, field by field.
    pub fn invalid(errors: Violations) -> Self {
        let detail = match errors.as_slice() {
            [only] => only.to_string().into(),
            many => format!("{} things are wrong; errors lists them", many.len()).into(),
        };
        Self { code: Code::Invalid, detail, errors, users: ChannelUsers::default() }
    }

    /// One thing wrong with one field.
    pub fn invalid_field(pointer: &str, message: impl Into<String>) -> Self {
        Self::invalid(vec![Violation::new(pointer, message)])
    }

    /// There is no such thing here.
    pub fn not_found(what: &str) -> Self {
        Self::new(Code::NotFound, format!("there is no such {what} here"))
    }

    /// Our fault. What it was is in the log, not in the answer.
    pub fn internal() -> Self {
        Self::new(Code::Internal, "the error was logged; try again, and tell the operator if it persists")
    }

    /// What kind of problem it is.
    pub fn code(&self) -> Code {
        self.code
    }

    /// The same with each pointer changed, where a field has another name in this door than further in.
    pub fn with_pointers(mut self, change: impl Fn(&str) -> String) -> Self {
        for error in &mut self.errors {
            error.pointer = change(&error.pointer);
        }
        if let [only] = self.errors.as_slice() {
            self.detail = only.to_string().into();
        }
        self
    }
}

impl From<EngineError> for Problem {
    fn from(error: EngineError) -> Self {
        let words = error.to_string();
        match error {
            EngineError::NotFound(what) => Self::not_found(what),
            EngineError::Invalid(errors) => Self::invalid(errors),
            EngineError::RevisionMismatch => Self::new(Code::RevisionMismatch, words),
            EngineError::ChannelInUse(users) => {
                let detail = format!("{users}; take it out of there, or delete it all the same with ?force=true");
                Self { users, ..Self::new(Code::ChannelInUse, detail) }
            }
            EngineError::Quota { .. } => Self::new(Code::Quota, words),
            EngineError::IncidentResolved => Self::new(Code::IncidentResolved, words),
            EngineError::NotResendable(_) | EngineError::TestNotResendable => Self::new(Code::NotResendable, words),
            EngineError::RuleNotLive => Self::new(Code::RuleNotLive, words),
            EngineError::GateClosed(_) => Self::new(Code::NotResendable, words),
            EngineError::Unusable(_) => Self::new(Code::ChannelUnusable, words),
            EngineError::Store(StoreError::Closed) => Self::new(Code::Unavailable, "the store is shutting down"),
            EngineError::Store(error @ StoreError::TooSlow { .. }) => {
                let detail = format!("{error}: narrow it by time (since, until), resource, channel or rule");
                Self::new(Code::SearchTooSlow, detail)
            }
            EngineError::Store(StoreError::Busy) => {
                Self::new(Code::Unavailable, "others are searching the log, and each takes long: try again")
            }
            EngineError::Store(error @ StoreError::Database(_)) => {
                tracing::error!(%error, "the store failed a request");
                let detail = "the store cannot be used at the moment; \
                    if something was to be written, it may not have been kept: read it again";
                Self::new(Code::Unavailable, detail)
            }
            // No route makes a workspace.
            error @ (EngineError::Store(_) | EngineError::SlugTaken) => {
                tracing::error!(%error, "a request failed");
                Self::internal()
            }
        }
    }
}

#[derive(Serialize)]
struct Body<'a> {
    #[serde(rename = "type")]
    kind: String,
    title: &'a str,
    status: u16,
    code: &'a str,
    detail: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<ErrorBody<'a>>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    rules: &'a [RuleId],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    endpoints: &'a [EndpointId],
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    pointer: &'a str,
    detail: &'a str,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let errors = self.errors.iter();
        let body = Body {
            kind: format!("about:blank#{}", self.code.as_str()),
            title: self.code.title(),
            status: self.code.status().as_u16(),
            code: self.code.as_str(),
            detail: &self.detail,
            errors: errors.map(|error| ErrorBody { pointer: &error.pointer, detail: &error.message }).collect(),
            rules: &self.users.rules,
            endpoints: &self.users.endpoints,
        };
        // A body of texts and numbers always has a JSON form.
        let text = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = (self.code.status(), text).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        match self.code {
            Code::Unauthenticated => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"tidings\""));
            }
            Code::Unavailable => {
                headers.insert(RETRY_AFTER, RETRY_AFTER_SECONDS);
            }
            _ => {}
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_told_apart_and_stand_in_the_order_of_their_status() {
        let words: std::collections::HashSet<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(words.len(), Code::ALL.len());
        assert!(Code::ALL.windows(2).all(|pair| pair[0].status() <= pair[1].status()));
    }
}

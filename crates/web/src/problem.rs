//! Problems: failed requests as RFC 9457 `application/problem+json`.
//!
//! [`Code`] lists them all. [`Code::as_str`] is the stable `code` in the body, which clients may rely on.

use std::borrow::Cow;

use axum::response::{IntoResponse, Response};
use http::header::{ACCEPT_ENCODING, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use tidings_app::AppError;
use tidings_app::contract::VIOLATIONS_MAX;
use tidings_domain::id::{EndpointId, RuleId};
use tidings_domain::violation::{Violation, Violations};
use tidings_engine::EngineError;
use tidings_engine::settings::ChannelUsers;
use tidings_store::StoreError;

/// The kind of a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Code {
    /// The body is not JSON.
    InvalidJson,
    /// The body is not packed as `Content-Encoding` says.
    InvalidEncoding,
    /// The request has no API key, or an unknown one.
    Unauthenticated,
    /// There is no such user, or the password is another one.
    WrongCredentials,
    /// The API key is read-only.
    ReadOnly,
    /// The caller's role does not permit it.
    Forbidden,
    /// A session cookie came with a request that no page of this service made.
    CrossSite,
    /// An operator has suspended the workspace.
    WorkspaceSuspended,
    /// A quota is used up. Its code, `PT403`, is that of an API whose clients this one stays compatible with.
    Quota,
    /// It does not exist, or not in the workspace of the API key.
    NotFound,
    /// The route exists, but not with this method.
    MethodNotAllowed,
    /// The body did not arrive in time.
    RequestTimeout,
    /// Rules still use the channel.
    ChannelInUse,
    /// An identical rule exists.
    RuleExists,
    /// The channel's stored configuration cannot be used.
    ChannelUnusable,
    /// The endpoint is paused and accepts no checks.
    EndpointPaused,
    /// The incident is resolved already.
    IncidentResolved,
    /// The resource is an endpoint that exists, or has an active incident.
    ResourceInUse,
    /// The delivery's status does not allow a resend.
    NotResendable,
    /// The delivery's rule is disabled or was deleted.
    RuleInactive,
    /// The change would leave the workspace without an owner.
    LastOwner,
    /// Another workspace has the slug.
    SlugTaken,
    /// Another user has the email.
    EmailTaken,
    /// The user belongs to the workspace already.
    AlreadyMember,
    /// The invitation was accepted already.
    InvitationUsed,
    /// The invitation is too old.
    InvitationExpired,
    /// The signed-in user is not the one who was invited.
    InvitationForAnother,
    /// `If-Match` is not an ETag of this API.
    InvalidIfMatch,
    /// The resource is not at the revision that `If-Match` names.
    RevisionMismatch,
    /// The body is too large.
    TooLarge,
    /// The `Content-Type` is not supported.
    UnsupportedMediaType,
    /// The `Content-Encoding` is not supported.
    UnsupportedEncoding,
    /// The input has violations, which `errors` lists.
    Invalid,
    /// Too many attempts to sign in, at once or of late.
    TooManyAttempts,
    /// A defect in Tidings.
    Internal,
    /// The search reached its time limit and must be narrowed.
    SearchTooSlow,
    /// Temporary: a retry may succeed.
    Unavailable,
}

impl Code {
    /// Every code, ordered by status.
    pub const ALL: [Self; 37] = [
        Self::InvalidJson,
        Self::InvalidEncoding,
        Self::Unauthenticated,
        Self::WrongCredentials,
        Self::ReadOnly,
        Self::Forbidden,
        Self::CrossSite,
        Self::WorkspaceSuspended,
        Self::Quota,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::RequestTimeout,
        Self::ChannelInUse,
        Self::RuleExists,
        Self::ChannelUnusable,
        Self::EndpointPaused,
        Self::IncidentResolved,
        Self::ResourceInUse,
        Self::NotResendable,
        Self::RuleInactive,
        Self::LastOwner,
        Self::SlugTaken,
        Self::EmailTaken,
        Self::AlreadyMember,
        Self::InvitationUsed,
        Self::InvitationExpired,
        Self::InvitationForAnother,
        Self::InvalidIfMatch,
        Self::RevisionMismatch,
        Self::TooLarge,
        Self::UnsupportedMediaType,
        Self::UnsupportedEncoding,
        Self::Invalid,
        Self::TooManyAttempts,
        Self::Internal,
        Self::SearchTooSlow,
        Self::Unavailable,
    ];

    /// The `code` in the body; stable.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidJson => "invalid_json",
            Self::InvalidEncoding => "invalid_content_encoding",
            Self::Unauthenticated => "unauthenticated",
            Self::WrongCredentials => "wrong_credentials",
            Self::ReadOnly => "read_only",
            Self::Forbidden => "forbidden",
            Self::CrossSite => "cross_site",
            Self::WorkspaceSuspended => "workspace_suspended",
            Self::Quota => "PT403",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::RequestTimeout => "request_timeout",
            Self::ChannelInUse => "channel_in_use",
            Self::RuleExists => "rule_exists",
            Self::ChannelUnusable => "channel_unusable",
            Self::EndpointPaused => "endpoint_paused",
            Self::IncidentResolved => "incident_resolved",
            Self::ResourceInUse => "resource_in_use",
            Self::NotResendable => "not_resendable",
            Self::RuleInactive => "rule_inactive",
            Self::LastOwner => "last_owner",
            Self::SlugTaken => "slug_taken",
            Self::EmailTaken => "email_taken",
            Self::AlreadyMember => "already_member",
            Self::InvitationUsed => "invitation_used",
            Self::InvitationExpired => "invitation_expired",
            Self::InvitationForAnother => "invitation_for_another",
            Self::InvalidIfMatch => "invalid_if_match",
            Self::RevisionMismatch => "revision_mismatch",
            Self::TooLarge => "too_large",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::UnsupportedEncoding => "unsupported_content_encoding",
            Self::Invalid => "invalid",
            Self::TooManyAttempts => "too_many_attempts",
            Self::Internal => "internal",
            Self::SearchTooSlow => "search_too_slow",
            Self::Unavailable => "unavailable",
        }
    }

    /// The status of the response.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::InvalidJson | Self::InvalidEncoding => StatusCode::BAD_REQUEST,
            Self::Unauthenticated | Self::WrongCredentials => StatusCode::UNAUTHORIZED,
            Self::ReadOnly | Self::Forbidden | Self::CrossSite | Self::WorkspaceSuspended | Self::Quota => {
                StatusCode::FORBIDDEN
            }
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::ChannelInUse
            | Self::RuleExists
            | Self::ChannelUnusable
            | Self::EndpointPaused
            | Self::IncidentResolved
            | Self::ResourceInUse
            | Self::NotResendable
            | Self::RuleInactive
            | Self::LastOwner
            | Self::SlugTaken
            | Self::EmailTaken
            | Self::AlreadyMember
            | Self::InvitationUsed
            | Self::InvitationExpired
            | Self::InvitationForAnother => StatusCode::CONFLICT,
            Self::InvalidIfMatch | Self::RevisionMismatch => StatusCode::PRECONDITION_FAILED,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType | Self::UnsupportedEncoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
            Self::TooManyAttempts => StatusCode::TOO_MANY_REQUESTS,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::SearchTooSlow | Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The `title` in the body.
    pub const fn title(self) -> &'static str {
        match self {
            Self::InvalidJson => "The body is not valid JSON",
            Self::InvalidEncoding => "The body cannot be unpacked",
            Self::Unauthenticated => "A valid API key or session is required",
            Self::WrongCredentials => "The email or the password is wrong",
            Self::ReadOnly => "This API key is read-only",
            Self::Forbidden => "Your role does not permit this",
            Self::CrossSite => "The request comes from another site",
            Self::WorkspaceSuspended => "The workspace is suspended",
            Self::Quota => "Quota exceeded",
            Self::NotFound => "Not found",
            Self::MethodNotAllowed => "This path does not support the method",
            Self::RequestTimeout => "The body did not arrive in time",
            Self::ChannelInUse => "The channel is still in use",
            Self::RuleExists => "The rule exists already",
            Self::ChannelUnusable => "The channel cannot be used",
            Self::EndpointPaused => "The endpoint is paused",
            Self::IncidentResolved => "The incident is resolved",
            Self::ResourceInUse => "The resource is still in use",
            Self::NotResendable => "The delivery cannot be sent again",
            Self::RuleInactive => "The rule of the delivery is disabled or deleted",
            Self::LastOwner => "The workspace needs an owner",
            Self::SlugTaken => "Another workspace has this slug",
            Self::EmailTaken => "Another user has this email",
            Self::AlreadyMember => "The user is a member already",
            Self::InvitationUsed => "The invitation was accepted already",
            Self::InvitationExpired => "The invitation has expired",
            Self::InvitationForAnother => "The invitation is for another email",
            Self::InvalidIfMatch => "If-Match is not an ETag of this API",
            Self::RevisionMismatch => "The resource has changed since",
            Self::TooLarge => "The body is too large",
            Self::UnsupportedMediaType => "The Content-Type is not supported",
            Self::UnsupportedEncoding => "The Content-Encoding is not supported",
            Self::Invalid => "The input is invalid",
            Self::TooManyAttempts => "Too many attempts to sign in",
            Self::Internal => "Internal error",
            Self::SearchTooSlow => "The search takes too long",
            Self::Unavailable => "Temporarily unavailable",
        }
    }
}

/// The response to a request that failed.
#[derive(Debug)]
pub struct Problem {
    code: Code,
    detail: Cow<'static, str>,
    errors: Violations,
    /// The rules and endpoints that use a channel, for [`Code::ChannelInUse`]; the rule that exists, for
    /// [`Code::RuleExists`].
    users: ChannelUsers,
    /// Used and allowed, for [`Code::Quota`].
    quota: Option<(u32, u32)>,
    /// Of [`Code::TooManyAttempts`].
    retry_after_seconds: Option<u32>,
    /// Of [`Code::Internal`].
    request_id: Option<String>,
}

/// The `Retry-After` of [`Code::Unavailable`], in seconds.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("5");

impl Problem {
    /// A problem; `detail` explains this occurrence and what to do.
    pub fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        let (errors, users) = (Violations::new(), ChannelUsers::default());
        Self { code, detail: detail.into(), errors, users, quota: None, retry_after_seconds: None, request_id: None }
    }

    /// [`Code::Invalid`] with these violations.
    pub fn invalid(errors: Violations) -> Self {
        let detail: Cow<'static, str> = match errors.as_slice() {
            [only] => only.to_string().into(),
            many => format!("{} fields are invalid, see errors", many.len()).into(),
        };
        Self { errors, ..Self::new(Code::Invalid, detail) }
    }

    /// [`Code::Invalid`] with one violation.
    pub fn invalid_field(pointer: &str, message: impl Into<String>) -> Self {
        Self::invalid(vec![Violation::new(pointer, message)])
    }

    /// [`Code::NotFound`]; `what` names the kind of thing.
    pub fn not_found(what: &str) -> Self {
        Self::new(Code::NotFound, format!("there is no such {what}"))
    }

    /// [`Code::Internal`]. The cause is logged by the caller and not disclosed.
    pub fn internal() -> Self {
        let detail =
            "the error was logged with the request's id; try again, and give the operator the id if it persists";
        Self::new(Code::Internal, detail)
    }

    /// The same with the id under which the cause was logged.
    pub(crate) fn with_request_id(self, id: &HeaderValue) -> Self {
        Self { request_id: id.to_str().ok().map(str::to_owned), ..self }
    }

    /// Its kind.
    pub fn code(&self) -> Code {
        self.code
    }

    /// The violations of [`Code::Invalid`].
    pub fn into_violations(self) -> Violations {
        self.errors
    }

    /// The same with each pointer mapped, where a field has another name in the API than in the engine.
    pub fn map_pointers(mut self, map: impl Fn(&str) -> String) -> Self {
        for error in &mut self.errors {
            error.pointer = map(&error.pointer);
        }
        if let [only] = self.errors.as_slice() {
            self.detail = only.to_string().into();
        }
        self
    }
}

impl From<AppError> for Problem {
    fn from(error: AppError) -> Self {
        let message = error.to_string();
        match error {
            AppError::Forbidden(_) => Self::new(Code::Forbidden, message),
            AppError::ReadOnlyKey => Self::new(Code::ReadOnly, message),
            AppError::Invalid(violations) => Self::invalid(violations),
            AppError::Quota { used, max, .. } => Self { quota: Some((used, max)), ..Self::new(Code::Quota, message) },
            AppError::EndpointPaused => Self::new(Code::EndpointPaused, message),
            AppError::Unauthenticated(_) => Self::new(Code::Unauthenticated, message),
            AppError::WrongCredentials => Self::new(Code::WrongCredentials, message),
            AppError::TooManyAttempts { retry_after_seconds } => {
                Self { retry_after_seconds: Some(retry_after_seconds), ..Self::new(Code::TooManyAttempts, message) }
            }
            AppError::OperatorsOnly => Self::new(Code::Forbidden, message),
            AppError::WorkspaceSuspended => Self::new(Code::WorkspaceSuspended, message),
            AppError::LastOwner => Self::new(Code::LastOwner, message),
            AppError::EmailTaken => Self::new(Code::EmailTaken, message),
            AppError::AlreadyMember => Self::new(Code::AlreadyMember, message),
            AppError::InvitationUsed => Self::new(Code::InvitationUsed, message),
            AppError::InvitationExpired => Self::new(Code::InvitationExpired, message),
            AppError::InvitationForAnother => Self::new(Code::InvitationForAnother, message),
            AppError::Defect(_) => Self::internal(),
            AppError::Busy(_) => Self::new(Code::Unavailable, message),
            AppError::ResourceInUse(_) => Self::new(Code::ResourceInUse, message),
            AppError::Engine(error) => error.into(),
        }
    }
}

impl From<EngineError> for Problem {
    fn from(error: EngineError) -> Self {
        let message = error.to_string();
        match error {
            EngineError::NotFound(what) => Self::not_found(what),
            EngineError::Invalid(errors) => Self::invalid(errors),
            EngineError::RevisionMismatch => Self::new(Code::RevisionMismatch, message),
            EngineError::ChannelInUse(users) => {
                let detail = format!("{users}; remove it there first, or delete it anyway with ?force=true");
                Self { users, ..Self::new(Code::ChannelInUse, detail) }
            }
            EngineError::RuleExists(id) => {
                let users = ChannelUsers { rules: vec![id], ..ChannelUsers::default() };
                Self { users, ..Self::new(Code::RuleExists, message) }
            }
            EngineError::Quota { .. } => Self::new(Code::Quota, message),
            EngineError::IncidentResolved => Self::new(Code::IncidentResolved, message),
            EngineError::NotResendable(_) | EngineError::TestNotResendable => Self::new(Code::NotResendable, message),
            EngineError::RuleInactive => Self::new(Code::RuleInactive, message),
            EngineError::GateClosed(_) => Self::new(Code::NotResendable, message),
            EngineError::Unusable(_) => Self::new(Code::ChannelUnusable, message),
            EngineError::Store(StoreError::Closed) => Self::new(Code::Unavailable, "the store is shutting down"),
            EngineError::Store(error @ (StoreError::TooSlow { .. } | StoreError::SearchCut)) => {
                let detail = format!("{error}: narrow it by time (since, until), resource, channel or rule");
                Self::new(Code::SearchTooSlow, detail)
            }
            EngineError::Store(StoreError::Busy) => {
                Self::new(Code::Unavailable, "too many searches are running at once: try again")
            }
            EngineError::Store(error @ StoreError::Database(_)) => {
                tracing::error!(%error, "request failed in the store");
                let detail = "the store failed; if the request was a write, it may not have been stored: read the resource \
                    before you retry";
                Self::new(Code::Unavailable, detail)
            }
            EngineError::SlugTaken => Self::new(Code::SlugTaken, message),
            error @ EngineError::Store(_) => {
                tracing::error!(%error, "request failed");
                Self::internal()
            }
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ProblemJson<'a> {
    #[serde(rename = "type")]
    kind: String,
    title: &'a str,
    status: u16,
    code: &'a str,
    detail: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<ErrorBody<'a>>,
    /// Only if more than are listed.
    #[serde(skip_serializing_if = "Option::is_none")]
    error_count: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    used: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max: Option<u32>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    rules: &'a [RuleId],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    endpoints: &'a [EndpointId],
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    pointer: &'a str,
    detail: &'a str,
}

/// The bytes of all listed violations but the first, which is listed whatever its length: its pointer is at most twice as
/// long as the key that the caller sent. So an answer is never many times as large as the request.
const LISTED_BYTES_MAX: usize = 12 * 1_024;

/// How many of the violations are listed.
fn listed_count(violations: &[Violation]) -> usize {
    let mut bytes = 0;
    let fits = |violation: &&Violation| {
        bytes += violation.pointer.len() + violation.message.len() + r#"{"pointer":"","detail":""},"#.len();
        bytes <= LISTED_BYTES_MAX
    };
    let listed = violations.iter().take(VIOLATIONS_MAX).take_while(fits).count();
    listed.max(violations.len().min(1))
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let listed = listed_count(&self.errors);
        let errors = self.errors.iter().take(listed);
        let body = ProblemJson {
            kind: format!("about:blank#{}", self.code.as_str()),
            title: self.code.title(),
            status: self.code.status().as_u16(),
            code: self.code.as_str(),
            detail: &self.detail,
            errors: errors.map(|error| ErrorBody { pointer: &error.pointer, detail: &error.message }).collect(),
            error_count: (self.errors.len() > listed).then_some(self.errors.len()),
            used: self.quota.map(|(used, _)| used),
            max: self.quota.map(|(_, max)| max),
            rules: &self.users.rules,
            endpoints: &self.users.endpoints,
            request_id: self.request_id.as_deref(),
        };
        // Strings, numbers and ids cannot fail to serialise.
        let text = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = (self.code.status(), text).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        match self.code {
            Code::Unauthenticated | Code::WrongCredentials => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"tidings\""));
            }
            // RFC 7694: which codings would be read.
            Code::UnsupportedEncoding => {
                headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
            }
            Code::Unavailable => {
                headers.insert(RETRY_AFTER, RETRY_AFTER_SECONDS);
            }
            Code::TooManyAttempts => {
                headers.insert(RETRY_AFTER, self.retry_after_seconds.unwrap_or(1).into());
            }
            _ => {}
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use tidings_domain::violation::pointer;

    use super::*;

    #[tokio::test]
    async fn problem_is_at_most_ten_times_the_request_and_16_kib() {
        let text = async |violations: Violations| {
            let body = Problem::invalid(violations).into_response().into_body();
            http_body_util::BodyExt::collect(body).await.unwrap().to_bytes()
        };
        let violations = |count: usize, key: &str| {
            (0..count).map(|n| Violation::new(format!("{}/{n}", pointer(key)), "x".repeat(300))).collect()
        };
        for (count, key_bytes) in [(1, 100_000), (1, 1), (2, 60_000), (100, 10), (5_000, 3), (1_000, 2_000)] {
            let key = "~".repeat(key_bytes);
            let text = text(violations(count, &key)).await;
            assert!(text.len() <= 10 * key_bytes + 16 * 1_024, "{count} of {key_bytes}: {}", text.len());
            let body: serde_json::Value = serde_json::from_slice(&text).unwrap();
            let listed = body["errors"].as_array().unwrap().len();
            assert!((1..=100).contains(&listed));
            assert_eq!(body["errorCount"].as_u64().unwrap_or(listed as u64), count as u64, "{count} of {key_bytes}");
        }
    }

    #[test]
    fn codes_are_unique_and_ordered_by_status() {
        let codes: std::collections::HashSet<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(codes.len(), Code::ALL.len());
        assert!(Code::ALL.windows(2).all(|pair| pair[0].status() <= pair[1].status()));
    }
}

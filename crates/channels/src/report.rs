//! What an attempt came to, in words that can be stored and shown.

use std::fmt;

use tidings_domain::delivery::Outcome;

/// How much of a response is kept, in bytes.
pub const EXCERPT_BYTES_MAX: usize = 2_048;

/// What kind of failure it was. The word is what the log shows and what metrics count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// The address is not allowed as a target.
    TargetRefused,
    /// The name could not be resolved.
    Dns,
    /// The receiver refused the connection, or it could not be made.
    Connect,
    /// TLS could not be agreed on, or the certificate is not good.
    Tls,
    /// It took too long.
    Timeout,
    /// The connection broke, or what came was no HTTP (no SMTP).
    Protocol,
    /// The receiver answered, and the answer was no success.
    Status,
    /// The receiver asked to go elsewhere; redirects are not followed.
    Redirect,
    /// The receiver will never take this (a recipient refused, a revoked hook, a wrong password).
    Rejected,
    /// The channel's own configuration cannot be used, such as a template that fails.
    Configuration,
    /// Nothing left this machine, because of its own network or its own limits: that says nothing of the receiver.
    OwnNetwork,
}

impl ErrorClass {
    /// Every class.
    pub const ALL: [Self; 11] = [
        Self::TargetRefused,
        Self::Dns,
        Self::Connect,
        Self::Tls,
        Self::Timeout,
        Self::Protocol,
        Self::Status,
        Self::Redirect,
        Self::Rejected,
        Self::Configuration,
        Self::OwnNetwork,
    ];

    /// The word for it in the API, in the store and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TargetRefused => "target_refused",
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Protocol => "protocol",
            Self::Status => "status",
            Self::Redirect => "redirect",
            Self::Rejected => "rejected",
            Self::Configuration => "configuration",
            Self::OwnNetwork => "own_network",
        }
    }

    /// Whether it says that the destination as a whole is in trouble, so that the breaker counts it.
    pub const fn is_outage(self, http_status: Option<u16>) -> bool {
        match self {
            Self::Dns | Self::Connect | Self::Tls | Self::Timeout | Self::Protocol => true,
            Self::Status => matches!(http_status, Some(429 | 500..)),
            Self::TargetRefused | Self::Redirect | Self::Rejected | Self::Configuration | Self::OwnNetwork => false,
        }
    }
}

impl fmt::Display for ErrorClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What an attempt came to. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptResult {
    /// What follows.
    pub outcome: Outcome,
    /// The HTTP status, or the SMTP reply code, that came, if one came.
    pub http_status: Option<u16>,
    /// What kind of failure it was; none if delivered.
    pub error_class: Option<ErrorClass>,
    /// The failure in words, such as `HTTP 502 Bad Gateway`; none if delivered.
    pub error: Option<String>,
    /// An excerpt of what the receiver answered, at most [`EXCERPT_BYTES_MAX`] bytes.
    pub response_body: Option<String>,
    /// What the next attempt needs to know, in the channel's own form.
    pub attempt_state: Option<String>,
}

impl AttemptResult {
    /// The receiver took it.
    pub fn delivered(http_status: Option<u16>, response_body: Option<String>) -> Self {
        Self {
            outcome: Outcome::Delivered,
            http_status,
            error_class: None,
            error: None,
            response_body,
            attempt_state: None,
        }
    }

    /// It failed and may be tried again.
    pub fn retry(class: ErrorClass, error: impl Into<String>) -> Self {
        Self::failed(Outcome::Retry { after_ms: None }, class, error)
    }

    /// It failed for good.
    pub fn permanent_failure(class: ErrorClass, error: impl Into<String>) -> Self {
        Self::failed(Outcome::Dead, class, error)
    }

    fn failed(outcome: Outcome, class: ErrorClass, error: impl Into<String>) -> Self {
        Self {
            outcome,
            http_status: None,
            error_class: Some(class),
            error: Some(error.into()),
            response_body: None,
            attempt_state: None,
        }
    }

    /// Whether the receiver took it.
    pub fn is_delivered(&self) -> bool {
        self.outcome == Outcome::Delivered
    }
}

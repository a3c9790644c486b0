//! The result of one delivery attempt, in a form that can be stored and shown.

use std::fmt;

use tidings_domain::delivery::Outcome;

/// How much of a response is stored.
pub const EXCERPT_BYTES_MAX: usize = 2_048;

/// The kind of a failure. Its name appears in the API, in the store and in metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// The address guard refused the target.
    TargetRefused,
    /// The name could not be resolved.
    Dns,
    /// The connection was refused or could not be established.
    Connect,
    /// The TLS handshake failed, or the certificate is not trusted.
    Tls,
    /// A step exceeded its time limit.
    Timeout,
    /// The connection broke, or the response was not HTTP (or SMTP).
    Protocol,
    /// The receiver responded with an error.
    Status,
    /// The receiver responded with a redirect; these are not followed.
    Redirect,
    /// The receiver will never accept this: a refused recipient, a revoked webhook, a wrong password.
    Rejected,
    /// The channel's own configuration cannot be used, such as a template that fails.
    Configuration,
    /// Nothing was sent, because of this machine's network or resource limits: no evidence about the receiver.
    OwnNetwork,
}

impl ErrorClass {
    /// All classes.
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

    /// The name in the API, the store and metrics.
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

    /// Whether it indicates that the receiver as a whole is failing, so that the circuit breaker counts it. A refused
    /// target, redirect, rejection or configuration error concerns this request only; a receiver that limits the rate
    /// (429) is up, and pauses the channel instead.
    pub const fn is_outage(self, http_status: Option<u16>) -> bool {
        match self {
            Self::Dns | Self::Connect | Self::Tls | Self::Timeout | Self::Protocol => true,
            Self::Status => matches!(http_status, Some(500..)),
            Self::TargetRefused | Self::Redirect | Self::Rejected | Self::Configuration | Self::OwnNetwork => false,
        }
    }
}

impl fmt::Display for ErrorClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the receiver allows the channel as a whole, as an attempt found out. The queue pauses or slows the channel
/// accordingly; waiting uses up no attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RateSignal {
    /// It refused the attempt because it limits the rate (429). The attempt counts.
    Refused {
        /// How long it asks to wait, in milliseconds. Without it the queue waits for 1 s, doubled to 60 s while refusals
        /// go on.
        after_ms: Option<u64>,
    },
    /// Rate headers, on any response: until the reset the receiver takes this many more requests. Those in flight count
    /// among them.
    Allowance {
        /// Requests left. With 0 the channel is paused until the reset.
        remaining: u32,
        /// When the receiver counts anew, in milliseconds from now.
        reset_after_ms: u64,
    },
}

/// The result of one attempt. Contains no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptResult {
    /// Delivered, to be retried, or failed for good.
    pub outcome: Outcome,
    /// The HTTP status, or the SMTP reply code.
    pub http_status: Option<u16>,
    /// `None` if delivered.
    pub error_class: Option<ErrorClass>,
    /// Such as `HTTP 502 Bad Gateway`; `None` if delivered.
    pub error: Option<String>,
    /// The headers of the response, as [`crate::response_headers`] keeps them.
    pub response_headers: Option<String>,
    /// The beginning of the response, at most [`EXCERPT_BYTES_MAX`] bytes.
    pub response_body: Option<String>,
    /// Something worth knowing that decided nothing, such as a body template that failed; independent of the outcome.
    pub note: Option<String>,
    /// State for the next attempt, or for later messages of the same incident, in the channel's own format.
    pub attempt_state: Option<String>,
    /// What the receiver allows the channel as a whole, if the attempt found out.
    pub rate: Option<RateSignal>,
}

impl AttemptResult {
    /// The receiver accepted it.
    pub fn delivered(http_status: Option<u16>, response_body: Option<String>) -> Self {
        Self {
            outcome: Outcome::Delivered,
            http_status,
            error_class: None,
            error: None,
            response_headers: None,
            response_body,
            note: None,
            attempt_state: None,
            rate: None,
        }
    }

    /// It failed, and may be retried.
    pub fn retry(class: ErrorClass, error: impl Into<String>) -> Self {
        Self::failed(Outcome::Retry { after_ms: None }, class, error)
    }

    /// It failed, and a retry would not help.
    pub fn permanent_failure(class: ErrorClass, error: impl Into<String>) -> Self {
        Self::failed(Outcome::PermanentFailure, class, error)
    }

    fn failed(outcome: Outcome, class: ErrorClass, error: impl Into<String>) -> Self {
        Self {
            outcome,
            http_status: None,
            error_class: Some(class),
            error: Some(error.into()),
            response_headers: None,
            response_body: None,
            note: None,
            attempt_state: None,
            rate: None,
        }
    }

    /// Nothing was sent, because what the channel shares with others has no capacity now: this is no attempt, uses up no
    /// retry and leaves no trace. The delivery is due again after `after_ms`.
    pub fn not_started(after_ms: u64) -> Self {
        let outcome = Outcome::NotStarted { after_ms };
        Self::failed(outcome, ErrorClass::OwnNetwork, "waits for capacity")
    }

    /// Whether the receiver accepted it.
    pub fn is_delivered(&self) -> bool {
        self.outcome == Outcome::Delivered
    }
}

//! The check: the result of one probe of an endpoint.
//!
//! A prober reports an [`Observation`]; [`judge()`] turns it into a [`Check`], by the endpoint's definition alone. An
//! external prober reports only its verdict, an [`ExternalCheck`], which [`Check::reported`] adopts. [`crate::incident`]
//! decides what a series of checks means; [`summary`] aggregates them for statistics.
//!
//! Assertions: `assertion.rs` has the types and their validation, `extract.rs` reads the asserted value out of the
//! observation, `compare.rs` compares it, `describe.rs` formats values for people.

mod assertion;
mod body;
mod compare;
mod describe;
mod external;
mod extract;
pub mod json_path;
mod judge;
mod latency;
mod number;
pub mod summary;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::time::Timestamp;

pub(crate) use assertion::violations as assertion_violations;
pub use assertion::{
    ASSERTIONS_MAX, Assertion, AssertionKind, AssertionResult, Operator, TARGET_BYTES_MAX, VALUE_BYTES_MAX,
};
pub use body::{Body, BodyFault, BodyNeeds, JSON_BYTES_MAX, SEARCHED_BYTES_MAX};
pub use external::ExternalCheck;
pub use judge::judge;

/// The longest reason of a check, in characters; a longer one is truncated.
pub const REASON_CHARS_MAX: usize = 500;

/// The state of an endpoint according to one check. Ordered from best to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CheckStatus {
    Healthy,
    /// The endpoint responds, but too slowly, with a certificate that is about to expire, or against an assertion.
    Degraded,
    /// No response, or not the expected one.
    Down,
    /// Proves nothing about the endpoint and does not change its streak: the prober's own network failed, or an assertion
    /// is about a part of the response that was not seen.
    Inconclusive,
}

impl CheckStatus {
    /// Every status.
    pub const ALL: [Self; 4] = [Self::Healthy, Self::Degraded, Self::Down, Self::Inconclusive];

    /// The wire name: API, store and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Down => "down",
            Self::Inconclusive => "inconclusive",
        }
    }

    /// Parses a wire name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }

    /// Whether the check counts towards opening an incident.
    pub const fn is_failing(self) -> bool {
        matches!(self, Self::Degraded | Self::Down)
    }
}

/// What a prober observed.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    pub started_at: Timestamp,
    pub timings: Timings,
    /// The certificate that the server presented, trusted or not; `None` without TLS.
    pub certificate: Option<Certificate>,
    pub outcome: Result<Answer, Failure>,
}

/// Durations of a probe's phases, in milliseconds; null for a phase that did not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Timings {
    /// Name resolution.
    pub dns_ms: Option<u32>,
    /// The TCP handshake.
    pub connect_ms: Option<u32>,
    /// The TLS handshake.
    pub tls_ms: Option<u32>,
    /// From the first byte of the request to the first byte of the response.
    pub first_byte_ms: Option<u32>,
    pub total_ms: u32,
}

/// The parts of a certificate that checks use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Certificate {
    pub not_after: Timestamp,
    /// A distinguished name (RFC 4514), such as `CN=R11, O=Let's Encrypt, C=US`.
    pub issuer: String,
    pub subject: String,
}

/// The response to a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// An HTTP response, the last one if redirects were followed.
    Http {
        status: u16,
        /// In order of arrival, names in lower case; values that are not text are left out.
        headers: Vec<(String, String)>,
        body: Body,
    },
    /// The target was reached: TCP connection, ICMP echo reply or TLS handshake.
    Reached,
    /// DNS records in text form.
    Records(Vec<String>),
}

/// Why there is no response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub class: FailureClass,
    /// For people, such as `connection refused by 10.0.0.7:443`.
    pub message: String,
}

/// The kind of a [`Failure`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// The name could not be resolved.
    Dns,
    /// No connection could be made, other than by refusal or timeout.
    Connect,
    /// The connection was refused.
    Refused,
    Timeout,
    /// The handshake failed, or the certificate is not trusted.
    Tls,
    /// The peer closed the connection early or sent something unexpected.
    Protocol,
    /// Too many redirects, or one that cannot be followed.
    Redirect,
    /// The instance's policy does not allow probes of this address.
    Forbidden,
    /// The prober's own network failed.
    OwnNetwork,
}

impl FailureClass {
    /// Every class.
    pub const ALL: [Self; 9] = [
        Self::Dns,
        Self::Connect,
        Self::Refused,
        Self::Timeout,
        Self::Tls,
        Self::Protocol,
        Self::Redirect,
        Self::Forbidden,
        Self::OwnNetwork,
    ];

    /// The wire name: API, store and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Refused => "refused",
            Self::Timeout => "timeout",
            Self::Tls => "tls",
            Self::Protocol => "protocol",
            Self::Redirect => "redirect",
            Self::Forbidden => "forbidden",
            Self::OwnNetwork => "own_network",
        }
    }

    /// Parses a wire name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.as_str() == name)
    }
}

/// The verdict on one probe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// When the probe started.
    pub checked_at: Timestamp,
    pub status: CheckStatus,
    /// For people, such as `HTTP 502 — expected 200`, at most [`REASON_CHARS_MAX`] characters; `None` for a healthy check
    /// of Tidings' own prober.
    pub reason: Option<String>,
    /// Set if there was no response.
    pub failure: Option<FailureClass>,
    /// The HTTP status code, if there was one.
    pub status_code: Option<u16>,
    /// `None` without a response, or if an external prober did not report it.
    pub response_time_ms: Option<u32>,
    pub timings: Timings,
    pub certificate: Option<Certificate>,
    /// The results in the order of the definition's assertions; empty if they were not evaluated.
    pub assertions: Vec<AssertionResult>,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An HTTP response that took 1234 ms, with some headers.
    pub(crate) fn answer(status: u16, body: &str) -> Observation {
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        Observation {
            started_at: Timestamp::parse("2026-05-02T04:00:00Z").unwrap(),
            timings: Timings { total_ms: 1234, ..Timings::default() },
            certificate: None,
            outcome: Ok(Answer::Http {
                status,
                headers: vec![
                    header("server", "nginx"),
                    header("vary", "a"),
                    header("content-length", "10"),
                    header("x-empty", ""),
                    header("vary", "b"),
                ],
                body: Body::whole(body),
            }),
        }
    }

    /// A certificate that expires at `not_after`.
    pub(crate) fn certificate(not_after: Timestamp) -> Certificate {
        Certificate { not_after, issuer: "CN=R11, O=Let's Encrypt, C=US".into(), subject: "CN=example.com".into() }
    }

    #[test]
    fn wire_names_round_trip() {
        for status in CheckStatus::ALL {
            assert_eq!(CheckStatus::parse(status.as_str()), Some(status));
            assert_eq!(serde_json::to_value(status).unwrap(), status.as_str());
        }
        for class in FailureClass::ALL {
            assert_eq!(FailureClass::parse(class.as_str()), Some(class));
            assert_eq!(serde_json::to_value(class).unwrap(), class.as_str());
        }
    }
}

//! The check: one probe of an endpoint, what was seen, and what that means.
//!
//! A prober reports an [`Observation`]; [`judge()`] makes a [`Check`] of it, by the endpoint's definition alone. A prober
//! elsewhere that has judged by itself reports no more than its verdict, and [`Check::reported`] takes that over. What
//! checks in a row come to is told by [`crate::incident`].

mod assertion;
mod compare;
mod external;
pub mod json_path;
mod judge;
mod look;
mod number;
pub mod summary;
mod words;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

pub(crate) use assertion::violations as assertion_violations;
pub use assertion::{
    ASSERTIONS_MAX, Assertion, AssertionKind, AssertionResult, Operator, TARGET_BYTES_MAX, VALUE_BYTES_MAX,
};
pub use external::ExternalCheck;
pub use judge::judge;

/// The longest reason of a check, in characters; a longer one is cut.
pub const REASON_CHARS_MAX: usize = 500;

/// How an endpoint stood when it was probed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckStatus {
    /// As it should.
    Healthy,
    /// It answers, but not well.
    Degraded,
    /// It does not do what it is for.
    Down,
    /// This machine's own network is at fault: it says nothing about the endpoint, and changes no streak.
    Inconclusive,
}

impl CheckStatus {
    /// Every status.
    pub const ALL: [Self; 4] = [Self::Healthy, Self::Degraded, Self::Down, Self::Inconclusive];

    /// The word for it in the API, in the store and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Down => "down",
            Self::Inconclusive => "inconclusive",
        }
    }

    /// The status that this word names.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == word)
    }

    /// Whether it counts towards an incident.
    pub const fn is_failing(self) -> bool {
        matches!(self, Self::Degraded | Self::Down)
    }
}

/// What a prober saw.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// When the probe began.
    pub started_at: Timestamp,
    /// How long its parts took.
    pub timings: Timings,
    /// The certificate that the other end showed, if TLS was spoken, whether or not it was trusted.
    pub certificate: Option<Certificate>,
    /// The answer, or why none came.
    pub outcome: Result<Answer, Failure>,
}

/// How long the parts of a probe took, in milliseconds; `None` for those that did not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Timings {
    /// Resolving the name.
    pub dns_ms: Option<u32>,
    /// Making the TCP connection.
    pub connect_ms: Option<u32>,
    /// The TLS handshake.
    pub tls_ms: Option<u32>,
    /// From the request's first byte to the answer's.
    pub first_byte_ms: Option<u32>,
    /// All of it.
    pub total_ms: u32,
}

/// What is of interest in a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Certificate {
    /// Until when it is valid.
    pub not_after: Timestamp,
    /// Who issued it, such as `CN=R11, O=Let's Encrypt, C=US`.
    pub issuer: String,
    /// Whom it is for.
    pub subject: String,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// An HTTP answer, after redirects if they are followed.
    Http {
        /// The status code.
        status: u16,
        /// Its headers, names in lower case, in their order; values that are no text are left out.
        headers: Vec<(String, String)>,
        /// Its body, read up to a cap.
        body: Vec<u8>,
        /// Whether that was all of it.
        is_whole: bool,
    },
    /// A connection was made (TCP), an echo came back (ICMP) or a handshake succeeded (TLS).
    Reached,
    /// Records, as text.
    Records(Vec<String>),
}

/// Why no answer came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The class.
    pub class: FailureClass,
    /// In words, such as `connection refused by 10.0.0.7:443`.
    pub message: String,
}

/// The class of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// The name has no address.
    Dns,
    /// No connection.
    Connect,
    /// The other end said no.
    Refused,
    /// It took too long.
    Timeout,
    /// TLS failed, or the certificate is not trusted.
    Tls,
    /// The other end broke off, or spoke something else.
    Protocol,
    /// More redirects than are followed, or one that cannot be.
    Redirect,
    /// The address is not one that this instance may watch.
    Forbidden,
    /// This machine's own network is at fault.
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

    /// The word for it in the API, in the store and in metrics.
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

    /// The class that this word names.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.as_str() == word)
    }
}

/// What an observation means.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// When the probe began.
    pub checked_at: Timestamp,
    /// How it stood.
    pub status: CheckStatus,
    /// Why, in words, such as `HTTP 502 — expected 200`, at most [`REASON_CHARS_MAX`] characters; none if it was judged
    /// here and is healthy.
    pub reason: Option<String>,
    /// The class of the failure, if no answer came.
    pub failure: Option<FailureClass>,
    /// The status code of the answer, if it was HTTP.
    pub status_code: Option<u16>,
    /// How long the answer took, in milliseconds; none if none came, or nobody said.
    pub response_time_ms: Option<u32>,
    /// How long its parts took, as far as is known.
    pub timings: Timings,
    /// The certificate.
    pub certificate: Option<Certificate>,
    /// Each assertion with what was found, in their order; empty if none was looked at.
    pub assertions: Vec<AssertionResult>,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A quick answer with some headers.
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
                body: body.as_bytes().to_vec(),
                is_whole: true,
            }),
        }
    }

    /// A certificate that ends then.
    pub(crate) fn certificate(not_after: Timestamp) -> Certificate {
        Certificate { not_after, issuer: "CN=R11, O=Let's Encrypt, C=US".into(), subject: "CN=example.com".into() }
    }

    #[test]
    fn one_word_everywhere() {
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

//! The body of a response, decoded, and how much of it the assertions of an endpoint need.

use super::{Assertion, AssertionKind, Operator};

/// How much of a body is searched for the texts of `contains` and `not_contains`, in bytes of decoded text.
pub const SEARCHED_BYTES_MAX: usize = 4 * 1_024 * 1_024;
/// How much of a body is kept to be read as JSON, or to be compared as a whole, in bytes of decoded text.
pub const JSON_BYTES_MAX: usize = 1_024 * 1_024;
/// How much of a body is kept for descriptions.
const QUOTED_BYTES_MAX: usize = 4 * 1_024;

/// The body of a response as text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Body {
    /// The beginning, up to what [`BodyNeeds`] asks for.
    pub text: String,
    /// Whether `text` is all of it.
    pub is_complete: bool,
    /// The searched texts that were found, also beyond `text`.
    pub found: Vec<String>,
    /// How much was searched, in bytes of text.
    pub searched_bytes: u64,
    /// Whether all of it was searched.
    pub is_searched: bool,
    /// Why the rest could not be decoded.
    pub fault: Option<BodyFault>,
}

/// Why a body could not be decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BodyFault {
    /// A content coding that is not supported.
    UnknownCoding(String),
    /// The body does not conform to its content coding.
    Malformed(String),
    /// Of the response only the status line could be read, so that neither headers nor body are known.
    OnlyStatusLine,
}

impl Body {
    /// A body that was read to its end.
    pub fn whole(text: impl Into<String>) -> Self {
        let text = text.into();
        let searched_bytes = text.len() as u64;
        Self { text, is_complete: true, found: Vec::new(), searched_bytes, is_searched: true, fault: None }
    }

    /// Whether the part that was searched contains the text.
    pub(super) fn contains(&self, text: &str) -> bool {
        self.text.contains(text) || self.found.iter().any(|found| found == text)
    }
}

/// What assertions need to know about a body.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BodyNeeds {
    /// How much of the beginning must be kept, in bytes of text; 0 if the body is of no interest.
    pub kept_max: usize,
    /// Texts to search for in [`SEARCHED_BYTES_MAX`] bytes.
    pub texts: Vec<String>,
}

impl BodyNeeds {
    /// What these assertions need.
    pub fn of(assertions: &[Assertion]) -> Self {
        let mut needs = Self::default();
        for assertion in assertions {
            let kept = match (assertion.kind, assertion.operator) {
                (AssertionKind::Body, Operator::Contains | Operator::NotContains) => {
                    needs.texts.extend(assertion.value.clone().filter(|text| !needs.texts.contains(text)));
                    QUOTED_BYTES_MAX
                }
                (AssertionKind::Body | AssertionKind::Json, _) => JSON_BYTES_MAX,
                (AssertionKind::Latency | AssertionKind::Header | AssertionKind::Ssl, _) => 0,
            };
            needs.kept_max = needs.kept_max.max(kept);
        }
        needs
    }
}

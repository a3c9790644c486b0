//! What is wrong with an input, field by field, in words that say what would be right.

use std::fmt;

/// One thing wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// JSON pointer (RFC 6901) to the field, such as `/triggers/0`; empty for the whole.
    pub pointer: String,
    /// What is wrong and what would be right. Never quotes a secret.
    pub message: String,
}

impl Violation {
    /// A violation of the field at `pointer`.
    pub fn new(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), message: message.into() }
    }

    /// The same violation seen from one level further out: `/0` and `/runId` give `/0/runId`.
    pub fn under(mut self, prefix: impl fmt::Display) -> Self {
        self.pointer = format!("{prefix}{}", self.pointer);
        self
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", if self.pointer.is_empty() { "/" } else { &self.pointer }, self.message)
    }
}

/// The JSON pointer (RFC 6901) to the field of this key, from the object that holds it.
pub fn pointer(key: &str) -> String {
    format!("/{}", key.replace('~', "~0").replace('/', "~1"))
}

/// Everything wrong with an input; empty if nothing is.
pub type Violations = Vec<Violation>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_are_escaped() {
        assert_eq!(pointer("a/b~c"), "/a~1b~0c");
    }
}

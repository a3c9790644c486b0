//! Validation errors: what is wrong with an input, field by field, and what would be valid.

use std::fmt;

/// One thing wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// JSON pointer (RFC 6901) to the field, such as `/triggers/0`; empty for the whole input.
    pub pointer: String,
    /// Completes a sentence whose subject is the field, such as `must not be empty`. Never quotes a secret.
    pub message: String,
}

impl Violation {
    /// A violation of the field at `pointer`.
    pub fn new(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), message: message.into() }
    }

    /// The same violation seen from the parent: `/runId` under `/0` is `/0/runId`.
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

/// The JSON pointer (RFC 6901) to this key, relative to its object.
pub fn pointer(key: &str) -> String {
    format!("/{}", key.replace('~', "~0").replace('/', "~1"))
}

/// Everything wrong with an input; empty if it is valid.
pub type Violations = Vec<Violation>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointer_escapes_tilde_and_slash() {
        assert_eq!(pointer("a/b~c"), "/a~1b~0c");
    }
}

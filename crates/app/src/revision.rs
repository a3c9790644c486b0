//! Optimistic concurrency: which revision of a resource an edit expects.

use tidings_engine::EngineError;

use crate::error::Result;

/// The revisions of which the resource must be at one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// The edit is applied to whatever there is.
    Any,
    OneOf(Vec<u32>),
}

impl Expected {
    /// Fails if the resource, which is at `current`, is at another revision than expected.
    ///
    /// # Errors
    /// [`EngineError::RevisionMismatch`].
    pub fn check(&self, current: u32) -> Result<()> {
        match self {
            Self::OneOf(revisions) if !revisions.contains(&current) => Err(EngineError::RevisionMismatch.into()),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expected_revision_is_the_current_one_if_listed() {
        assert!(Expected::Any.check(7).is_ok());
        assert!(Expected::OneOf(vec![6, 7]).check(7).is_ok());
        assert!(Expected::OneOf(vec![6]).check(7).is_err());
    }
}

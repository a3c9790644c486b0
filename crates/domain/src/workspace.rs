//! The workspace: the tenant to which everything else belongs.

use crate::id::WorkspaceId;
use crate::time::Timestamp;

/// A tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workspace {
    /// Its id.
    pub id: WorkspaceId,
    /// Its name in paths: 1–63 of `a-z`, `0-9` and `-`, a letter or digit first.
    pub slug: String,
    /// When it was made.
    pub created_at: Timestamp,
}

/// Whether the text may be a workspace's slug. Ids (`ws_…`) hold an underscore, so that no slug looks like one.
pub fn is_slug(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && !text.starts_with('-')
        && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::is_slug;

    #[test]
    fn slugs() {
        assert!(is_slug("default") && is_slug("data-team-2"));
        for wrong in ["", "-a", "A", "a_b", "a b", "ä", &"a".repeat(64)] {
            assert!(!is_slug(wrong), "{wrong}");
        }
    }
}

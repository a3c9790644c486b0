//! Workspaces: the tenants to which everything else belongs.

use crate::id::WorkspaceId;
use crate::time::Timestamp;

/// A workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workspace {
    pub id: WorkspaceId,
    /// The name in URL paths: see [`is_slug`].
    pub slug: String,
    pub created_at: Timestamp,
}

/// Whether the text is a valid slug: 1 to 63 of `a-z`, `0-9` and `-`, not starting with `-`. Ids (`ws_…`) contain an
/// underscore, so no slug can be mistaken for an id.
pub fn is_slug(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && !text.starts_with('-')
        && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::is_slug;

    #[test]
    fn slug_has_only_lower_case_letters_digits_and_hyphens() {
        assert!(is_slug("default") && is_slug("data-team-2"));
        for wrong in ["", "-a", "A", "a_b", "a b", "ä", &"a".repeat(64)] {
            assert!(!is_slug(wrong), "{wrong}");
        }
    }
}

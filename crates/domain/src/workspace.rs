//! Workspaces: the tenants to which everything else belongs.

use crate::id::WorkspaceId;
use crate::time::Timestamp;

/// The languages in which messages can be written.
pub const LOCALES: [&str; 1] = ["en"];
/// The plan of a workspace for which none was chosen.
pub const DEFAULT_PLAN: &str = "default";

/// A workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workspace {
    pub id: WorkspaceId,
    /// The name in URL paths: see [`is_slug`].
    pub slug: String,
    /// The name for people.
    pub name: String,
    /// The language of messages, one of [`LOCALES`].
    pub locale: String,
    /// The name of the plan, which sets the quotas.
    pub plan: String,
    pub created_at: Timestamp,
    /// Since when the operator has it suspended.
    pub suspended_at: Option<Timestamp>,
    /// Starts at 1.
    pub revision: u32,
}

impl Workspace {
    /// A new workspace with defaults, named like its slug.
    pub fn new(id: WorkspaceId, slug: impl Into<String>, created_at: Timestamp) -> Self {
        let slug = slug.into();
        Self {
            id,
            name: slug.clone(),
            slug,
            locale: LOCALES[0].to_owned(),
            plan: DEFAULT_PLAN.to_owned(),
            created_at,
            suspended_at: None,
            revision: 1,
        }
    }
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

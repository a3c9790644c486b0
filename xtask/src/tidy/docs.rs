//! Public items of the crates have a doc comment. The lint `missing_docs` would also want one on every field.

/// Starts of lines that declare an item which needs a doc comment.
const ITEMS: [&str; 6] = ["pub struct ", "pub enum ", "pub trait ", "pub fn ", "pub async fn ", "pub const fn "];

/// Public items at the top level of a crate's module that have no doc comment.
pub fn check(path: &str, text: &str) -> Vec<String> {
    let is_production = path.starts_with("crates/") && path.contains("/src/") && !path.contains("/tests");
    if !is_production {
        return Vec::new();
    }
    let lines: Vec<&str> = text.lines().collect();
    let is_undocumented =
        |index: &usize| ITEMS.iter().any(|item| lines[*index].starts_with(item)) && !is_documented(&lines[..*index]);
    let items = (0..lines.len()).filter(is_undocumented);
    items.map(|index| format!("{path}:{}: no doc comment on `{}`", index + 1, lines[index])).collect()
}

/// Whether the lines before an item end with a doc comment. Attributes, which may have several lines, come in between.
fn is_documented(before: &[&str]) -> bool {
    let mut before = before.iter().rev().map(|line| line.trim());
    let is_end_of_other_item = |line: &str| line.is_empty() || line.ends_with([';', '}']);
    before
        .find(|line| line.starts_with("///") || is_end_of_other_item(line))
        .is_some_and(|line| line.starts_with("///"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(text: &str) -> usize {
        check("crates/x/src/lib.rs", text).len()
    }

    #[test]
    fn check_wants_docs_on_public_top_level_items_only() {
        for text in [
            "pub fn f() {}",
            "use a;\npub struct S;",
            "/// A.\npub const A: u8 = 1;\npub enum E {}",
            "\npub async fn f()",
        ] {
            assert_eq!(findings(text), 1, "{text:?}");
        }
        for text in [
            "/// F.\npub fn f() {}",
            "/// S.\n#[derive(\n    Debug,\n)]\npub struct S;",
            "fn f() {}",
            "pub(crate) fn f() {}",
            "impl S {\n    pub fn f() {}\n}",
        ] {
            assert_eq!(findings(text), 0, "{text:?}");
        }
        assert!(check("crates/x/tests/a.rs", "pub fn f() {}").is_empty());
        assert_eq!(
            check("crates/x/src/a.rs", "\n\npub fn f() {}"),
            ["crates/x/src/a.rs:3: no doc comment on `pub fn f() {}`"]
        );
    }
}

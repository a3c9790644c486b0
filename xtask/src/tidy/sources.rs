//! Rules for every Rust file: a header, a size limit, one layout of tests, and nothing left unfinished.

/// Files over 400 lines should be split; over this they must be.
const LINES_MAX: usize = 600;
/// Inline tests over 80 lines should move to `foo/tests.rs`; over this they must.
const INLINE_TESTS_LINES_MAX: usize = 100;

/// Banned text, and why. Written in two parts, so that this file does not match itself.
const BANNED: [(&str, &str); 6] = [
    (
        concat!("#[", "allow("),
        "hides a lint forever: use `#[expect(…, reason = \"…\")]`, which fails when it is obsolete",
    ),
    (
        concat!("#![", "allow("),
        "hides a lint forever: use `#[expect(…, reason = \"…\")]`, which fails when it is obsolete",
    ),
    (concat!("#[", "path"), "hides where a module is: use `foo/tests.rs` for the tests of `foo.rs`"),
    (concat!("to", "do!("), "is unfinished"),
    (concat!("unimpl", "emented!("), "is unfinished"),
    (concat!("FIX", "ME"), "is unfinished: fix it, or document what is deliberately missing and why"),
];

/// All violations in one Rust file.
pub fn check(path: &str, text: &str) -> Vec<String> {
    let mut findings = Vec::new();
    let mut report = |line: usize, problem: String| findings.push(format!("{path}:{line}: {problem}"));
    if !text.starts_with("//!") {
        report(1, "the file does not start with a `//!` comment that says what it is".to_owned());
    }
    if path.ends_with("_tests.rs") {
        report(1, "tests of `foo.rs` belong into `foo/tests.rs`".to_owned());
    }
    let lines = text.lines().count();
    if lines > LINES_MAX {
        report(lines, format!("{lines} lines, more than {LINES_MAX}: split the file"));
    }
    let inline_tests = (1..).zip(text.lines()).find(|(_, line)| *line == "mod tests {");
    if let Some((start, _)) = inline_tests
        && lines - start > INLINE_TESTS_LINES_MAX
    {
        let length = lines - start;
        report(start, format!("{length} lines of tests, more than {INLINE_TESTS_LINES_MAX}: move them to `tests.rs`"));
    }
    for (line, content) in (1..).zip(text.lines()) {
        for (banned, why) in BANNED.iter().filter(|(banned, _)| content.contains(banned)) {
            report(line, format!("`{banned}` {why}"));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(text: &str) -> Vec<String> {
        check("x.rs", text)
    }

    #[test]
    fn check_valid_file_has_no_findings() {
        assert!(findings("//! What it is.\n\nfn main() {}\n").is_empty());
        assert!(findings("//! What it is.\n#[expect(dead_code, reason = \"an example\")]\nfn f() {}\n").is_empty());
    }

    #[test]
    fn check_missing_header_is_reported() {
        let expected = ["x.rs:1: the file does not start with a `//!` comment that says what it is"];
        assert_eq!(findings("fn main() {}\n"), expected);
        assert_eq!(findings("\n//! Too late.\n"), expected);
        assert_eq!(findings(""), expected);
    }

    #[test]
    fn check_long_file_is_reported() {
        let text = |lines: usize| format!("//! What it is.\n{}", "//\n".repeat(lines - 1));
        assert!(findings(&text(LINES_MAX)).is_empty());
        assert_eq!(findings(&text(601)), ["x.rs:601: 601 lines, more than 600: split the file"]);
    }

    #[test]
    fn check_test_layout_is_enforced() {
        let inline = |lines: usize| format!("//! X.\nmod tests {{\n{}}}\n", "    x();\n".repeat(lines - 1));
        assert!(findings(&inline(INLINE_TESTS_LINES_MAX)).is_empty());
        assert_eq!(findings(&inline(101)), ["x.rs:2: 101 lines of tests, more than 100: move them to `tests.rs`"]);
        assert_eq!(check("a/x_tests.rs", "//! X.\n"), ["a/x_tests.rs:1: tests of `foo.rs` belong into `foo/tests.rs`"]);
    }

    #[test]
    fn check_banned_text_is_reported() {
        for (banned, _) in BANNED {
            let findings = findings(&format!("//! What it is.\n\n    {banned}dead_code)]\n"));
            assert!(findings.len() == 1 && findings[0].starts_with("x.rs:3: "), "{findings:?}");
        }
    }
}

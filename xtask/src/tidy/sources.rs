//! What every Rust file keeps to: it says what it is, it stays small, it leaves nothing for later.

use std::fmt;

/// Past this a file holds two things. (Past 400 it is time to look for the second.)
const LINES_MAX: usize = 600;

/// What must not stand in a file, and what to do instead. Spelt in two parts, so as not to find itself.
const BANNED: [(&str, &str); 5] = [
    (concat!("#[", "allow("), "silences a lint for good: `#[expect(…, reason = \"…\")]` says why and ends by itself"),
    (concat!("#![", "allow("), "silences a lint for good: `#[expect(…, reason = \"…\")]` says why and ends by itself"),
    (concat!("to", "do!("), "is not finished"),
    (concat!("unimpl", "emented!("), "is not finished"),
    (concat!("FIX", "ME"), "is not finished: mend it, or write down what is deliberately absent and why"),
];

/// Something in a file that breaks a rule. Shown after the file's name.
#[derive(Debug, PartialEq, Eq)]
pub struct Finding {
    line: usize,
    what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, ":{}: {}", self.line, self.what)
    }
}

/// Everything in one Rust file that breaks a rule.
pub fn check(text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !text.starts_with("//!") {
        findings.push(Finding { line: 1, what: "the file does not open with `//!`: what is it, and why here?".into() });
    }
    let lines = text.lines().count();
    if lines > LINES_MAX {
        findings
            .push(Finding { line: lines, what: format!("{lines} lines, more than {LINES_MAX}: find the second room") });
    }
    for (line, content) in (1..).zip(text.lines()) {
        for (banned, instead) in BANNED.iter().filter(|(banned, _)| content.contains(banned)) {
            findings.push(Finding { line, what: format!("`{banned}` {instead}") });
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Vec<String> {
        check(text).iter().map(|finding| format!("x.rs{finding}")).collect()
    }

    #[test]
    fn a_file_in_order_has_no_findings() {
        assert!(check("//! What it is.\n\nfn main() {}\n").is_empty());
        assert!(
            check("//! What it is.\n#[expect(dead_code, reason = \"shown to the reader\")]\nfn f() {}\n").is_empty()
        );
    }

    #[test]
    fn a_file_opens_with_what_it_is() {
        let expected = ["x.rs:1: the file does not open with `//!`: what is it, and why here?"];
        assert_eq!(shown("fn main() {}\n"), expected);
        assert_eq!(shown("\n//! Too late.\n"), expected);
        assert_eq!(shown(""), expected);
    }

    #[test]
    fn a_file_stays_small() {
        let text = |lines: usize| format!("//! What it is.\n{}", "//\n".repeat(lines - 1));
        assert!(check(&text(LINES_MAX)).is_empty());
        assert_eq!(shown(&text(601)), ["x.rs:601: 601 lines, more than 600: find the second room"]);
    }

    #[test]
    fn nothing_is_silenced_or_left_for_later() {
        for (banned, _) in BANNED {
            let text = format!("//! What it is.\n\n    {banned}dead_code)]\n");
            let findings = check(&text);
            assert_eq!(findings.len(), 1, "{banned}");
            assert_eq!(findings[0].line, 3, "{banned}");
        }
    }
}

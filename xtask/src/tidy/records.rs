//! Decision records (`docs/adr`): numbered without gaps, so that a reference to one can be trusted.

/// Everything that is wrong with the records, given as file name and text.
pub fn check(records: &[(String, String)]) -> Vec<String> {
    let mut findings = Vec::new();
    let mut numbers = Vec::new();
    for (name, text) in records {
        let Some(number) = number(name) else {
            findings.push(format!("docs/adr/{name}: the name is not of the form `0007-in-a-few-words.md`"));
            continue;
        };
        numbers.push(number);
        let heading = format!("# {number:04}. ");
        if !text.starts_with(&heading) {
            findings.push(format!("docs/adr/{name}: the first line does not begin with `{heading}`"));
        }
    }
    numbers.sort_unstable();
    for (expected, found) in (0..).zip(&numbers) {
        if *found != expected {
            findings
                .push(format!("docs/adr: expected {expected:04} and found {found:04}: a gap, or a number used twice"));
            break;
        }
    }
    findings
}

/// The number in `0007-in-a-few-words.md`.
fn number(name: &str) -> Option<u32> {
    let (number, rest) = name.split_once('-')?;
    let words = rest.strip_suffix(".md")?;
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let is_number = number.len() == 4 && number.bytes().all(|digit| digit.is_ascii_digit());
    let fits = is_number && !words.is_empty() && words.chars().all(is_word);
    fits.then(|| number.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(records: &[(&str, &str)]) -> Vec<String> {
        let records: Vec<_> = records.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        check(&records)
    }

    #[test]
    fn records_in_order_have_no_findings() {
        assert!(findings(&[]).is_empty());
        assert!(findings(&[("0001-b.md", "# 0001. B\n"), ("0000-a.md", "# 0000. A\n")]).is_empty());
    }

    #[test]
    fn names_and_headings_carry_the_number() {
        for name in ["README.md", "1-a.md", "0001.md", "0001-.md", "0001-Big Words.md", "0001-a.txt", "+001-a.md"] {
            assert_eq!(number(name), None, "{name}");
        }
        assert_eq!(findings(&[("notes.md", "")]).len(), 1);
        assert_eq!(
            findings(&[("0000-a.md", "# 0001. A\n")]),
            ["docs/adr/0000-a.md: the first line does not begin with `# 0000. `"]
        );
    }

    #[test]
    fn numbers_have_no_gap_and_no_twin() {
        let gap = findings(&[("0000-a.md", "# 0000. A\n"), ("0002-c.md", "# 0002. C\n")]);
        assert_eq!(gap, ["docs/adr: expected 0001 and found 0002: a gap, or a number used twice"]);
        let twin = findings(&[("0000-a.md", "# 0000. A\n"), ("0000-b.md", "# 0000. B\n")]);
        assert_eq!(twin, ["docs/adr: expected 0001 and found 0000: a gap, or a number used twice"]);
    }
}

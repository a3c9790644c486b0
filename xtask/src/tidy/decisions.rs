//! Decision records (`docs/adr`): numbered without gaps, so that references to them are reliable.

/// All problems of the records, given as file name and text.
pub fn check(records: &[(String, String)]) -> Vec<String> {
    let mut findings = Vec::new();
    let mut numbers = Vec::new();
    for (name, text) in records {
        let Some(number) = number(name) else {
            findings.push(format!("docs/adr/{name}: the file name is not of the form `0007-a-short-title.md`"));
            continue;
        };
        numbers.push(number);
        let heading = format!("# {number:04}. ");
        if !text.starts_with(&heading) {
            findings.push(format!("docs/adr/{name}: the first line does not start with `{heading}`"));
        }
    }
    numbers.sort_unstable();
    for (expected, found) in (0..).zip(&numbers) {
        if *found != expected {
            findings.push(format!("docs/adr: expected {expected:04}, found {found:04}: a gap or a duplicate number"));
            break;
        }
    }
    findings
}

/// The number in `0007-a-short-title.md`.
fn number(name: &str) -> Option<u32> {
    let (number, rest) = name.split_once('-')?;
    let title = rest.strip_suffix(".md")?;
    let is_title = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let is_number = number.len() == 4 && number.bytes().all(|digit| digit.is_ascii_digit());
    let fits = is_number && !title.is_empty() && title.chars().all(is_title);
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
    fn check_valid_records_have_no_findings() {
        assert!(findings(&[]).is_empty());
        assert!(findings(&[("0001-b.md", "# 0001. B\n"), ("0000-a.md", "# 0000. A\n")]).is_empty());
    }

    #[test]
    fn check_name_or_heading_without_number_is_reported() {
        for name in ["README.md", "1-a.md", "0001.md", "0001-.md", "0001-Big Words.md", "0001-a.txt", "+001-a.md"] {
            assert_eq!(number(name), None, "{name}");
        }
        assert_eq!(findings(&[("notes.md", "")]).len(), 1);
        assert_eq!(
            findings(&[("0000-a.md", "# 0001. A\n")]),
            ["docs/adr/0000-a.md: the first line does not start with `# 0000. `"]
        );
    }

    #[test]
    fn check_gap_or_duplicate_number_is_reported() {
        let gap = findings(&[("0000-a.md", "# 0000. A\n"), ("0002-c.md", "# 0002. C\n")]);
        assert_eq!(gap, ["docs/adr: expected 0001, found 0002: a gap or a duplicate number"]);
        let duplicate = findings(&[("0000-a.md", "# 0000. A\n"), ("0000-b.md", "# 0000. B\n")]);
        assert_eq!(duplicate, ["docs/adr: expected 0001, found 0000: a gap or a duplicate number"]);
    }
}

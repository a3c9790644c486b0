//! Patterns of one class of characters, the only regular expressions that schemas have besides those of ids.

/// A pattern of the form `^[class]{min,max}$`.
#[derive(Debug)]
pub(super) struct Word {
    /// As in the pattern, such as `A-Za-z0-9_-`.
    class: String,
    chars_min: usize,
    chars_max: usize,
}

impl Word {
    pub(super) fn parse(pattern: &str) -> Option<Self> {
        let (class, rest) = pattern.strip_prefix("^[")?.split_once("]{")?;
        let (min, max) = rest.strip_suffix("}$")?.split_once(',')?;
        Some(Self { class: class.to_owned(), chars_min: min.parse().ok()?, chars_max: max.parse().ok()? })
    }

    /// Whether the class has the character, as one of its own or within one of its ranges.
    fn has(&self, wanted: char) -> bool {
        let class: Vec<_> = self.class.chars().collect();
        let mut at = 0;
        while at < class.len() {
            let is_range = class.get(at + 1) == Some(&'-') && at + 2 < class.len();
            let last = if is_range { class[at + 2] } else { class[at] };
            if (class[at]..=last).contains(&wanted) {
                return true;
            }
            at += if is_range { 3 } else { 1 };
        }
        false
    }

    pub(super) fn fits(&self, text: &str) -> bool {
        (self.chars_min..=self.chars_max).contains(&text.chars().count()) && text.chars().all(|c| self.has(c))
    }

    /// What a text that does not fit must be.
    pub(super) fn form(&self) -> String {
        let Self { class, chars_min, chars_max } = self;
        format!("must be {chars_min} to {chars_max} characters of {class}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn word_fits_by_class_and_length() {
        let word = Word::parse("^[A-Za-z0-9_-]{1,4}$").unwrap();
        for fitting in ["a", "Z9", "_-", "aaaa"] {
            assert!(word.fits(fitting), "{fitting}");
        }
        for other in ["", "aaaaa", "a b", "é", "a\n", "["] {
            assert!(!word.fits(other), "{other}");
        }
        assert_eq!(word.form(), "must be 1 to 4 characters of A-Za-z0-9_-");
        assert!(Word::parse("^rule_[0-9a-f]{32}$").is_none());
    }
}

//! Paths into JSON, such as `status`, `data.items[0].name` or `$.a["b.c"]`: how they are read, and what they lead to.
//!
//! Small on purpose: a path names one place. There are no wildcards, slices or filters, and a path that holds one is
//! refused rather than taken for an odd key.

use std::collections::BTreeMap;
use std::fmt;
use std::iter::Peekable;
use std::str::Chars;

use serde_json::value::RawValue;

/// Steps that one path may have. Each reads what is left of the document once more.
const STEPS_MAX: usize = 32;

/// A path to one place in a JSON document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonPath(Vec<Step>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(usize),
}

/// Why a text is no path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidPath {
    /// Where, in characters, from 1.
    pub at: usize,
    /// What is wrong there, or would be right.
    pub words: &'static str,
}

impl fmt::Display for InvalidPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at character {}: {}", self.at, self.words)
    }
}

impl std::error::Error for InvalidPath {}

const EMPTY: &str = "expected a path such as status or data.items[0].name; $ is the whole body";
const KEY: &str = "expected a key; one with other characters is written [\"so\"]";
const WILDCARD: &str = "wildcards are not supported; a key that is called * is written [\"*\"]";
const BRACKET: &str = "expected an index from 0 such as [0], or a key in quotes such as [\"a.b\"]";
const CLOSE: &str = "expected ]";
const QUOTE: &str = "the quote is not closed";
const ESCAPE: &str = "after a backslash expected a quote or another backslash";
const NEXT: &str = "expected . or [";
const STEPS: &str = "a path has at most 32 steps";

impl JsonPath {
    /// Reads a path. A leading `$` is the whole document, with or without anything behind it.
    pub fn parse(text: &str) -> Result<Self, InvalidPath> {
        let mut reader = Reader { left: text.chars().peekable(), at: 1 };
        let mut steps = Vec::new();
        let rooted = text.strip_prefix('$').is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
        if rooted {
            reader.next();
        } else if reader.left.peek() != Some(&'[') {
            steps.push(if text.is_empty() { return reader.fail(EMPTY) } else { reader.bare_key()? });
        }
        while let Some(next) = reader.left.peek() {
            if steps.len() == STEPS_MAX {
                return reader.fail(STEPS);
            }
            steps.push(match next {
                '.' => {
                    reader.next();
                    reader.bare_key()?
                }
                '[' => {
                    reader.next();
                    reader.in_brackets()?
                }
                _ => return reader.fail(NEXT),
            });
        }
        Ok(Self(steps))
    }

    /// What the path leads to in `document`: the JSON text of that value as it stands there; `None` if it leads
    /// nowhere. Of a key that is there twice the last counts.
    ///
    /// # Errors
    ///
    /// The document, all of it, must be JSON.
    pub fn find<'document>(&self, document: &'document str) -> Result<Option<&'document str>, serde_json::Error> {
        let mut here: &RawValue = serde_json::from_str(document)?;
        for step in &self.0 {
            let next = match (step, here.get().as_bytes().first()) {
                (Step::Key(key), Some(b'{')) => {
                    serde_json::from_str::<BTreeMap<String, &RawValue>>(here.get())?.remove(key.as_str())
                }
                (Step::Index(index), Some(b'[')) => {
                    serde_json::from_str::<Vec<&RawValue>>(here.get())?.get(*index).copied()
                }
                _ => None,
            };
            match next {
                Some(next) => here = next,
                None => return Ok(None),
            }
        }
        Ok(Some(here.get()))
    }
}

/// Reads character by character, and knows where it is.
struct Reader<'a> {
    left: Peekable<Chars<'a>>,
    at: usize,
}

impl Reader<'_> {
    fn next(&mut self) -> Option<char> {
        let next = self.left.next()?;
        self.at += 1;
        Some(next)
    }

    fn fail<T>(&self, words: &'static str) -> Result<T, InvalidPath> {
        Err(InvalidPath { at: self.at, words })
    }

    fn take_while(&mut self, fits: impl Fn(&char) -> bool) -> String {
        let mut taken = String::new();
        while self.left.peek().is_some_and(&fits) {
            taken.extend(self.next());
        }
        taken
    }

    fn bare_key(&mut self) -> Result<Step, InvalidPath> {
        let plain = |c: &char| {
            !matches!(c, '.' | '[' | ']' | '(' | ')' | '"' | '\'' | '\\' | '*') && !c.is_whitespace() && !c.is_control()
        };
        let key = self.take_while(plain);
        match self.left.peek() {
            Some('*') => self.fail(WILDCARD),
            None | Some('.' | '[') if !key.is_empty() => Ok(Step::Key(key)),
            _ => self.fail(KEY),
        }
    }

    /// What stands in brackets; the opening one is read.
    fn in_brackets(&mut self) -> Result<Step, InvalidPath> {
        let step = match self.left.peek() {
            Some(&quote @ ('"' | '\'')) => self.quoted_key(quote)?,
            Some('*') => return self.fail(WILDCARD),
            _ => {
                let start = self.at;
                let digits = self.take_while(char::is_ascii_digit);
                match digits.parse() {
                    Ok(index) => Step::Index(index),
                    Err(_) => return Err(InvalidPath { at: start, words: BRACKET }),
                }
            }
        };
        if self.left.peek() == Some(&']') {
            self.next();
            Ok(step)
        } else {
            self.fail(if matches!(step, Step::Index(_)) { BRACKET } else { CLOSE })
        }
    }

    fn quoted_key(&mut self, quote: char) -> Result<Step, InvalidPath> {
        let start = self.at;
        self.next();
        let mut key = String::new();
        loop {
            match self.next() {
                None => return Err(InvalidPath { at: start, words: QUOTE }),
                Some(c) if c == quote => return Ok(Step::Key(key)),
                Some('\\') => match self.left.peek() {
                    Some('"' | '\'' | '\\') => key.extend(self.next()),
                    _ => return self.fail(ESCAPE),
                },
                Some(c) => key.push(c),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn find<'a>(path: &str, document: &'a str) -> Option<&'a str> {
        JsonPath::parse(path).unwrap().find(document).unwrap()
    }

    #[test]
    fn each_form_leads_where_it_says() {
        let document = r#" {"status": "ok", "data": {"items": [{"name": "a"}, 1.0]}, "a": {"b.c": null, "*": 7},
            "it's": true, "$ref": 8, "größe": 9, "q\"": 10, "": 11, "twice": 1, "twice": 2} "#;
        for (path, found) in [
            ("status", Some("\"ok\"")),
            ("data.items[0].name", Some("\"a\"")),
            ("$.data.items[1]", Some("1.0")),
            ("$['data'][\"items\"][0]", Some("{\"name\": \"a\"}")),
            ("$.a[\"b.c\"]", Some("null")),
            ("a['*']", Some("7")),
            ("['it\\'s']", Some("true")),
            ("$ref", Some("8")),
            ("größe", Some("9")),
            (r#"["q\""]"#, Some("10")),
            ("['']", Some("11")),
            ("twice", Some("2")),
            ("missing", None),
            ("status.deeper", None),
            ("status[0]", None),
            ("data[0]", None),
            ("data.items.name", None),
            ("data.items[2]", None),
            ("data.items[18446744073709551615]", None),
        ] {
            assert_eq!(find(path, document), found, "{path}");
        }
        assert_eq!(find("$", " [1] "), Some("[1]"));
        assert_eq!(find("$[0]", " [1] "), Some("1"));
        assert_eq!(find("[0]", "[1]"), Some("1"));
    }

    #[test]
    fn a_malformed_path_says_where_and_what() {
        for (path, at, words) in [
            ("", 1, EMPTY),
            (".a", 1, KEY),
            ("a.", 3, KEY),
            ("a..b", 3, KEY),
            ("a b", 2, KEY),
            ("a]", 2, KEY),
            ("$.", 3, KEY),
            ("a.[\"b\"]", 3, KEY),
            ("a.*", 3, WILDCARD),
            ("a[*]", 3, WILDCARD),
            ("a[]", 3, BRACKET),
            ("a[-1]", 3, BRACKET),
            ("a[0:2]", 4, BRACKET),
            ("a[b]", 3, BRACKET),
            ("a[18446744073709551616]", 3, BRACKET),
            ("a[0", 4, BRACKET),
            ("a[0]b", 5, NEXT),
            ("a[?(@.b)]", 3, BRACKET),
            ("ä[\"b]", 3, QUOTE),
            ("a[\"b\"", 6, CLOSE),
            ("a[\"\\n\"]", 5, ESCAPE),
            ("a()", 2, KEY),
        ] {
            assert_eq!(JsonPath::parse(path), Err(InvalidPath { at, words }), "{path}");
        }
        assert_eq!(JsonPath::parse("a.").unwrap_err().to_string(), format!("at character 3: {KEY}"));
        assert!(JsonPath::parse(&["a"; STEPS_MAX].join(".")).is_ok());
        assert_eq!(JsonPath::parse(&["a"; STEPS_MAX + 1].join(".")).unwrap_err().words, STEPS);
    }

    #[test]
    fn what_is_no_json_is_an_error_and_depth_is_no_danger() {
        for document in ["", "<html>", "{\"a\":1", "{\"a\":1} x", "{'a':1}", "NaN"] {
            assert!(JsonPath::parse("a").unwrap().find(document).is_err(), "{document}");
        }
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(find("a[0][0]", &deep).map(str::len), Some(200_000 - 4));
    }

    fn document() -> impl Strategy<Value = Value> {
        let leaf =
            prop_oneof![Just(Value::Null), any::<bool>().prop_map(Value::from), any::<i64>().prop_map(Value::from)];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map("[a-c.\"'\\\\ *]{0,3}", inner, 0..4).prop_map(|members| json!(members)),
            ]
        })
    }

    /// Every place in the document, with the path that leads to it.
    fn places<'a>(at: &str, value: &'a Value, into: &mut Vec<(String, &'a Value)>) {
        into.push((at.to_owned(), value));
        for (key, value) in value.as_object().into_iter().flatten() {
            let quoted = key.replace('\\', "\\\\").replace('"', "\\\"");
            places(&format!("{at}[\"{quoted}\"]"), value, into);
        }
        for (index, value) in value.as_array().into_iter().flatten().enumerate() {
            places(&format!("{at}[{index}]"), value, into);
        }
    }

    proptest! {
        #[test]
        fn every_place_can_be_named_and_found(document in document()) {
            let text = document.to_string();
            let mut all = Vec::new();
            places("$", &document, &mut all);
            for (path, value) in all {
                let found: Value = serde_json::from_str(find(&path, &text).unwrap()).unwrap();
                prop_assert_eq!(&found, value, "{}", path);
            }
        }

        #[test]
        fn any_text_is_a_path_or_an_error_within_it(text in "[$.a\\[\\]\"'0*\\\\ ]{0,12}|\\PC{0,20}") {
            if let Err(InvalidPath { at, .. }) = JsonPath::parse(&text) {
                prop_assert!((1..=text.chars().count() + 1).contains(&at));
            }
        }
    }
}

//! Paths into JSON documents, such as `status`, `data.items[0].name` or `$.a["b.c"]`.
//!
//! A small subset of JSONPath: a path selects at most one value. Wildcards, slices and filters are not supported; a path
//! that contains one is an error rather than an unusual key.

use std::fmt;
use std::iter::Peekable;
use std::str::Chars;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// Most steps of a path. Below the recursion limit of serde_json (128), which [`Seek`] would run into otherwise.
const STEPS_MAX: usize = 32;

/// A path to one value in a JSON document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonPath(Vec<Step>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(usize),
}

/// Why a text is not a valid path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidPath {
    /// The position of the error, in characters, from 1.
    pub at: usize,
    /// What is wrong or what was expected.
    pub message: &'static str,
}

impl fmt::Display for InvalidPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at character {}: {}", self.at, self.message)
    }
}

impl std::error::Error for InvalidPath {}

const EMPTY: &str = "expected a path such as status or data.items[0].name; $ is the whole body";
const KEY: &str = "expected a key; write one with special characters as [\"a b\"]";
const WILDCARD: &str = "wildcards are not supported; write a key named * as [\"*\"]";
const BRACKET: &str = "expected an index from 0 such as [0], or a key in quotes such as [\"a.b\"]";
const CLOSE: &str = "expected ]";
const QUOTE: &str = "the quote is not closed";
const ESCAPE: &str = "after a backslash expected a quote or another backslash";
const NEXT: &str = "expected . or [";
const STEPS: &str = "a path has at most 32 steps";

impl JsonPath {
    /// Parses a path. A leading `$` is the whole document and may be left out. `$ref` is a key.
    pub fn parse(text: &str) -> Result<Self, InvalidPath> {
        let mut reader = Reader { rest: text.chars().peekable(), at: 1 };
        let mut steps = Vec::new();
        let rooted = text.strip_prefix('$').is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
        if rooted {
            reader.next();
        } else if reader.rest.peek() != Some(&'[') {
            steps.push(if text.is_empty() { return reader.fail(EMPTY) } else { reader.bare_key()? });
        }
        while let Some(next) = reader.rest.peek() {
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

    /// The selected value as JSON text, exactly as the document spells it; `None` if there is no such value. Of a
    /// duplicate key the last one counts.
    ///
    /// # Errors
    ///
    /// If the document is not JSON, also behind the selected value.
    pub fn find<'document>(&self, document: &'document str) -> Result<Option<&'document str>, serde_json::Error> {
        let mut reader = serde_json::Deserializer::from_str(document);
        let found = Seek(&self.0).deserialize(&mut reader)?;
        reader.end()?;
        Ok(found.map(RawValue::get))
    }
}

/// Follows the steps through a document in one pass and skips everything beside them. Recurses once per step, however
/// deeply the document is nested.
struct Seek<'path>(&'path [Step]);

impl<'de> DeserializeSeed<'de> for Seek<'_> {
    type Value = Option<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        if self.0.is_empty() { <&RawValue>::deserialize(reader).map(Some) } else { reader.deserialize_any(self) }
    }
}

impl<'de> Visitor<'de> for Seek<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let Some((Step::Key(wanted), rest)) = self.0.split_first() else {
            while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(None);
        };
        let mut found = None;
        while let Some(is_wanted) = members.next_key_seed(IsKey(wanted))? {
            if is_wanted {
                found = members.next_value_seed(Seek(rest))?;
            } else {
                members.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        if let Some((Step::Index(wanted), rest)) = self.0.split_first() {
            for _ in 0..*wanted {
                if items.next_element::<IgnoredAny>()?.is_none() {
                    return Ok(None);
                }
            }
            found = items.next_element_seed(Seek(rest))?.flatten();
        }
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(found)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

/// Compares a key without allocating it.
struct IsKey<'key>(&'key str);

impl<'de> DeserializeSeed<'de> for IsKey<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<bool, D::Error> {
        reader.deserialize_str(self)
    }
}

impl Visitor<'_> for IsKey<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<bool, E> {
        Ok(key == self.0)
    }
}

/// Reads a path character by character.
struct Reader<'a> {
    rest: Peekable<Chars<'a>>,
    /// The position of the next character, from 1.
    at: usize,
}

impl Reader<'_> {
    fn next(&mut self) -> Option<char> {
        let next = self.rest.next()?;
        self.at += 1;
        Some(next)
    }

    fn fail<T>(&self, message: &'static str) -> Result<T, InvalidPath> {
        Err(InvalidPath { at: self.at, message })
    }

    fn take_while(&mut self, fits: impl Fn(&char) -> bool) -> String {
        let mut taken = String::new();
        while self.rest.peek().is_some_and(&fits) {
            taken.extend(self.next());
        }
        taken
    }

    fn bare_key(&mut self) -> Result<Step, InvalidPath> {
        let plain = |c: &char| {
            !matches!(c, '.' | '[' | ']' | '(' | ')' | '"' | '\'' | '\\' | '*') && !c.is_whitespace() && !c.is_control()
        };
        let key = self.take_while(plain);
        match self.rest.peek() {
            Some('*') => self.fail(WILDCARD),
            None | Some('.' | '[') if !key.is_empty() => Ok(Step::Key(key)),
            _ => self.fail(KEY),
        }
    }

    /// The step in brackets. The opening bracket has been read.
    fn in_brackets(&mut self) -> Result<Step, InvalidPath> {
        let step = match self.rest.peek() {
            Some(&quote @ ('"' | '\'')) => self.quoted_key(quote)?,
            Some('*') => return self.fail(WILDCARD),
            _ => {
                let start = self.at;
                let digits = self.take_while(char::is_ascii_digit);
                match digits.parse() {
                    Ok(index) => Step::Index(index),
                    Err(_) => return Err(InvalidPath { at: start, message: BRACKET }),
                }
            }
        };
        if self.rest.peek() == Some(&']') {
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
                None => return Err(InvalidPath { at: start, message: QUOTE }),
                Some(c) if c == quote => return Ok(Step::Key(key)),
                Some('\\') => match self.rest.peek() {
                    Some('"' | '\'' | '\\') => key.extend(self.next()),
                    _ => return self.fail(ESCAPE),
                },
                Some(c) => key.push(c),
            }
        }
    }
}

#[cfg(test)]
mod tests;

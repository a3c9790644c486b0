//! Reads JSON objects field by field and collects every violation with its JSON pointer.

use serde_json::{Map, Value};
use tidings_domain::violation::{Violation, Violations, pointer};

use crate::body::Object;
use crate::problem::Problem;

/// The largest integer that every JSON parser keeps exactly: 2⁵³ − 1 (RFC 8259, section 6).
pub(crate) const INTEGER_MAX: u64 = (1 << 53) - 1;

/// A JSON object that is being read. Each read removes its field; fields that remain at the end are unknown, which is a
/// violation.
pub(crate) struct Fields {
    left: Map<String, Value>,
    /// The JSON pointer of this object in the body.
    at: String,
    /// The fields that were asked for, for the message about unknown ones.
    known: Vec<&'static str>,
    violations: Violations,
}

impl Fields {
    /// For edits: `null` is a value of its own, and a violation where, say, a string is expected.
    pub(crate) fn new(Object(object): Object) -> Self {
        Self { left: object, at: String::new(), known: Vec::new(), violations: Violations::new() }
    }

    /// For creation and queries: `null` is the same as an absent field.
    pub(crate) fn null_as_absent(Object(mut object): Object) -> Self {
        object.retain(|_, value| !value.is_null());
        Self::new(Object(object))
    }

    /// Sets the JSON pointer of the object in the body.
    pub(crate) fn at(mut self, at: String) -> Self {
        self.at = at;
        self
    }

    /// Adds a violation of the field.
    pub(crate) fn refuse(&mut self, key: &str, message: impl Into<String>) {
        let pointer = self.pointer(key);
        self.violations.push(Violation::new(pointer, message));
    }

    /// Adds a violation of the object itself.
    pub(crate) fn refuse_whole(&mut self, message: impl Into<String>) {
        self.violations.push(Violation::new(self.at.clone(), message));
    }

    /// Adds a violation of an item of the field.
    pub(crate) fn refuse_item(&mut self, key: &str, item: usize, message: impl Into<String>) {
        let pointer = format!("{}/{item}", self.pointer(key));
        self.violations.push(Violation::new(pointer, message));
    }

    /// Adds a violation of the field unless it, or a part of it, has one.
    pub(crate) fn refuse_once(&mut self, key: &str, message: impl Into<String>) {
        if !self.is_refused(key) {
            self.refuse(key, message);
        }
    }

    fn is_refused(&self, key: &str) -> bool {
        let pointer = self.pointer(key);
        let within =
            |other: &str| other.strip_prefix(&pointer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        self.violations.iter().any(|violation| within(&violation.pointer))
    }

    fn pointer(&self, key: &str) -> String {
        format!("{}{}", self.at, pointer(key))
    }

    /// Marks a field as known that is read elsewhere.
    pub(crate) fn know(&mut self, key: &'static str) {
        self.known.push(key);
    }

    /// Whether the field is present and not read yet.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.left.contains_key(key)
    }

    /// The value of the field, unchecked.
    pub(crate) fn take(&mut self, key: &'static str) -> Option<Value> {
        self.know(key);
        self.left.remove(key)
    }

    /// Reads the field if it is `null`; returns whether it was.
    pub(crate) fn take_null(&mut self, key: &'static str) -> bool {
        self.left.get(key).is_some_and(Value::is_null) && self.take(key).is_some()
    }

    pub(crate) fn text(&mut self, key: &'static str) -> Option<String> {
        match self.take(key)? {
            Value::String(text) => Some(text),
            _ => self.type_error(key, "must be a string"),
        }
    }

    /// A string for which `fault` returns no violation.
    pub(crate) fn string_matching(
        &mut self,
        key: &'static str,
        fault: impl FnOnce(&str) -> Option<&'static str>,
    ) -> Option<String> {
        let text = self.text(key)?;
        match fault(&text) {
            None => Some(text),
            Some(fault) => self.type_error(key, fault),
        }
    }

    /// An id of the caller's, for which `fault` returns no violation: a string, or an integer, which is taken as its digits.
    pub(crate) fn external_id(
        &mut self,
        key: &'static str,
        fault: impl FnOnce(&str) -> Option<&'static str>,
    ) -> Option<String> {
        // Integers beyond 64 bits have lost digits by now, and are refused.
        if let Some(digits) = self.left.get(key).and_then(integer_digits) {
            self.left.insert(key.to_owned(), Value::String(digits));
        }
        self.string_matching(key, fault)
    }

    /// A string that `parse` accepts; `expected` is the message if it does not.
    pub(crate) fn parsed<T>(
        &mut self,
        key: &'static str,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let text = self.text(key)?;
        parse(&text).or_else(|| self.type_error(key, expected))
    }

    pub(crate) fn boolean(&mut self, key: &'static str) -> Option<bool> {
        match self.take(key)? {
            Value::Bool(value) => Some(value),
            _ => self.type_error(key, "must be true or false"),
        }
    }

    /// An integer from `min` to `max`.
    pub(crate) fn integer(&mut self, key: &'static str, min: u64, max: u64) -> Option<u64> {
        let value = self.take(key)?;
        whole_number(&value)
            .filter(|number| (min..=max).contains(number))
            .or_else(|| self.type_error(key, integer_form(min, max)))
    }

    pub(crate) fn object(&mut self, key: &'static str) -> Option<Map<String, Value>> {
        match self.take(key)? {
            Value::Object(object) => Some(object),
            _ => self.type_error(key, "must be an object"),
        }
    }

    /// An object that `read` reads; its violations get its pointer. A field that is `null` counts as absent in it.
    pub(crate) fn nested<T>(&mut self, key: &'static str, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        let object = self.object(key)?;
        self.within(self.pointer(key), object, read)
    }

    /// A list of at most `items_max` objects, each read as by [`Self::nested`].
    pub(crate) fn objects<T>(
        &mut self,
        key: &'static str,
        items_max: usize,
        read: impl Fn(&mut Self) -> Option<T>,
    ) -> Option<Vec<T>> {
        let Value::Array(items) = self.take(key)? else { return self.type_error(key, "must be a list of objects") };
        if items.len() > items_max {
            return self.type_error(key, format!("must hold at most {items_max} items"));
        }
        let mut read_items = Vec::with_capacity(items.len());
        for (index, item) in items.into_iter().enumerate() {
            match item {
                Value::Object(object) => {
                    let at = format!("{}/{index}", self.pointer(key));
                    read_items.extend(self.within(at, object, &read));
                }
                _ => self.refuse_item(key, index, "must be an object"),
            }
        }
        Some(read_items)
    }

    fn within<T>(
        &mut self,
        at: String,
        object: Map<String, Value>,
        read: impl FnOnce(&mut Self) -> Option<T>,
    ) -> Option<T> {
        let mut fields = Self::null_as_absent(Object(object)).at(at);
        let value = read(&mut fields);
        self.violations.extend(fields.into_violations());
        value
    }

    /// A list of at most `items_max` strings that `parse` accepts; duplicates are dropped.
    pub(crate) fn words<T: PartialEq>(
        &mut self,
        key: &'static str,
        items_max: usize,
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<Vec<T>> {
        let Value::Array(items) = self.take(key)? else { return self.type_error(key, "must be a list of strings") };
        if items.len() > items_max {
            return self.type_error(key, format!("must hold at most {items_max} items"));
        }
        let mut words = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            match item.as_str().and_then(&parse) {
                Some(word) if words.contains(&word) => {}
                Some(word) => words.push(word),
                None => self.refuse_item(key, index, expected),
            }
        }
        Some(words)
    }

    /// Adds a violation if the field is absent; none if it is there and has a violation already.
    pub(crate) fn required<T>(&mut self, key: &str, read: Option<T>) -> Option<T> {
        if read.is_none() {
            self.refuse_once(key, "is required");
        }
        read
    }

    fn type_error<T>(&mut self, key: &str, message: impl Into<String>) -> Option<T> {
        self.refuse(key, message);
        None
    }

    /// All violations, unknown fields included.
    pub(crate) fn into_violations(mut self) -> Violations {
        let unknown: Vec<_> = std::mem::take(&mut self.left).into_iter().map(|(key, _)| key).collect();
        for key in unknown {
            let known = self.known.join(", ");
            self.refuse(&key, format!("is not a known field; known are: {known}"));
        }
        self.violations
    }

    /// All violations except unknown fields: for formats of other products, which may gain fields.
    pub(crate) fn into_violations_of_known(mut self) -> Violations {
        self.left.clear();
        self.violations
    }

    /// The value that `make` builds, or all violations. `make` may return `None` only if it misses a required field.
    pub(crate) fn finish<T>(self, make: impl FnOnce() -> Option<T>) -> Result<T, Problem> {
        let violations = self.into_violations();
        if !violations.is_empty() {
            return Err(Problem::invalid(violations));
        }
        make().ok_or_else(|| {
            tracing::error!("BUG: a required field is missing without a violation");
            Problem::internal()
        })
    }
}

fn integer_digits(value: &Value) -> Option<String> {
    let number = value.as_number().filter(|number| number.is_u64() || number.is_i64())?;
    Some(number.to_string())
}

/// The number, if it is whole and not negative, however it is written: JSON has one type of number, so that some
/// serialisers write `1842.0` or `1e3`.
pub(crate) fn whole_number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| {
        let number = value.as_f64()?;
        // Every whole number up to this bound is exact as a float.
        let is_whole = number.fract() == 0.0 && (0.0..=INTEGER_MAX as f64).contains(&number);
        is_whole.then_some(number as u64)
    })
}

fn integer_form(min: u64, max: u64) -> String {
    match (min, max) {
        (0, INTEGER_MAX) => "must be a whole number, 0 or more".to_owned(),
        _ => format!("must be a whole number from {min} to {max}"),
    }
}

/// `a, b or c`, for messages.
pub(crate) fn one_of<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let words: Vec<_> = words.into_iter().collect();
    match words.as_slice() {
        [] => "must be absent".to_owned(),
        [only] => format!("must be {only}"),
        [rest @ .., last] => format!("must be {} or {last}", rest.join(", ")),
    }
}

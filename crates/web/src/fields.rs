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

    /// The value of the field, unchecked.
    pub(crate) fn take(&mut self, key: &'static str) -> Option<Value> {
        self.know(key);
        self.left.remove(key)
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

/// `a, b or c`, for messages.
pub(crate) fn one_of<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let words: Vec<_> = words.into_iter().collect();
    match words.as_slice() {
        [] => "must be absent".to_owned(),
        [only] => format!("must be {only}"),
        [rest @ .., last] => format!("must be {} or {last}", rest.join(", ")),
    }
}

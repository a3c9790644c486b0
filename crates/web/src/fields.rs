//! Reading objects field by field, with everything that is wrong in them.

use serde_json::{Map, Value};
use tidings_domain::violation::{Violation, Violations, pointer};

use crate::body::Object;
use crate::problem::Problem;

/// The largest integer that every reader of JSON keeps exactly.
pub(crate) const INTEGER_MAX: u64 = (1 << 53) - 1;

/// An object as it is read, field by field. What is asked for and wrong is noted; so is what is never asked for.
pub(crate) struct Fields {
    left: Map<String, Value>,
    at: String,
    known: Vec<&'static str>,
    violations: Violations,
}

impl Fields {
    /// Begins to read. `null` is a value like any other: wrong where a text is expected.
    pub(crate) fn new(Object(object): Object) -> Self {
        Self { left: object, at: String::new(), known: Vec::new(), violations: Violations::new() }
    }

    /// Begins to read where something is made or asked: `null` says no more than silence.
    pub(crate) fn where_null_is_absent(Object(mut object): Object) -> Self {
        object.retain(|_, value| !value.is_null());
        Self::new(Object(object))
    }

    /// The same for an object that stands at `at` in the body.
    pub(crate) fn at(mut self, at: String) -> Self {
        self.at = at;
        self
    }

    /// Notes what is wrong with the field.
    pub(crate) fn refuse(&mut self, key: &str, message: impl Into<String>) {
        let pointer = self.pointer(key);
        self.violations.push(Violation::new(pointer, message));
    }

    /// Notes what is wrong with the object as a whole.
    pub(crate) fn refuse_whole(&mut self, message: impl Into<String>) {
        self.violations.push(Violation::new(self.at.clone(), message));
    }

    /// Notes what is wrong with an item of the field, or with the field as a whole.
    pub(crate) fn refuse_item(&mut self, key: &str, item: usize, message: impl Into<String>) {
        let pointer = format!("{}/{item}", self.pointer(key));
        self.violations.push(Violation::new(pointer, message));
    }

    /// Notes what is wrong with the field, unless something was already.
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

    /// Names the field as one that is known here, and read elsewhere.
    pub(crate) fn know(&mut self, key: &'static str) {
        self.known.push(key);
    }

    /// Whether the field is there and was not taken yet.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.left.contains_key(key)
    }

    /// The field as it came.
    pub(crate) fn take(&mut self, key: &'static str) -> Option<Value> {
        self.know(key);
        self.left.remove(key)
    }

    /// Takes the field if it is `null`, which is a value in edits; answers whether it was.
    pub(crate) fn take_null(&mut self, key: &'static str) -> bool {
        self.left.get(key).is_some_and(Value::is_null) && self.take(key).is_some()
    }

    /// A text.
    pub(crate) fn text(&mut self, key: &'static str) -> Option<String> {
        match self.take(key)? {
            Value::String(text) => Some(text),
            _ => self.wrong(key, "must be a string"),
        }
    }

    /// A text that `fault` finds nothing wrong with.
    pub(crate) fn text_where(
        &mut self,
        key: &'static str,
        fault: impl FnOnce(&str) -> Option<&'static str>,
    ) -> Option<String> {
        let text = self.text(key)?;
        match fault(&text) {
            None => Some(text),
            Some(fault) => self.wrong(key, fault),
        }
    }

    /// A text that `parse` can read; `expected` says what that is.
    pub(crate) fn parsed<T>(
        &mut self,
        key: &'static str,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let text = self.text(key)?;
        parse(&text).or_else(|| self.wrong(key, expected))
    }

    /// True or false.
    pub(crate) fn boolean(&mut self, key: &'static str) -> Option<bool> {
        match self.take(key)? {
            Value::Bool(value) => Some(value),
            _ => self.wrong(key, "must be true or false"),
        }
    }

    /// An integer within bounds.
    pub(crate) fn integer(&mut self, key: &'static str, min: u64, max: u64) -> Option<u64> {
        let value = self.take(key)?;
        value
            .as_u64()
            .filter(|number| (min..=max).contains(number))
            .or_else(|| self.wrong(key, integer_words(min, max)))
    }

    /// An object.
    pub(crate) fn object(&mut self, key: &'static str) -> Option<Map<String, Value>> {
        match self.take(key)? {
            Value::Object(object) => Some(object),
            _ => self.wrong(key, "must be an object"),
        }
    }

    /// An object that is read field by field; what is wrong in it is noted with its place. `null` says no more than
    /// silence in it.
    pub(crate) fn nested<T>(&mut self, key: &'static str, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        let object = self.object(key)?;
        self.within(self.pointer(key), object, read)
    }

    /// A list of at most `items_max` objects, each of which is read like that.
    pub(crate) fn objects<T>(
        &mut self,
        key: &'static str,
        items_max: usize,
        read: impl Fn(&mut Self) -> Option<T>,
    ) -> Option<Vec<T>> {
        let Value::Array(items) = self.take(key)? else { return self.wrong(key, "must be a list of objects") };
        if items.len() > items_max {
            return self.wrong(key, format!("must hold at most {items_max} items"));
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
        let mut fields = Self::where_null_is_absent(Object(object)).at(at);
        let value = read(&mut fields);
        self.violations.extend(fields.into_violations());
        value
    }

    /// An object that is read over the one that is there: what is not named stays, what is `null` is as if never said.
    pub(crate) fn nested_over<T>(
        &mut self,
        key: &'static str,
        mut before: Map<String, Value>,
        read: impl FnOnce(&mut Self) -> Option<T>,
    ) -> Option<T> {
        before.extend(self.object(key)?);
        self.within(self.pointer(key), before, read)
    }

    /// A list of at most `items_max` different words, each of which `parse` can read.
    pub(crate) fn words<T: PartialEq>(
        &mut self,
        key: &'static str,
        items_max: usize,
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<Vec<T>> {
        let Value::Array(items) = self.take(key)? else { return self.wrong(key, "must be a list of strings") };
        if items.len() > items_max {
            return self.wrong(key, format!("must hold at most {items_max} items"));
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

    /// Notes that the field must be there, unless it was and was wrong.
    pub(crate) fn required<T>(&mut self, key: &str, read: Option<T>) -> Option<T> {
        if read.is_none() {
            self.refuse_once(key, "is required");
        }
        read
    }

    fn wrong<T>(&mut self, key: &str, message: impl Into<String>) -> Option<T> {
        self.refuse(key, message);
        None
    }

    /// Everything that was wrong; what was never asked for is too.
    pub(crate) fn into_violations(mut self) -> Violations {
        let unknown: Vec<_> = std::mem::take(&mut self.left).into_iter().map(|(key, _)| key).collect();
        for key in unknown {
            let known = self.known.join(", ");
            self.refuse(&key, format!("is not a field that this version knows here; it knows {known}"));
        }
        self.violations
    }

    /// Everything that was wrong in what was asked for. What was not is let be: the form is somebody else's, and may gain
    /// fields.
    pub(crate) fn into_violations_of_known(mut self) -> Violations {
        self.left.clear();
        self.violations
    }

    /// Ends reading: what was read, or everything that was wrong. `make` gives `None` only where a field that it needs
    /// was noted as required.
    pub(crate) fn finish<T>(self, make: impl FnOnce() -> Option<T>) -> Result<T, Problem> {
        let violations = self.into_violations();
        if !violations.is_empty() {
            return Err(Problem::invalid(violations));
        }
        make().ok_or_else(|| {
            tracing::error!("a body lacked what nobody had asked for");
            Problem::internal()
        })
    }
}

fn integer_words(min: u64, max: u64) -> String {
    match (min, max) {
        (0, INTEGER_MAX) => "must be a whole number, 0 or more".to_owned(),
        _ => format!("must be a whole number from {min} to {max}"),
    }
}

/// `a, b or c`, for messages.
pub(crate) fn one_of<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let words: Vec<_> = words.into_iter().collect();
    match words.as_slice() {
        [] => "must not be there".to_owned(),
        [only] => format!("must be {only}"),
        [rest @ .., last] => format!("must be {} or {last}", rest.join(", ")),
    }
}

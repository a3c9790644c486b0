//! Reading bodies: bounded in size and time, and objects field by field with everything that is wrong in them.

use std::time::Duration;

use axum::extract::{FromRequest, OptionalFromRequest};
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Body;
use serde_json::{Map, Value};
use tidings_domain::violation::{Violation, Violations};

use crate::auth::App;
use crate::json;
use crate::problem::{Code, Problem};

/// The largest body, in bytes.
pub(crate) const BODY_BYTES_MAX: usize = 1_048_576;
/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// A request's body.
pub(crate) async fn read(request: Request<axum::body::Body>) -> Result<Bytes, Problem> {
    let declared = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|bytes| bytes > BODY_BYTES_MAX) {
        return Err(too_large());
    }
    let collect = Limited::new(request.into_body(), BODY_BYTES_MAX).collect();
    match tokio::time::timeout(BODY_TIMEOUT, collect).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        // Nobody is there any more to read the answer.
        Ok(Err(_)) => Err(Problem::new(Code::RequestTimeout, "the connection broke before the body was complete")),
        Err(_) => Err(Problem::new(
            Code::RequestTimeout,
            format!("the body must arrive within {} seconds", BODY_TIMEOUT.as_secs()),
        )),
    }
}

fn too_large() -> Problem {
    Problem::new(Code::TooLarge, "a body may have at most 1 MiB (1,048,576 bytes)")
}

/// How the body says it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// One JSON value.
    Json,
    /// One JSON value a line.
    Lines,
}

/// How the body is written; where nothing is said it is taken for JSON.
pub(crate) fn form(headers: &HeaderMap) -> Result<Form, Problem> {
    let Some(value) = headers.get(CONTENT_TYPE) else { return Ok(Form::Json) };
    let essence = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        "" | "application/json" | "text/json" => Ok(Form::Json),
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Ok(Form::Lines),
        other if other.ends_with("+json") => Ok(Form::Json),
        _ => Err(Problem::new(
            Code::UnsupportedMediaType,
            "send JSON with Content-Type: application/json (runs also as application/x-ndjson)",
        )),
    }
}

/// A body that is a JSON object.
pub(crate) struct Object(pub Map<String, Value>);

impl FromRequest<App> for Object {
    type Rejection = Problem;

    async fn from_request(request: Request<axum::body::Body>, _: &App) -> Result<Self, Problem> {
        if form(request.headers())? == Form::Lines {
            return Err(Problem::new(
                Code::UnsupportedMediaType,
                "send one JSON object with Content-Type: application/json",
            ));
        }
        let bytes = read(request).await?;
        if bytes.trim_ascii().is_empty() {
            return Err(Problem::invalid_field("", "the body must be a JSON object, and it is empty"));
        }
        match json::read(&bytes)? {
            Value::Object(object) => Ok(Self(object)),
            _ => Err(Problem::invalid_field("", "the body must be a JSON object")),
        }
    }
}

impl OptionalFromRequest<App> for Object {
    type Rejection = Problem;

    async fn from_request(request: Request<axum::body::Body>, app: &App) -> Result<Option<Self>, Problem> {
        if request.body().is_end_stream() {
            Ok(None)
        } else {
            <Self as FromRequest<App>>::from_request(request, app).await.map(Some)
        }
    }
}

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
        format!("{}/{}", self.at, key.replace('~', "~0").replace('/', "~1"))
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

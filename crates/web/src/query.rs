//! Query parameters, read as bodies are: all violations are collected, unknown parameters included.

use axum::extract::FromRequestParts;
use http::request::Parts;
use tidings_app::contract::{self, Input, Request};
use tidings_domain::id::Id;
use tidings_domain::time::Timestamp;
use tidings_domain::violation::{Violation, Violations, pointer};
use tidings_store::history::SearchedUntil;

use crate::auth::AppState;
use crate::openapi::Description;
use crate::operation::Argument;
use crate::page::{LIMIT_DEFAULT, LIMIT_MAX, Page, SearchPage};
use crate::problem::{Code, Problem};

/// Parameters that are parsed; further ones are ignored.
const PARAMETERS_MAX: usize = 50;
const CURSOR_FORM: &str = "must be the nextCursor of the previous page";
/// The longest search text, in bytes.
const TEXT_BYTES_MAX: usize = 200;

/// Reads the query parameters of a request, each at most once.
pub(crate) struct Query {
    left: Vec<(String, String)>,
    known: Vec<&'static str>,
    violations: Violations,
}

impl FromRequestParts<AppState> for Query {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &AppState) -> Result<Self, Problem> {
        Ok(Self::parse(parts.uri.query().unwrap_or_default()))
    }
}

impl Query {
    fn parse(query: &str) -> Self {
        let pairs = url::form_urlencoded::parse(query.as_bytes()).into_owned().take(PARAMETERS_MAX);
        Self { left: pairs.collect(), known: Vec::new(), violations: Violations::new() }
    }

    fn refuse(&mut self, name: &str, message: impl Into<String>) {
        self.violations.push(Violation::new(pointer(name), message));
    }

    /// Accepts `alias` as another name of `name`.
    pub(crate) fn with_alias(mut self, name: &str, alias: &str) -> Self {
        for (key, _) in &mut self.left {
            if key == alias {
                name.clone_into(key);
            }
        }
        self
    }

    /// A parameter as text; a violation if the query holds it more than once.
    pub(crate) fn text(&mut self, name: &'static str) -> Option<String> {
        self.known.push(name);
        let at = self.left.iter().position(|(key, _)| key == name)?;
        let (_, value) = self.left.remove(at);
        if self.left.iter().any(|(key, _)| key == name) {
            self.left.retain(|(key, _)| key != name);
            self.refuse(name, "must not be repeated");
            return None;
        }
        Some(value)
    }

    /// A parameter that `parse` accepts; `expected` is the message if it does not.
    pub(crate) fn parsed<T>(
        &mut self,
        name: &'static str,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let text = self.text(name)?;
        let value = parse(&text);
        if value.is_none() {
            self.refuse(name, expected);
        }
        value
    }

    /// An RFC 3339 timestamp.
    pub(crate) fn instant(&mut self, name: &'static str) -> Option<Timestamp> {
        // The plus sign of an offset arrives as a space if the client did not percent-encode it.
        self.parsed(name, INSTANT_FORM, |text| Timestamp::parse(&text.replace(' ', "+")))
    }

    pub(crate) fn id<T: Id>(&mut self, name: &'static str) -> Option<T> {
        self.parsed(name, &format!("must be an id of the form {}<32 hex digits>", T::PREFIX), |text| text.parse().ok())
    }

    /// A search text; an empty one is none.
    pub(crate) fn search(&mut self, name: &'static str) -> Option<String> {
        let expected = format!("must be at most {TEXT_BYTES_MAX} bytes");
        let text = self.parsed(name, &expected, |text| (text.len() <= TEXT_BYTES_MAX).then(|| text.to_owned()))?;
        Some(text).filter(|text| !text.is_empty())
    }

    /// `limit` and `cursor`.
    pub(crate) fn page<T: Id>(&mut self) -> Page<T> {
        let limit = self.limit();
        let before = self.parsed("cursor", CURSOR_FORM, |text| text.parse().ok());
        Page { before, limit }
    }

    /// `limit` and `cursor` of a list whose search may end early.
    pub(crate) fn search_page<T: Id>(&mut self) -> SearchPage<T> {
        let limit = self.limit();
        let cursor = self.parsed("cursor", CURSOR_FORM, |text| {
            let until = text.parse::<SearchedUntil>().ok();
            let before = text.parse::<T>().ok();
            (until.is_some() || before.is_some()).then_some((before, until))
        });
        let (before, searched_until) = cursor.unwrap_or_default();
        SearchPage { before, searched_until, limit }
    }

    fn limit(&mut self) -> u32 {
        let expected = format!("must be a number from 1 to {LIMIT_MAX}");
        let in_bounds = |text: &str| text.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
        self.parsed("limit", &expected, in_bounds).unwrap_or(LIMIT_DEFAULT)
    }

    /// Adds a violation if the parameter is absent; none if it is there and has a violation already.
    pub(crate) fn required<T>(&mut self, name: &str, read: Option<T>) -> Option<T> {
        let pointer = format!("/{name}");
        if read.is_none() && !self.violations.iter().any(|violation| violation.pointer == pointer) {
            self.refuse(name, "is required in the query");
        }
        read
    }

    /// The value that `make` builds, or all violations. `make` may return `None` only if it misses a required parameter.
    pub(crate) fn finish<T>(mut self, make: impl FnOnce() -> Option<T>) -> Result<T, Problem> {
        let known = if self.known.is_empty() { "none".to_owned() } else { self.known.join(", ") };
        for (name, _) in std::mem::take(&mut self.left) {
            self.refuse(&name, format!("is not a query parameter of this route; known are: {known}"));
        }
        if !self.violations.is_empty() {
            return Err(Problem::invalid(self.violations));
        }
        make().ok_or_else(|| {
            tracing::error!("BUG: a required query parameter is missing without a violation");
            Problem::internal()
        })
    }
}

impl Argument for Query {
    const READS_QUERY: bool = true;

    fn describe(_: &mut Description) {}
}

/// The query parameters of a route, read as the fields of `T`.
pub(crate) struct Parameters<T>(pub T);

impl<T: Request> FromRequestParts<AppState> for Parameters<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &AppState) -> Result<Self, Problem> {
        let pairs = url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()).into_owned();
        let read = contract::read_query::<T>(pairs).and_then(Input::finish);
        read.map(Self).map_err(Problem::invalid)
    }
}

impl<T: Request> Argument for Parameters<T> {
    const READS_QUERY: bool = true;

    fn describe(description: &mut Description) {
        description.query_parameters::<T>();
        description.problems([Code::Invalid]);
    }
}

/// The expected form of a timestamp, for messages.
pub(crate) const INSTANT_FORM: &str = "must be an RFC 3339 timestamp, such as 2026-05-02T04:00:12.345Z";

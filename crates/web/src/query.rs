//! Query parameters, read like bodies: what is wrong is noted by name, and so is what is not known.

use axum::extract::FromRequestParts;
use http::request::Parts;
use tidings_domain::id::Id;
use tidings_domain::time::Timestamp;
use tidings_domain::violation::{Violation, Violations, pointer};

use crate::auth::App;
use crate::page::{LIMIT_DEFAULT, LIMIT_MAX, Page};
use crate::problem::Problem;

/// The most parameters that are looked at.
const PARAMETERS_MAX: usize = 50;
/// The longest text that is searched for, in bytes.
const TEXT_BYTES_MAX: usize = 200;

/// A request's query parameters as they are read.
pub(crate) struct Query {
    left: Vec<(String, String)>,
    known: Vec<&'static str>,
    violations: Violations,
}

impl FromRequestParts<App> for Query {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Problem> {
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

    /// Takes `other` for another spelling of `name`.
    pub(crate) fn spelled_also(mut self, name: &str, other: &str) -> Self {
        for (key, _) in &mut self.left {
            if key == other {
                name.clone_into(key);
            }
        }
        self
    }

    /// A parameter as it came. It may stand once.
    pub(crate) fn text(&mut self, name: &'static str) -> Option<String> {
        self.known.push(name);
        let at = self.left.iter().position(|(key, _)| key == name)?;
        let (_, value) = self.left.remove(at);
        if self.left.iter().any(|(key, _)| key == name) {
            self.left.retain(|(key, _)| key != name);
            self.refuse(name, "must stand once in the query");
            return None;
        }
        Some(value)
    }

    /// A parameter that `parse` can read; `expected` says what that is.
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

    /// An instant.
    pub(crate) fn instant(&mut self, name: &'static str) -> Option<Timestamp> {
        // A plus sign of an offset that was not percent-encoded arrives as a space.
        self.parsed(name, INSTANT_FORM, |text| Timestamp::parse(&text.replace(' ', "+")))
    }

    /// An id.
    pub(crate) fn id<T: Id>(&mut self, name: &'static str) -> Option<T> {
        self.parsed(name, &format!("must be an id of the form {}<32 hex digits>", T::PREFIX), |text| text.parse().ok())
    }

    /// A text to search for.
    pub(crate) fn search(&mut self, name: &'static str) -> Option<String> {
        let expected = format!("must be at most {TEXT_BYTES_MAX} bytes");
        let text = self.parsed(name, &expected, |text| (text.len() <= TEXT_BYTES_MAX).then(|| text.to_owned()))?;
        Some(text).filter(|text| !text.is_empty())
    }

    /// A switch.
    pub(crate) fn flag(&mut self, name: &'static str) -> bool {
        let read = self.parsed(name, "must be true or false", |text| match text {
            "true" | "1" | "" => Some(true),
            "false" | "0" => Some(false),
            _ => None,
        });
        read.unwrap_or(false)
    }

    /// Which part of a list is wanted.
    pub(crate) fn page<T: Id>(&mut self) -> Page<T> {
        let expected = format!("must be a number from 1 to {LIMIT_MAX}");
        let in_bounds = |text: &str| text.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
        let limit = self.parsed("limit", &expected, in_bounds).unwrap_or(LIMIT_DEFAULT);
        let before = self.parsed("cursor", "must be the nextCursor of the page before", |text| text.parse().ok());
        Page { before, limit }
    }

    /// Notes that the parameter must be there, unless it was and was wrong.
    pub(crate) fn required<T>(&mut self, name: &str, read: Option<T>) -> Option<T> {
        let pointer = format!("/{name}");
        if read.is_none() && !self.violations.iter().any(|violation| violation.pointer == pointer) {
            self.refuse(name, "is required in the query");
        }
        read
    }

    /// Ends reading: what was read, or everything that was wrong, as with bodies.
    pub(crate) fn finish<T>(mut self, make: impl FnOnce() -> Option<T>) -> Result<T, Problem> {
        let known = if self.known.is_empty() { "none".to_owned() } else { self.known.join(", ") };
        for (name, _) in std::mem::take(&mut self.left) {
            self.refuse(&name, format!("is not a query parameter here; there are {known}"));
        }
        if !self.violations.is_empty() {
            return Err(Problem::invalid(self.violations));
        }
        make().ok_or_else(|| {
            tracing::error!("a query lacked what nobody had asked for");
            Problem::internal()
        })
    }
}

/// What an instant must look like, for messages.
pub(crate) const INSTANT_FORM: &str = "must be an instant as RFC 3339, such as 2026-05-02T04:00:12.345Z";

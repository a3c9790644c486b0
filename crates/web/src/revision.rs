//! Optimistic concurrency over HTTP: `ETag` holds the revision of a resource, `If-Match` the one that an edit expects.

use axum::extract::FromRequestParts;
use axum::response::Response;
use http::header::{ETAG, IF_MATCH};
use http::request::Parts;
use http::{HeaderMap, HeaderValue};
use tidings_app::Expected;

use crate::auth::AppState;
use crate::openapi::Description;
use crate::operation::Argument;
use crate::problem::{Code, Problem};

/// The revisions that the request expects.
pub(crate) struct IfMatch(pub Expected);

impl Argument for IfMatch {
    fn describe(description: &mut Description) {
        description.header("If-Match", "ETags of the revisions that the caller has seen, or `*`.");
        description.problems([Code::InvalidIfMatch, Code::RevisionMismatch]);
    }
}

impl FromRequestParts<AppState> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &AppState) -> Result<Self, Problem> {
        expected(&parts.headers).map(Self)
    }
}

/// Reads all tags of all `If-Match` headers. Weak ones count: proxies that compress responses turn strong tags into weak
/// ones, and the revision is the same.
fn expected(headers: &HeaderMap) -> Result<Expected, Problem> {
    if !headers.contains_key(IF_MATCH) {
        return Ok(Expected::Any);
    }
    let mut revisions = Vec::new();
    for value in headers.get_all(IF_MATCH) {
        let mut rest = value.to_str().map_err(|_| unknown())?.trim();
        if rest == "*" {
            return Ok(Expected::Any);
        }
        while !rest.is_empty() {
            let tag = rest.strip_prefix("W/").unwrap_or(rest).strip_prefix('"').ok_or_else(unknown)?;
            let (tag, after) = tag.split_once('"').ok_or_else(unknown)?;
            // A tag of another service names no revision, and matches nothing.
            revisions.extend(tag.parse::<u32>().ok());
            let after = after.trim_start();
            // Empty items of a list are ignored (RFC 9110, section 5.6.1).
            rest = after.trim_start_matches([',', ' ', '\t']);
            if !rest.is_empty() && !after.starts_with(',') {
                return Err(unknown());
            }
        }
    }
    if revisions.is_empty() { Err(unknown()) } else { Ok(Expected::OneOf(revisions)) }
}

fn unknown() -> Problem {
    Problem::new(Code::InvalidIfMatch, "If-Match must be * or ETags of responses, such as \"3\"")
}

/// Sets the `ETag` of this revision.
pub(crate) fn with_etag(mut response: Response, revision: u32) -> Response {
    // A number in quotes is always a valid header value.
    if let Ok(tag) = HeaderValue::try_from(format!("\"{revision}\"")) {
        response.headers_mut().insert(ETAG, tag);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &'static str) -> Result<Expected, Code> {
        let headers = HeaderMap::from_iter([(IF_MATCH, HeaderValue::from_static(value))]);
        expected(&headers).map_err(|problem| problem.code())
    }

    #[test]
    fn if_match_accepts_tags_lists_and_star() {
        for (value, revisions) in [
            ("\"3\"", vec![3]),
            ("W/\"3\"", vec![3]),
            ("\"1\", W/\"2\",\"3\"", vec![1, 2, 3]),
            ("\"1\" ,, \"2\" ,", vec![1, 2]),
            ("\"of, another\", \"2\"", vec![2]),
        ] {
            assert_eq!(read(value), Ok(Expected::OneOf(revisions)), "{value}");
        }
        assert_eq!(read("*"), Ok(Expected::Any));
        for wrong in ["3", "\"x\"", "", "\"1", "\"1\" \"2\"", "1, 2", "\"1\", *", "w/\"1\""] {
            assert_eq!(read(wrong), Err(Code::InvalidIfMatch), "{wrong}");
        }
        assert_eq!(expected(&HeaderMap::new()).ok(), Some(Expected::Any));
        let mut two = HeaderMap::from_iter([(IF_MATCH, HeaderValue::from_static("\"1\""))]);
        two.append(IF_MATCH, HeaderValue::from_static("\"2\""));
        assert_eq!(expected(&two).ok(), Some(Expected::OneOf(vec![1, 2])), "several headers are one list");
    }
}

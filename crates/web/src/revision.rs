//! Optimistic concurrency over HTTP: `ETag` holds the revision of a resource, `If-Match` the one that an edit expects.

use axum::extract::FromRequestParts;
use axum::response::Response;
use http::header::{ETAG, IF_MATCH};
use http::request::Parts;
use http::{HeaderMap, HeaderValue};

use crate::auth::AppState;
use crate::problem::{Code, Problem};

/// The revision that the request expects. None: without `If-Match`, or with `*`.
pub(crate) struct IfMatch(pub Option<u32>);

impl FromRequestParts<AppState> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &AppState) -> Result<Self, Problem> {
        expected_revision(&parts.headers).map(Self)
    }
}

fn expected_revision(headers: &HeaderMap) -> Result<Option<u32>, Problem> {
    let mut values = headers.get_all(IF_MATCH).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return if headers.contains_key(IF_MATCH) { Err(unknown()) } else { Ok(None) };
    };
    let tag = value.to_str().unwrap_or_default().trim();
    if tag == "*" {
        return Ok(None);
    }
    // Proxies that compress responses turn strong tags into weak ones; the revision is the same.
    let tag = tag.strip_prefix("W/").unwrap_or(tag);
    let revision = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')).and_then(|tag| tag.parse().ok());
    revision.map(Some).ok_or_else(unknown)
}

fn unknown() -> Problem {
    Problem::new(Code::InvalidIfMatch, "If-Match must be * or the ETag of a response, such as \"3\"")
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

    #[test]
    fn if_match_accepts_strong_and_weak_tags_and_star() {
        let read = |value: &'static str| {
            let headers = HeaderMap::from_iter([(IF_MATCH, HeaderValue::from_static(value))]);
            expected_revision(&headers).map_err(|problem| problem.code())
        };
        assert_eq!(read("\"3\""), Ok(Some(3)));
        assert_eq!(read("W/\"3\""), Ok(Some(3)));
        assert_eq!(read("*"), Ok(None));
        for wrong in ["3", "\"x\"", "\"1\", \"2\"", ""] {
            assert_eq!(read(wrong), Err(Code::InvalidIfMatch), "{wrong}");
        }
        assert!(matches!(expected_revision(&HeaderMap::new()), Ok(None)));
    }
}

//! Revisions over HTTP: `ETag` says which one this is, `If-Match` which one the caller has seen.

use axum::extract::FromRequestParts;
use axum::response::Response;
use http::header::{ETAG, IF_MATCH};
use http::request::Parts;
use http::{HeaderMap, HeaderValue};

use crate::auth::App;
use crate::problem::{Code, Problem};

/// The revision that the caller has seen, if it says so.
pub(crate) struct IfMatch(pub Option<u32>);

impl FromRequestParts<App> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Problem> {
        seen(&parts.headers).map(Self)
    }
}

fn seen(headers: &HeaderMap) -> Result<Option<u32>, Problem> {
    let mut values = headers.get_all(IF_MATCH).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return if headers.contains_key(IF_MATCH) { Err(unknown()) } else { Ok(None) };
    };
    let tag = value.to_str().unwrap_or_default().trim();
    if tag == "*" {
        return Ok(None);
    }
    // Proxies that compress make our strong tags weak; they name the same revision.
    let tag = tag.strip_prefix("W/").unwrap_or(tag);
    let revision = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')).and_then(|tag| tag.parse().ok());
    revision.map(Some).ok_or_else(unknown)
}

fn unknown() -> Problem {
    Problem::new(Code::InvalidIfMatch, "If-Match must be * or one ETag as it was given here, such as \"3\"")
}

/// Says which revision the answer shows.
pub(crate) fn tagged(mut response: Response, revision: u32) -> Response {
    // A number in quotes is a header value.
    if let Ok(tag) = HeaderValue::try_from(format!("\"{revision}\"")) {
        response.headers_mut().insert(ETAG, tag);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_read_as_it_was_given() {
        let read = |value: &'static str| {
            let headers = HeaderMap::from_iter([(IF_MATCH, HeaderValue::from_static(value))]);
            seen(&headers).map_err(|problem| problem.code())
        };
        assert_eq!(read("\"3\""), Ok(Some(3)));
        assert_eq!(read("W/\"3\""), Ok(Some(3)));
        assert_eq!(read("*"), Ok(None));
        for wrong in ["3", "\"x\"", "\"1\", \"2\"", ""] {
            assert_eq!(read(wrong), Err(Code::InvalidIfMatch), "{wrong}");
        }
        assert!(matches!(seen(&HeaderMap::new()), Ok(None)));
    }
}

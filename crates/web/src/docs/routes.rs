//! The routes of the description and its pages. They need no credentials: they say nothing that the program's source does not.

use std::sync::LazyLock;

use axum::Router;
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::response::{IntoResponse, Response};
use axum::routing::MethodFilter;
use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use maud::Markup;
use sha2::{Digest as _, Sha256};

use super::{Description, STYLE};
use crate::api;
use crate::auth::AppState;
use crate::instrument::instrumented;

/// Nothing from elsewhere, no script, no frame around it; forms go to this server only.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
);
/// The longest search, in bytes.
const SEARCH_BYTES_MAX: usize = 200;

/// A file that is the same as long as this program runs.
struct File {
    content_type: HeaderValue,
    etag: HeaderValue,
    bytes: Bytes,
}

impl File {
    fn new(content_type: &'static str, bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let digest: String = Sha256::digest(&bytes).iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        let etag = HeaderValue::try_from(format!("\"{digest}\"")).unwrap_or(HeaderValue::from_static("\"0\""));
        Self { content_type: HeaderValue::from_static(content_type), etag, bytes }
    }

    fn response(&self, request: &HeaderMap) -> Response {
        let known = request.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
        let etag = self.etag.to_str().unwrap_or_default();
        let is_known = known.flat_map(|list| list.split(',')).any(|tag| tag.trim().trim_start_matches("W/") == etag);
        let headers = [(ETAG, self.etag.clone()), (CACHE_CONTROL, HeaderValue::from_static("no-cache"))];
        if is_known {
            return (StatusCode::NOT_MODIFIED, headers).into_response();
        }
        let content_type = [(CONTENT_TYPE, self.content_type.clone()), nosniff()];
        (headers, content_type, self.bytes.clone()).into_response()
    }
}

fn nosniff() -> (http::HeaderName, HeaderValue) {
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"))
}

static DOCUMENT: LazyLock<File> = LazyLock::new(|| File::new("application/json", api::description_text()));
static STYLE_FILE: LazyLock<File> = LazyLock::new(|| File::new("text/css; charset=utf-8", STYLE));
static DESCRIPTION: LazyLock<Description> = LazyLock::new(|| Description::new(api::description()));

fn page(status: StatusCode, page: Markup) -> Response {
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (CONTENT_SECURITY_POLICY, POLICY),
        (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        nosniff(),
    ];
    (status, headers, page.into_string()).into_response()
}

fn page_or_missing(found: Option<Markup>) -> Response {
    match found {
        Some(found) => page(StatusCode::OK, found),
        None => page(StatusCode::NOT_FOUND, DESCRIPTION.missing()),
    }
}

/// `GET /api/openapi.json`.
async fn document(headers: HeaderMap) -> Response {
    DOCUMENT.response(&headers)
}

async fn style(headers: HeaderMap) -> Response {
    STYLE_FILE.response(&headers)
}

async fn index(uri: Uri) -> Response {
    let mut pairs = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    let search = pairs.find(|(key, _)| key == "q").map(|(_, value)| value.trim().to_owned());
    page(StatusCode::OK, DESCRIPTION.index(&search.filter(|it| it.len() <= SEARCH_BYTES_MAX).unwrap_or_default()))
}

async fn operation(id: Result<Path<String>, PathRejection>) -> Response {
    page_or_missing(id.ok().and_then(|Path(id)| DESCRIPTION.operation(&id)))
}

async fn schema(name: Result<Path<String>, PathRejection>) -> Response {
    page_or_missing(name.ok().and_then(|Path(name)| DESCRIPTION.named_schema(&name)))
}

/// The routes.
pub(crate) fn router() -> Router<AppState> {
    Router::new()
        .route("/api/openapi.json", instrumented(MethodFilter::GET, document))
        .route("/docs", instrumented(MethodFilter::GET, index))
        .route("/docs/", instrumented(MethodFilter::GET, index))
        .route("/docs/style.css", instrumented(MethodFilter::GET, style))
        .route("/docs/operations/{id}", instrumented(MethodFilter::GET, operation))
        .route("/docs/schemas/{name}", instrumented(MethodFilter::GET, schema))
}

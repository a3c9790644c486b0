//! Query parameters, read as bodies are: all violations are collected, unknown parameters included.

use axum::extract::FromRequestParts;
use http::request::Parts;
use tidings_app::contract::{self, Input, Request};

use crate::auth::AppState;
use crate::openapi::Description;
use crate::operation::Argument;
use crate::problem::{Code, Problem};

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

/// The same with what is wrong with them so far, for operations that find more.
pub(crate) struct ParametersInput<T>(pub Input<T>);

impl<T: Request> FromRequestParts<AppState> for ParametersInput<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &AppState) -> Result<Self, Problem> {
        let pairs = url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()).into_owned();
        contract::read_query::<T>(pairs).map(Self).map_err(Problem::invalid)
    }
}

impl<T: Request> Argument for ParametersInput<T> {
    const READS_QUERY: bool = true;

    fn describe(description: &mut Description) {
        Parameters::<T>::describe(description);
    }
}

impl<T: Request> Argument for Parameters<T> {
    const READS_QUERY: bool = true;

    fn describe(description: &mut Description) {
        description.query_parameters::<T>();
        description.problems([Code::Invalid]);
    }
}

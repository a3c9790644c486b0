//! Operations over HTTP: what a handler reads of a request and answers, known from the types of its arguments and result.
//!
//! From these types follow the OpenAPI description ([`crate::openapi`]) and the refusal of what no argument reads: a query
//! or a body that would be ignored is an error of the caller.

use std::future::Future;
use std::pin::Pin;

use axum::body::Body as HttpBody;
use axum::extract::Request;
use axum::handler::Handler;
use axum::response::{IntoResponse, Response};
use hyper::body::Body as _;
use tidings_domain::violation::{Violation, pointer};

use crate::auth::AppState;
use crate::body::read_ignored;
use crate::openapi::Description;
use crate::problem::{Code, Problem};

/// An argument of a handler.
pub(crate) trait Argument {
    /// Whether it reads the query.
    const READS_QUERY: bool = false;
    /// Whether it reads the body.
    const READS_BODY: bool = false;

    /// Adds to the description of the operation.
    fn describe(description: &mut Description);
}

/// The result of a handler.
pub(crate) trait Answer {
    /// Adds to the description of the operation.
    fn describe(description: &mut Description);
}

impl<T: Answer> Answer for Result<T, Problem> {
    fn describe(description: &mut Description) {
        T::describe(description);
    }
}

/// A handler whose arguments and result are described.
pub(crate) trait Operation<Arguments> {
    /// What it reads of a request.
    const READS: Reads;

    /// Describes it.
    fn describe(description: &mut Description);
}

/// Which parts of a request an operation reads.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reads {
    query: bool,
    body: bool,
}

macro_rules! operations {
    ($($argument:ident),*) => {
        impl<F, R, Fut, $($argument),*> Operation<($($argument,)*)> for F
        where
            F: Fn($($argument),*) -> Fut,
            Fut: Future<Output = R>,
            R: Answer,
            $($argument: Argument,)*
        {
            const READS: Reads = Reads {
                query: false $(|| $argument::READS_QUERY)*,
                body: false $(|| $argument::READS_BODY)*,
            };

            fn describe(description: &mut Description) {
                $($argument::describe(description);)*
                R::describe(description);
            }
        }
    };
}

operations!();
operations!(A);
operations!(A, B);
operations!(A, B, C);
operations!(A, B, C, D);
operations!(A, B, C, D, E);

/// A handler that refuses requests with a query or a body that it does not read.
#[derive(Clone)]
pub(crate) struct Strict<H> {
    pub handler: H,
    pub reads: Reads,
}

type Responding = Pin<Box<dyn Future<Output = Response> + Send>>;

impl<H: Handler<T, AppState, Future = Responding>, T> Handler<T, AppState> for Strict<H> {
    type Future = Responding;

    fn call(self, request: Request, state: AppState) -> Responding {
        let query = request.uri().query().unwrap_or_default();
        if !self.reads.query && !query.is_empty() {
            let refused = unread_query(query).into_response();
            return Box::pin(async { refused });
        }
        if self.reads.body || request.body().is_end_stream() {
            return self.handler.call(request, state);
        }
        Box::pin(async {
            let (parts, body) = request.into_parts();
            match read_ignored(body).await {
                Ok(()) => self.handler.call(Request::from_parts(parts, HttpBody::empty()), state).await,
                Err(problem) => problem.into_response(),
            }
        })
    }
}

fn unread_query(query: &str) -> Problem {
    let mut violations: Vec<Violation> = Vec::new();
    for (name, _) in url::form_urlencoded::parse(query.as_bytes()) {
        let at = pointer(&name);
        if violations.iter().all(|violation| violation.pointer != at) {
            violations.push(Violation::new(at, "is not a query parameter of this route; known are: none"));
        }
    }
    if violations.is_empty() {
        return Problem::new(Code::Invalid, "this route has no query parameters");
    }
    Problem::invalid(violations)
}

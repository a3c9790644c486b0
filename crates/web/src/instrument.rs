//! Wrappers around handlers: request ids, request metrics, a response to panics, and writes that survive a disconnect.

use std::cell::RefCell;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::extract::{MatchedPath, Request};
use axum::handler::Handler;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use http::{HeaderValue, Method, StatusCode};
use metrics::{Counter, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, histogram};
use tokio::time::Instant;
use tracing::{Instrument as _, Span, error_span};

use crate::problem::{Code, Problem};
use crate::request_id::{RequestId, X_REQUEST_ID, request_id};

pub(crate) const CONNECTIONS: &str = "tidings_http_connections";
const REQUESTS: &str = "tidings_http_requests_total";
const DURATION: &str = "tidings_http_request_duration_seconds";

/// Registers the help texts of the metrics.
pub(crate) fn describe_metrics() {
    describe_counter!(REQUESTS, Unit::Count, "Requests answered, by route, method and status code.");
    describe_histogram!(
        DURATION,
        Unit::Seconds,
        "Time from a request's headers until its response is ready, by route."
    );
    describe_gauge!(CONNECTIONS, Unit::Count, "Open client connections.");
}

/// The metric handles of one route, method and status.
struct Series {
    method: &'static str,
    status: u16,
    requests: Counter,
    durations: Histogram,
}

thread_local! {
    /// The handles by route, cached in each thread: looking one up by its labels costs more than the increment.
    static SERIES: RefCell<HashMap<String, Vec<Series>>> = RefCell::default();
}

/// A route for the method, with the handler instrumented.
pub(crate) fn instrumented<H, T, S>(filter: MethodFilter, handler: H) -> MethodRouter<S>
where
    H: Handler<T, S, Future: Unpin>,
    T: 'static,
    S: Clone + Send + Sync + 'static,
{
    on(filter, Instrumented(handler))
}

/// A handler that is counted and timed, has a request id in its answer and its log lines, and answers 500 if it panics. It wraps the handler itself: a layer around the
/// route would cost each request a clone of the route and a boxed future.
#[derive(Clone)]
pub(crate) struct Instrumented<H>(pub H);

impl<H: Handler<T, S, Future: Unpin>, T, S> Handler<T, S> for Instrumented<H> {
    type Future = InstrumentedFuture<H::Future>;

    fn call(self, mut request: Request, state: S) -> Self::Future {
        let id = request_id(request.headers());
        request.extensions_mut().insert(RequestId(id.clone()));
        // Of the highest level, so that no log filter removes it from the lines that it lets through.
        let span = error_span!("request", id = id.to_str().unwrap_or_default());
        InstrumentedFuture {
            path: request.extensions().get::<MatchedPath>().cloned(),
            method: method_label(request.method()),
            began: Instant::now(),
            // In the span, for handlers that spawn a task.
            running: span.in_scope(|| self.0.call(request, state)),
            id,
            span,
        }
    }
}

/// The future of an [`Instrumented`] handler.
pub(crate) struct InstrumentedFuture<F> {
    path: Option<MatchedPath>,
    method: &'static str,
    began: Instant,
    running: F,
    id: HeaderValue,
    span: Span,
}

impl<F: Future<Output = Response> + Unpin> Future for InstrumentedFuture<F> {
    type Output = Response;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Response> {
        let Self { path, method, began, running, id, span } = &mut *self;
        let _entered = span.enter();
        let route = path.as_ref().map_or("none", MatchedPath::as_str);
        let mut response = match catch_unwind(AssertUnwindSafe(|| Pin::new(running).poll(context))) {
            Ok(polled) => ready!(polled),
            // Unwind safe: with this response the future completes, so that the broken one is not polled again.
            Err(_) => {
                tracing::error!(%route, method, "handler panicked");
                Problem::internal().into_response()
            }
        };
        if response.status() == StatusCode::INTERNAL_SERVER_ERROR {
            // The problem is the same for all, so that it can be made anew, with the id by which the log is searched.
            response = Problem::internal().with_request_id(id).into_response();
        }
        response.headers_mut().insert(X_REQUEST_ID, id.clone());
        count(route, method, response.status().as_u16(), began.elapsed().as_secs_f64());
        Poll::Ready(response)
    }
}

fn count(route: &str, method: &'static str, status: u16, seconds: f64) {
    SERIES.with_borrow_mut(|cache| {
        // `entry` needs an owned key; only the first request of a route in this thread allocates one.
        let of_route = match cache.get_mut(route) {
            Some(of_route) => of_route,
            None => cache.entry(route.to_owned()).or_default(),
        };
        let index = of_route.iter().position(|series| series.status == status && series.method == method);
        let index = index.unwrap_or_else(|| {
            let labels = [("route", route.to_owned()), ("method", method.to_owned()), ("status", status.to_string())];
            let durations = histogram!(DURATION, "route" => route.to_owned());
            of_route.push(Series { method, status, requests: counter!(REQUESTS, &labels), durations });
            of_route.len() - 1
        });
        of_route[index].requests.increment(1);
        of_route[index].durations.record(seconds);
    });
}

/// A handler that runs on a task of its own, to its end even if the client disconnects. A future that is dropped between
/// the write to the store and the update of the engine's memory would leave the two different.
#[derive(Clone)]
pub(crate) struct RunToCompletion<H>(pub H);

impl<H: Handler<T, S>, T, S> Handler<T, S> for RunToCompletion<H> {
    type Future = Pin<Box<dyn Future<Output = Response> + Send>>;

    fn call(self, request: Request, state: S) -> Self::Future {
        let running = tokio::spawn(self.0.call(request, state).instrument(Span::current()));
        Box::pin(async {
            match running.await {
                Ok(response) => response,
                Err(error) => match error.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    Err(_) => Problem::new(Code::Unavailable, "this node is shutting down").into_response(),
                },
            }
        })
    }
}

/// The method as a label. Unknown ones share a label, so that clients cannot create time series.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

#[cfg(test)]
mod tests;

//! What stands around every handler: it is counted and timed, and if it panics the caller still gets an answer.

use std::cell::RefCell;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::extract::{MatchedPath, Request};
use axum::handler::Handler;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use http::Method;
use metrics::{Counter, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, histogram};
use tokio::time::Instant;

use crate::problem::{Code, Problem};

/// How many connections are open.
pub(crate) const CONNECTIONS: &str = "tidings_http_connections";
const REQUESTS: &str = "tidings_http_requests_total";
const DURATION: &str = "tidings_http_request_duration_seconds";

/// Says what each series means.
pub(crate) fn describe() {
    describe_counter!(REQUESTS, Unit::Count, "Requests answered, by route, method and status code.");
    describe_histogram!(DURATION, Unit::Seconds, "How long requests took until their answer was ready, by route.");
    describe_gauge!(CONNECTIONS, Unit::Count, "Connections of clients that are open.");
}

/// The series of one route, method and status.
struct Series {
    method: &'static str,
    status: u16,
    requests: Counter,
    durations: Histogram,
}

thread_local! {
    /// The series by route, each looked up once on each thread: finding one by its labels costs more than counting.
    static SERIES: RefCell<HashMap<String, Vec<Series>>> = RefCell::default();
}

/// The handler for a method, observed.
pub(crate) fn observed<H, T, S>(filter: MethodFilter, handler: H) -> MethodRouter<S>
where
    H: Handler<T, S, Future: Unpin>,
    T: 'static,
    S: Clone + Send + Sync + 'static,
{
    on(filter, Observed(handler))
}

/// A handler that is counted and timed, and answered for if it panics. It wraps the handler itself: a layer around its
/// route would cost each request a copy of the route and a future on the heap.
#[derive(Clone)]
pub(crate) struct Observed<H>(pub H);

impl<H: Handler<T, S, Future: Unpin>, T, S> Handler<T, S> for Observed<H> {
    type Future = Observing<H::Future>;

    fn call(self, request: Request, state: S) -> Self::Future {
        Observing {
            path: request.extensions().get::<MatchedPath>().cloned(),
            method: word(request.method()),
            began: Instant::now(),
            running: self.0.call(request, state),
        }
    }
}

/// A handler that runs.
pub(crate) struct Observing<F> {
    path: Option<MatchedPath>,
    method: &'static str,
    began: Instant,
    running: F,
}

impl<F: Future<Output = Response> + Unpin> Future for Observing<F> {
    type Output = Response;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Response> {
        let Self { path, method, began, running } = &mut *self;
        let route = path.as_ref().map_or("none", MatchedPath::as_str);
        let response = match catch_unwind(AssertUnwindSafe(|| Pin::new(running).poll(context))) {
            Ok(polled) => ready!(polled),
            Err(_) => {
                tracing::error!(%route, method, "a handler panicked");
                Problem::internal().into_response()
            }
        };
        count(route, method, response.status().as_u16(), began.elapsed().as_secs_f64());
        Poll::Ready(response)
    }
}

fn count(route: &str, method: &'static str, status: u16, seconds: f64) {
    SERIES.with_borrow_mut(|known| {
        let of_route = match known.get_mut(route) {
            Some(of_route) => of_route,
            None => known.entry(route.to_owned()).or_default(),
        };
        let place = of_route.iter().position(|series| series.status == status && series.method == method);
        let place = place.unwrap_or_else(|| {
            let labels = [("route", route.to_owned()), ("method", method.to_owned()), ("status", status.to_string())];
            let durations = histogram!(DURATION, "route" => route.to_owned());
            of_route.push(Series { method, status, requests: counter!(REQUESTS, &labels), durations });
            of_route.len() - 1
        });
        of_route[place].requests.increment(1);
        of_route[place].durations.record(seconds);
    });
}

/// A handler that is carried through to its end even if the caller hangs up: what was begun in the store must also be
/// seen by everybody.
#[derive(Clone)]
pub(crate) struct Carried<H>(pub H);

impl<H: Handler<T, S>, T, S> Handler<T, S> for Carried<H> {
    type Future = Pin<Box<dyn Future<Output = Response> + Send>>;

    fn call(self, request: Request, state: S) -> Self::Future {
        let running = tokio::spawn(self.0.call(request, state));
        Box::pin(async {
            match running.await {
                Ok(response) => response,
                Err(error) => match error.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    Err(_) => Problem::new(Code::Unavailable, "this node is about to stop").into_response(),
                },
            }
        })
    }
}

/// The method as a label: what callers make up must not make series.
fn word(method: &Method) -> &'static str {
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
mod tests {
    use std::sync::Arc;

    use axum::Router;
    use axum::body::Body;
    use axum::routing::post;
    use http::StatusCode;
    use hyper::service::Service;
    use hyper_util::service::TowerToHyperService;
    use tokio::sync::oneshot;

    use super::*;

    fn ask(method: &str) -> Request {
        Request::builder().method(method).uri("/").body(Body::empty()).unwrap()
    }

    #[tokio::test]
    async fn a_handler_that_panics_is_answered_for() {
        async fn panics() -> StatusCode {
            panic!("a test of what happens then")
        }
        let carried = observed(MethodFilter::POST, Carried(panics));
        let router = Router::new().route("/", observed(MethodFilter::GET, panics).merge(carried));
        let service = TowerToHyperService::new(router);
        for method in ["GET", "POST"] {
            let response = service.call(ask(method)).await.unwrap();
            assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR, "{method}");
            assert_eq!(response.headers()["content-type"], "application/problem+json");
        }
    }

    #[tokio::test]
    async fn what_is_carried_ends_even_if_the_caller_hangs_up() {
        let (begun, has_begun) = oneshot::channel();
        let (ended, has_ended) = oneshot::channel();
        let (release, released) = oneshot::channel::<()>();
        let signals = std::sync::Mutex::new(Some((begun, ended, released)));
        let handler = async move || {
            let (begun, ended, released) = signals.lock().unwrap().take().unwrap();
            begun.send(()).unwrap();
            released.await.unwrap();
            ended.send(()).unwrap();
        };
        let shared = Arc::new(handler);
        let handler = move || {
            let shared = Arc::clone(&shared);
            async move { shared().await }
        };
        let router = Router::new().route("/", post(Carried(handler)));
        let asking = tokio::spawn(TowerToHyperService::new(router).call(ask("POST")));
        has_begun.await.unwrap();
        asking.abort();
        assert!(asking.await.unwrap_err().is_cancelled());
        release.send(()).unwrap();
        has_ended.await.unwrap();
    }
}

//! The JSON API of a workspace: a module for each resource, and the table of all routes.

mod channels;
mod deliveries;
mod endpoints;
mod events;
mod inbound;
mod incidents;
pub(crate) mod inline;
mod mutes;
mod policies;
mod preferences;
mod rules;
mod runs;
mod simulate;
mod use_case_webhooks;
mod why;

use axum::Router;
use axum::handler::Handler;
use axum::routing::{MethodFilter, MethodRouter};
use http::Method;

use crate::auth::AppState;
use crate::instrument::{RunToCompletion, instrumented};

pub(crate) use inbound::alertmanager::ingest as ingest_alertmanager;

/// A route below `/api/workspaces/{workspace}`.
struct Route {
    method: Method,
    path: &'static str,
    handler: MethodRouter<AppState>,
}

impl Route {
    fn new<T: 'static>(
        method: Method,
        filter: MethodFilter,
        path: &'static str,
        handler: impl Handler<T, AppState, Future: Unpin>,
    ) -> Self {
        Self { method, path, handler: instrumented(filter, handler) }
    }
}

fn get<T: 'static>(path: &'static str, handler: impl Handler<T, AppState, Future: Unpin>) -> Route {
    Route::new(Method::GET, MethodFilter::GET, path, handler)
}

fn post<T: 'static>(path: &'static str, handler: impl Handler<T, AppState>) -> Route {
    Route::new(Method::POST, MethodFilter::POST, path, RunToCompletion(handler))
}

fn patch<T: 'static>(path: &'static str, handler: impl Handler<T, AppState>) -> Route {
    Route::new(Method::PATCH, MethodFilter::PATCH, path, RunToCompletion(handler))
}

fn put<T: 'static>(path: &'static str, handler: impl Handler<T, AppState>) -> Route {
    Route::new(Method::PUT, MethodFilter::PUT, path, RunToCompletion(handler))
}

fn delete<T: 'static>(path: &'static str, handler: impl Handler<T, AppState>) -> Route {
    Route::new(Method::DELETE, MethodFilter::DELETE, path, RunToCompletion(handler))
}

fn table() -> Vec<Route> {
    vec![
        // Not wrapped in RunToCompletion: the engine itself completes an accepted report, and this is the busiest route.
        Route::new(Method::POST, MethodFilter::POST, "/runs", runs::report),
        get("/runs", runs::list),
        get("/events", events::list),
        get("/events/{id}", events::one),
        get("/events/{id}/why", why::explain),
        get("/notification-rules", rules::list),
        post("/notification-rules", rules::create),
        post("/notification-rules/test", rules::test),
        get("/notification-rules/deliveries", rules::deliveries),
        get("/notification-rules/{id}", rules::one),
        patch("/notification-rules/{id}", rules::edit),
        delete("/notification-rules/{id}", rules::delete),
        get("/use-cases/{use_case}/webhooks", use_case_webhooks::list),
        post("/use-cases/{use_case}/webhooks", use_case_webhooks::create),
        get("/use-cases/{use_case}/webhooks/{id}", use_case_webhooks::one),
        delete("/use-cases/{use_case}/webhooks/{id}", use_case_webhooks::delete),
        post("/use-cases/{use_case}/webhooks/{id}/test", use_case_webhooks::test),
        get("/use-cases/{use_case}/webhooks/{id}/deliveries", use_case_webhooks::deliveries),
        get("/channels", channels::list),
        post("/channels", channels::create),
        get("/channels/{id}", channels::one),
        patch("/channels/{id}", channels::edit),
        delete("/channels/{id}", channels::delete),
        post("/channels/{id}/test", channels::test),
        post("/channels/{id}/rotate-secret", channels::rotate_secret),
        get("/deliveries", deliveries::list),
        post("/deliveries/recover", deliveries::recover),
        get("/deliveries/{id}", deliveries::one),
        post("/deliveries/{id}/resend", deliveries::resend),
        get("/mutes", mutes::list),
        post("/mutes", mutes::create),
        delete("/mutes/{id}", mutes::delete),
        get("/notification-preferences", preferences::one),
        patch("/notification-preferences", preferences::edit),
        post("/simulate", simulate::simulate),
        get("/endpoints", endpoints::list),
        post("/endpoints", endpoints::create),
        // Not wrapped in RunToCompletion: a test writes nothing, so that it may end when the client disconnects.
        Route::new(Method::POST, MethodFilter::POST, "/endpoints/test", endpoints::test),
        get("/endpoints/{id}", endpoints::one),
        patch("/endpoints/{id}", endpoints::edit),
        delete("/endpoints/{id}", endpoints::delete),
        post("/endpoints/{id}/clone", endpoints::clone),
        post("/endpoints/{id}/pause", endpoints::pause),
        post("/endpoints/{id}/resume", endpoints::resume),
        get("/endpoints/{id}/notifications", endpoints::wiring),
        put("/endpoints/{id}/notifications", endpoints::rewire),
        get("/endpoints/{id}/checks", endpoints::checks),
        post("/endpoints/{id}/checks", endpoints::report_check),
        get("/endpoints/{id}/summaries", endpoints::summaries),
        get("/incidents", incidents::list),
        get("/incidents/{id}", incidents::one),
        post("/incidents/{id}/acknowledge", incidents::acknowledge),
        get("/inbound-webhooks", inbound::list),
        post("/inbound-webhooks", inbound::create),
        delete("/inbound-webhooks/{id}", inbound::delete),
    ]
}

const WORKSPACE: &str = "/api/workspaces/{workspace}";

/// Every route below `/api/workspaces/{workspace}`, for tests of the documentation and of access.
pub fn routes() -> Vec<(Method, &'static str)> {
    table().into_iter().map(|route| (route.method, route.path)).collect()
}

/// The routes of a workspace, each also with a trailing slash, which some clients send for lists. Their paths are complete:
/// a nested router would strip the prefix from each request.
pub(crate) fn router() -> Router<AppState> {
    table().into_iter().fold(Router::new(), |router, Route { path, handler, .. }| {
        let path = format!("{WORKSPACE}{path}");
        router.route(&format!("{path}/"), handler.clone()).route(&path, handler)
    })
}

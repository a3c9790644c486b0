//! The JSON API of a workspace: a module for each resource, and the table of all routes.

mod account;
mod api_keys;
mod audit_log;
mod changes;
mod channels;
mod deliveries;
mod endpoints;
mod events;
mod inbound;
mod incidents;
mod insights;
mod invitations;
mod members;
mod mutes;
mod preferences;
mod resources;
mod rules;
mod runs;
mod session;
mod simulate;
mod use_case_webhooks;
mod workspaces;

use std::pin::Pin;

use axum::Router;
use axum::handler::Handler;
use axum::response::Response;
use axum::routing::{MethodFilter, MethodRouter};
use http::Method;

use crate::auth::AppState;
use crate::instrument::{RunToCompletion, instrumented};
use crate::openapi::{self, DescribedRoute, Description};
use crate::operation::{Operation, Strict};
use crate::problem::Code;

pub(crate) use inbound::alertmanager::ingest as ingest_alertmanager;

/// A route below `/api/workspaces/{workspace}`.
struct Route {
    method: Method,
    path: &'static str,
    handler: MethodRouter<AppState>,
    summary: &'static str,
    /// `channels_list`, after the handler.
    operation_id: String,
    describe: fn(&mut Description),
    problems: &'static [Code],
}

/// The routes of one kind of thing.
struct Group {
    name: &'static str,
    routes: Vec<Route>,
}

impl Route {
    fn new<T: 'static, H: Operation<T>>(
        method: Method,
        path: &'static str,
        summary: &'static str,
        _: &H,
        handler: MethodRouter<AppState>,
    ) -> Self {
        let name = std::any::type_name::<H>();
        let name = name.split_once("::api::").map_or(name, |(_, name)| name);
        Self {
            method,
            path,
            handler,
            summary,
            operation_id: name.replace("::", "_"),
            describe: H::describe,
            problems: &[],
        }
    }

    /// Problems with which it may fail besides those that follow from its arguments.
    const fn problems(mut self, problems: &'static [Code]) -> Self {
        self.problems = problems;
        self
    }
}

/// A handler that is boxed by axum, as all functions are.
trait Function<M>: Handler<M, AppState, Future = Pin<Box<dyn Future<Output = Response> + Send>>> {}

impl<M, H: Handler<M, AppState, Future = Pin<Box<dyn Future<Output = Response> + Send>>>> Function<M> for H {}

/// A route that runs to its end even if the client disconnects.
fn writing<M: 'static, T: 'static, H: Function<M> + Operation<T>>(
    (method, filter): (Method, MethodFilter),
    path: &'static str,
    summary: &'static str,
    handler: H,
) -> Route {
    let routed = instrumented(filter, RunToCompletion(Strict { handler: handler.clone(), reads: H::READS }));
    Route::new(method, path, summary, &handler, routed)
}

/// A route that may end when the client disconnects.
fn abandonable<M: 'static, T: 'static, H: Function<M> + Operation<T>>(
    (method, filter): (Method, MethodFilter),
    path: &'static str,
    summary: &'static str,
    handler: H,
) -> Route {
    let routed = instrumented(filter, Strict { handler: handler.clone(), reads: H::READS });
    Route::new(method, path, summary, &handler, routed)
}

fn get<M: 'static, T: 'static>(
    path: &'static str,
    summary: &'static str,
    handler: impl Function<M> + Operation<T>,
) -> Route {
    abandonable((Method::GET, MethodFilter::GET), path, summary, handler)
}

fn post<M: 'static, T: 'static>(
    path: &'static str,
    summary: &'static str,
    handler: impl Function<M> + Operation<T>,
) -> Route {
    writing((Method::POST, MethodFilter::POST), path, summary, handler)
}

fn patch<M: 'static, T: 'static>(
    path: &'static str,
    summary: &'static str,
    handler: impl Function<M> + Operation<T>,
) -> Route {
    writing((Method::PATCH, MethodFilter::PATCH), path, summary, handler)
}

fn put<M: 'static, T: 'static>(
    path: &'static str,
    summary: &'static str,
    handler: impl Function<M> + Operation<T>,
) -> Route {
    writing((Method::PUT, MethodFilter::PUT), path, summary, handler)
}

fn delete<M: 'static, T: 'static>(
    path: &'static str,
    summary: &'static str,
    handler: impl Function<M> + Operation<T>,
) -> Route {
    writing((Method::DELETE, MethodFilter::DELETE), path, summary, handler)
}

const POST: (Method, MethodFilter) = (Method::POST, MethodFilter::POST);

fn table() -> Vec<Group> {
    let group = |name, routes| Group { name, routes };
    vec![
        group(
            "Runs",
            vec![
                // Not run to completion: the engine itself completes an accepted report, and this is the busiest route.
                abandonable(POST, "/runs", "Report finished runs", runs::report),
                get("/runs", "List runs", runs::list),
            ],
        ),
        group(
            "Resources",
            vec![
                get("/resources", "List resources", resources::list),
                get("/resources/{type}/{id}", "Read a resource", resources::one),
                patch("/resources/{type}/{id}", "Edit a resource", resources::edit),
                delete("/resources/{type}/{id}", "Erase a resource", resources::delete)
                    .problems(&[Code::ResourceInUse]),
                get("/resources/{type}/{id}/erasure", "Read how far an erasure has come", resources::erasure),
            ],
        ),
        group(
            "Overview",
            vec![
                get("/overview", "Read the counts of a workspace", insights::overview),
                get("/queue", "Read what waits", insights::queue),
            ],
        ),
        group(
            "Events",
            vec![
                get("/events", "List events", events::list),
                get("/events/{id}", "Read an event with its deliveries", events::one),
                get("/events/{id}/why", "Explain why an event was or was not sent", events::explain),
            ],
        ),
        group(
            "Rules",
            vec![
                get("/rules", "List the rules of the workspace", rules::all),
                get("/notification-rules", "List the rules of a resource", rules::list),
                post("/notification-rules", "Create a rule", rules::create).problems(&[Code::Quota, Code::RuleExists]),
                post("/notification-rules/test", "Send a test", rules::test)
                    .problems(&[Code::NotFound, Code::ChannelUnusable]),
                get("/notification-rules/deliveries", "List the deliveries of a resource", rules::deliveries),
                get("/notification-rules/{id}", "Read a rule", rules::one),
                patch("/notification-rules/{id}", "Edit a rule", rules::edit)
                    .problems(&[Code::Quota, Code::RuleExists]),
                delete("/notification-rules/{id}", "Delete a rule", rules::delete),
            ],
        ),
        group(
            "Use cases",
            vec![
                get("/use-cases/{use_case}/webhooks", "List the webhooks of a use case", use_case_webhooks::list),
                post("/use-cases/{use_case}/webhooks", "Create a webhook", use_case_webhooks::create)
                    .problems(&[Code::Quota]),
                get("/use-cases/{use_case}/webhooks/{id}", "Read a webhook", use_case_webhooks::one),
                delete("/use-cases/{use_case}/webhooks/{id}", "Delete a webhook", use_case_webhooks::delete),
                post("/use-cases/{use_case}/webhooks/{id}/test", "Send a test event", use_case_webhooks::test)
                    .problems(&[Code::ChannelUnusable]),
                get(
                    "/use-cases/{use_case}/webhooks/{id}/deliveries",
                    "List its deliveries",
                    use_case_webhooks::deliveries,
                ),
            ],
        ),
        group(
            "Channels",
            vec![
                get("/channels", "List the shared channels", channels::list),
                post("/channels", "Create a channel", channels::create).problems(&[Code::Quota]),
                get("/channels/{id}", "Read a channel", channels::one),
                patch("/channels/{id}", "Edit a channel", channels::edit),
                delete("/channels/{id}", "Delete a channel", channels::delete).problems(&[Code::ChannelInUse]),
                post("/channels/{id}/test", "Send a test", channels::test).problems(&[Code::ChannelUnusable]),
                post("/channels/{id}/rotate-secret", "Rotate the signing secret of a webhook", channels::rotate_secret),
            ],
        ),
        group(
            "Deliveries",
            vec![
                get("/deliveries", "List deliveries", deliveries::list),
                post("/deliveries/recover", "Resend what failed through a channel", deliveries::recover)
                    .problems(&[Code::NotFound, Code::NotResendable]),
                post("/deliveries/resend", "Send deliveries again, by ids or by a filter", deliveries::resend_many),
                get("/deliveries/stats", "Count deliveries by period", insights::delivery_stats),
                get("/deliveries/{id}", "Read a delivery with its attempts", deliveries::one),
                get("/deliveries/{id}/message", "Read what is sent for a delivery", deliveries::message),
                post("/deliveries/{id}/resend", "Send a delivery again", deliveries::resend)
                    .problems(&[Code::NotResendable, Code::RuleInactive]),
            ],
        ),
        group(
            "Mutes",
            vec![
                get("/mutes", "List mutes", mutes::list),
                post("/mutes", "Create a mute", mutes::create).problems(&[Code::Quota]),
                delete("/mutes/{id}", "End a mute", mutes::delete),
            ],
        ),
        group("Changes", vec![get("/changes", "Be notified of changes", changes::stream)]),
        group(
            "Preferences",
            vec![
                get("/notification-preferences", "Read the preferences", preferences::one),
                patch("/notification-preferences", "Edit the preferences", preferences::edit),
            ],
        ),
        group("Simulation", vec![post("/simulate", "Ask what would be sent", simulate::simulate)]),
        group(
            "Endpoints",
            vec![
                get("/endpoints", "List endpoints", endpoints::list),
                post("/endpoints", "Create an endpoint", endpoints::create).problems(&[Code::Quota]),
                post("/endpoints/bulk", "Change many endpoints", endpoints::bulk),
                // Not run to completion: a test writes nothing, so that it may end when the client disconnects.
                abandonable(POST, "/endpoints/test", "Probe a definition that is not stored", endpoints::test)
                    .problems(&[Code::NotFound]),
                get("/endpoints/uptime", "Read the uptime of many endpoints by day", insights::uptime),
                get("/endpoints/{id}", "Read an endpoint", endpoints::one),
                patch("/endpoints/{id}", "Edit an endpoint", endpoints::edit),
                delete("/endpoints/{id}", "Delete an endpoint", endpoints::delete),
                post("/endpoints/{id}/clone", "Copy an endpoint", endpoints::clone).problems(&[Code::Quota]),
                post("/endpoints/{id}/pause", "Pause monitoring", endpoints::pause),
                post("/endpoints/{id}/resume", "Resume monitoring", endpoints::resume),
                get("/endpoints/{id}/notifications", "Read which channels are notified", endpoints::wiring),
                put("/endpoints/{id}/notifications", "Set which channels are notified", endpoints::rewire),
                get("/endpoints/{id}/checks", "List checks", endpoints::checks),
                post("/endpoints/{id}/checks", "Report a check", endpoints::report_check)
                    .problems(&[Code::EndpointPaused]),
                get("/endpoints/{id}/summaries", "List summaries of checks", endpoints::summaries),
                get("/maintenance-windows", "List when maintenance windows occur", insights::maintenance_windows),
            ],
        ),
        group(
            "Incidents",
            vec![
                get("/incidents", "List incidents", incidents::list),
                get("/incidents/{id}", "Read an incident with its timeline", incidents::one),
                post("/incidents/{id}/acknowledge", "Acknowledge an incident", incidents::acknowledge)
                    .problems(&[Code::IncidentResolved]),
            ],
        ),
        group(
            "Inbound webhooks",
            vec![
                get("/inbound-webhooks", "List inbound webhooks", inbound::list),
                post("/inbound-webhooks", "Create an inbound webhook", inbound::create).problems(&[Code::Quota]),
                delete("/inbound-webhooks/{id}", "Delete an inbound webhook", inbound::delete),
            ],
        ),
        group(
            "Workspaces",
            vec![
                get("", "Read the workspace", workspaces::one),
                patch("", "Edit the workspace", workspaces::edit).problems(&[Code::SlugTaken]),
                delete("", "Delete the workspace with everything in it", workspaces::delete),
                get("/quotas", "List the quotas", audit_log::quotas),
            ],
        ),
        group(
            "Members",
            vec![
                get("/members", "List the members", members::list),
                get("/members/{id}", "Read a member", members::one),
                patch("/members/{id}", "Change the role of a member", members::edit).problems(&[Code::LastOwner]),
                delete("/members/{id}", "Remove a member, or leave", members::remove).problems(&[Code::LastOwner]),
                get("/invitations", "List the open invitations", invitations::list),
                post("/invitations", "Invite a person", invitations::create)
                    .problems(&[Code::Quota, Code::AlreadyMember]),
                delete("/invitations/{id}", "Withdraw an invitation", invitations::delete),
            ],
        ),
        group(
            "API keys",
            vec![
                get("/api-keys", "List the API keys", api_keys::list),
                post("/api-keys", "Create an API key", api_keys::create).problems(&[Code::Quota]),
                get("/api-keys/{id}", "Read an API key", api_keys::one),
                delete("/api-keys/{id}", "Revoke an API key", api_keys::revoke),
            ],
        ),
        group("Audit log", vec![get("/audit-log", "List who changed what", audit_log::list)]),
    ]
}

/// The routes outside a workspace, with complete paths.
fn instance_table() -> Vec<Group> {
    let group = |name, routes| Group { name, routes };
    vec![
        group(
            "Session",
            vec![
                get("/api/session", "Read who is signed in", session::one),
                post("/api/session", "Sign in", session::create)
                    .problems(&[Code::WrongCredentials, Code::TooManyAttempts]),
                delete("/api/session", "Sign out", session::delete),
            ],
        ),
        group(
            "Account",
            vec![
                get("/api/account", "Read the signed-in user", account::one),
                patch("/api/account", "Edit the signed-in user", account::edit).problems(&[Code::EmailTaken]),
                post(
                    "/api/account/password",
                    "Change the password, and end all other sessions",
                    account::change_password,
                )
                .problems(&[Code::TooManyAttempts]),
                get("/api/account/sessions", "List the sessions of the user", account::sessions),
                delete("/api/account/sessions", "End all other sessions", account::end_other_sessions),
                delete("/api/account/sessions/{id}", "End a session", account::end_session),
            ],
        ),
        group(
            "Invitation",
            vec![
                get("/api/invitations/{secret}", "Read what an invitation is for", invitations::offer)
                    .problems(&[Code::InvitationUsed, Code::InvitationExpired]),
                post("/api/invitations/{secret}/accept", "Accept an invitation", invitations::accept).problems(&[
                    Code::Unauthenticated,
                    Code::TooManyAttempts,
                    Code::AlreadyMember,
                    Code::InvitationUsed,
                    Code::InvitationExpired,
                    Code::InvitationForAnother,
                ]),
            ],
        ),
        group(
            "Instance",
            vec![
                get("/api/workspaces", "List the workspaces of the user, or all", workspaces::list)
                    .problems(&[Code::Forbidden]),
                post("/api/workspaces", "Create a workspace", workspaces::create).problems(&[Code::SlugTaken]),
                post("/api/workspaces/{workspace}/suspend", "Suspend a workspace", workspaces::suspend),
                post("/api/workspaces/{workspace}/resume", "Resume a workspace", workspaces::resume),
            ],
        ),
    ]
}

const WORKSPACE: &str = "/api/workspaces/{workspace}";

/// Every route below `/api/workspaces/{workspace}`, for tests of the documentation and of access.
pub fn routes() -> Vec<(Method, &'static str)> {
    table().into_iter().flat_map(|group| group.routes).map(|route| (route.method, route.path)).collect()
}

/// Every described route outside a workspace.
pub fn instance_routes() -> Vec<(Method, &'static str)> {
    instance_table().into_iter().flat_map(|group| group.routes).map(|route| (route.method, route.path)).collect()
}

/// Every described route that is in none of the tables: it needs no credentials.
pub fn service_routes() -> Vec<(&'static str, &'static str)> {
    openapi::service::routes().iter().map(|route| (route.method, route.path)).collect()
}

/// The groups of all routes with the prefix of their paths.
fn tables() -> impl Iterator<Item = (&'static str, Group)> {
    let of_workspace = table().into_iter().map(|group| (WORKSPACE, group));
    of_workspace.chain(instance_table().into_iter().map(|group| ("", group)))
}

/// The OpenAPI description of every route.
pub fn description() -> serde_json::Value {
    let groups: Vec<_> = tables().collect();
    let described = groups.iter().flat_map(|(prefix, group)| {
        group.routes.iter().map(move |route| {
            let mut description = Description::default();
            (route.describe)(&mut description);
            description.problems(route.problems.iter().copied());
            DescribedRoute {
                method: route.method.as_str(),
                path: format!("{prefix}{}", route.path),
                operation_id: route.operation_id.clone(),
                tag: group.name,
                summary: route.summary,
                description,
            }
        })
    });
    openapi::document(described.chain(openapi::service::routes().iter().map(|route| route.described())))
}

/// The same as text: what `/api/openapi.json` answers, and the committed copy.
pub fn description_text() -> String {
    let mut text = format!("{:#}", description());
    text.push('\n');
    text
}

/// All described routes, each also with a trailing slash, which some clients send for lists. Their paths are complete: a
/// nested router would strip the prefix from each request.
pub(crate) fn router() -> Router<AppState> {
    let routes = tables().flat_map(|(prefix, group)| group.routes.into_iter().map(move |route| (prefix, route)));
    routes.fold(Router::new(), |router, (prefix, Route { path, handler, .. })| {
        let path = format!("{prefix}{path}");
        router.route(&format!("{path}/"), handler.clone()).route(&path, handler)
    })
}

//! The HTTP server: the JSON API of a workspace, inbound webhooks, health checks and metrics.
//!
//! This crate knows HTTP and JSON and nothing of queues or storage: every operation is a call to
//! [`tidings_engine::Engine`]. In the event pipeline it comes first (`POST /runs`, `POST /in/alertmanager/{secret}`);
//! the rest is configuration (rules, channels, endpoints, mutes) and history (events, deliveries, incidents).
//!
//! The cast, in the order in which a request meets it:
//!
//! - [`serve()`] is the accept loop. It bounds connections, headers and the time that a shutdown may take.
//! - [`router()`] joins [`api::routes`], the one table of a workspace's routes, with the routes that need no API key.
//! - `instrument` wraps each handler: its `request_id` in the answer and in log lines, request metrics, a 500 for one that panics, and `RunToCompletion`, which keeps a
//!   write going although its client disconnects.
//! - `client_address` finds the client behind trusted proxies, `cookies` the session cookie, `same_origin` where the request
//!   was made from; `session` turns the cookie into a user.
//! - `auth` turns the `Authorization` header into `Authorized<Read>` or `Authorized<Write>`. These extractors are the
//!   only access to the engine, so that a handler cannot forget to check the key.
//! - `body`, `json`, `fields` and `query` read the request. They collect every violation with its JSON pointer instead
//!   of failing at the first; unknown fields and duplicate keys are violations, too.
//! - `revision` maps `ETag` and `If-Match` to the revisions of resources.
//! - `api` has a module for each resource: its handlers, and the readers of its request bodies.
//! - `view` has the shapes of responses, made from domain types and store records.
//! - `response` and [`problem`] are the two results of a handler: JSON, or an RFC 9457 problem with a stable
//!   [`problem::Code`].
//!
//! - `operation` and `openapi` derive the description of the API from the table of routes and the handlers' types, and `docs`
//!   shows it as pages.
//!
//! Errors of the engine become problems in one place (`From<EngineError> for Problem`). Where a rule holds the fields of
//! its own channel inline, `api::inline` maps the pointers of such errors back to the fields that the caller sent.

pub mod api;
mod auth;
mod body;
pub mod client_address;
pub mod cookies;
mod docs;
mod health;
mod instrument;
mod json;
mod openapi;
mod operation;
pub mod problem;
mod query;
mod request_id;
mod response;
mod revision;
mod router;
pub mod same_origin;
mod serve;
mod session;

pub use router::{RenderMetrics, Shutdown, WebSettings, router};
pub use serve::{CONNECTIONS_MAX, serve};

//! Operations: what a user of Tidings can do, independent of how it is asked for.
//!
//! JSON, pages and the command line are renderers of this crate. It knows neither HTTP nor HTML.
//!
//! # Cast
//!
//! - A module for each resource ([`channels`], …) has the types of its requests and responses, and its operations:
//!   functions of an [`Authorized`] caller and a request.
//! - [`contract`] validates a request against the schema of its type. The schema is also what the OpenAPI description
//!   holds.
//! - [`Principal`] is who asks, [`Authorized`] the proof that it may: its permission is a type, and the only access to the
//!   services ([`App`]).
//! - [`accounts`] are the users of the instance, their passwords and sessions. A session or an API key makes a
//!   [`Principal`].
//! - [`AppError`] is why an operation failed, with all violations of the request.
//! - [`quotas`] bounds what a workspace can make.
//!
//! # Flow of an edit
//!
//! ```text
//! JSON merge patch ┐
//! form             ├▶ |draft| Input<draft> ─▶ edit(by, id, expected, …) ─▶ validate ─▶ plan ─▶ commit ─▶ reload
//! command line     ┘                             ▲                                               │
//!                                                └──────────── again, if another edit was faster ┘
//! ```
//!
//! `change` makes the new draft of the present one. It is called again with the draft that a faster edit has left.
//! [`tidings_engine::settings::Settings::update`] is the only loop that does so.

pub mod accounts;
pub mod api_keys;
mod app;
pub mod attempt;
pub mod audit;
pub mod audit_log;
pub mod changes;
pub mod channels;
pub mod contract;
pub mod deliveries;
pub mod delivery_stats;
pub mod endpoints;
mod error;
pub mod events;
pub mod inbound;
pub mod inbound_webhooks;
pub mod incidents;
pub mod invitations;
pub mod maintenance_windows;
pub mod members;
pub mod mutes;
pub mod overview;
pub mod page;
pub mod preferences;
mod principal;
pub mod queue;
pub mod quotas;
pub mod resources;
mod response;
mod revision;
pub mod rules;
pub mod runs;
mod schemas;
pub mod simulate;
pub mod uptime;
pub mod verdict;
pub mod workspaces;

pub use app::{App, TestSlot};
pub use error::{AppError, Result};
pub use principal::{
    Acknowledge, Authorized, Configure, DeleteWorkspace, Granted, ManageApiKeys, ManageMembers, ManageOwners, Origin,
    Principal, Read, ReadAuditLog, Report, SendNow, Simulate,
};
pub use response::{Response, SecretOnce};
pub use revision::Expected;

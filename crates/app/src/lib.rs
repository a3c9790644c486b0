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

mod app;
pub mod audit;
pub mod channels;
pub mod contract;
mod error;
mod principal;
pub mod quotas;
mod response;
mod revision;

pub use app::{App, TestSlot};
pub use error::{AppError, Result};
pub use principal::{
    Acknowledge, Authorized, Configure, DeleteWorkspace, Granted, ManageApiKeys, ManageMembers, ManageOwners, Origin,
    Principal, Read, ReadAuditLog, Report, SendNow, Simulate,
};
pub use response::{Response, SecretOnce};
pub use revision::Expected;

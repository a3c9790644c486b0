//! The doors: the JSON API over HTTP.
//!
//! In the way of an event this crate stands first, where a run is reported (`POST /runs`, one of the [`api::routes`]),
//! and beside it, where rules and channels are made and the log is read. It knows HTTP and JSON and asks the engine for
//! everything else. A request comes in through [`serve()`], finds its route, shows its key (`auth`), is read with all
//! that is wrong in it (`fields`, `query`), and is answered with a `view` or a [`problem`].

mod answer;
pub mod api;
mod auth;
mod body;
mod fields;
mod health;
mod json;
mod observe;
mod page;
pub mod problem;
mod query;
mod revision;
mod router;
mod serve;
mod view;

pub use router::{Draining, RenderMetrics, WebSettings, router};
pub use serve::{CONNECTIONS_MAX, serve};

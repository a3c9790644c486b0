//! What the words of Tidings mean: facts, rules, gates, deliveries and how they follow from each other.
//!
//! Pure: no I/O, no async, no clock, no randomness, no SQL, no HTTP. Every decision is a function of a snapshot and an
//! instant, so that it can be tested, explained and foretold. A check's way: [`endpoint`] (what is watched) → [`check`] (what
//! was seen, and what it means) → [`incident`] (when it is an outage). An event's way:
//! [`event`] (what happened) → [`routing`] (which rules want it) → [`gate`] (may it be said now) →
//! [`delivery`] (one sequence to say it) → [`message`] and [`payload`] (what is said) → [`retry`] (when to try again).

pub mod calendar;
pub mod channel;
pub mod check;
pub mod delivery;
pub mod digest;
pub mod endpoint;
pub mod event;
pub mod gate;
pub mod id;
pub mod incident;
pub mod maintenance;
pub mod message;
pub mod mute;
pub mod payload;
pub mod quiet_hours;
pub mod rate_limit;
pub mod resource;
pub mod retry;
pub mod routing;
pub mod rule;
pub mod run;
pub mod secret;
pub mod severity;
pub mod signature;
pub mod text;
pub mod time;
pub mod trigger;
pub mod violation;
pub mod workspace;

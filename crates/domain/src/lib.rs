//! The domain of Tidings: types and rules for runs, checks, incidents, events and deliveries.
//!
//! Pure: no I/O, no async, no clock, no randomness, no SQL, no HTTP. Every decision is a function of a snapshot and an
//! instant, so that it can be tested, explained and simulated. The engine loads the snapshots, passes the time and
//! carries out what the functions decide.
//!
//! ## Configuration
//!
//! - A [`workspace`] is a tenant. It has channels, rules, endpoints and mutes.
//! - A [`channel`] is a destination (email, webhook, Slack, Discord) with policies: [`quiet_hours`], [`rate_limit`],
//!   filters by [`severity`] and by kind of event, [`retry`] delays.
//! - A [`rule`] connects a [`resource`] to a channel and lists the [`trigger`]s it is for.
//! - An [`endpoint`] is a monitored target: how it is probed, thresholds, escalation, [`maintenance`] windows.
//! - A [`mute`] suppresses notifications, of everything, of an endpoint or through a channel.
//!
//! ## Check pipeline
//!
//! A prober makes an observation of an endpoint; [`check`] judges it: healthy, degraded, down or inconclusive.
//! [`incident::streak`] decides whether a series of checks opens, worsens or resolves an [`incident`];
//! [`incident::flapping`] whether that happens too often; [`incident::reminders`] when an open incident is escalated or
//! repeated. Each transition is an event.
//!
//! ## Event pipeline
//!
//! 1. An [`event`] is an immutable fact: a [`run`] ended, or an incident changed.
//! 2. [`routing`] selects the rules that match it.
//! 3. For each rule, the [`gate`]s decide in a fixed order whether to send now, to hold or to suppress.
//! 4. Each rule gets a [`delivery`], a state machine from pending to sent. Held deliveries are released later, several of
//!    them as one [`digest`].
//! 5. [`message`] writes the content for people and [`payload`] the webhook body, which [`signature`] signs.
//! 6. After a failed attempt, [`retry`] decides when to try again.
//!
//! ## Accounts
//!
//! [`account`] holds users, sessions and invitations, [`access`] actors, roles and the table of permissions, [`audit`] the
//! entries of the audit log.
//!
//! ## Shared
//!
//! [`id`], [`time`], [`calendar`] (zones and recurring periods), [`text`], [`secret`], and [`violation`] (validation
//! errors with JSON pointers).

pub mod access;
pub mod account;
pub mod audit;
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
pub mod surrogate;
pub mod text;
pub mod time;
pub mod tls;
pub mod trigger;
pub mod violation;
pub mod workspace;

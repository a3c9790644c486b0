//! The program from outside: started, called over HTTP, stopped, killed, and started again.
//!
//! The program under test is `TIDINGS_BIN` (`cargo xtask test` sets it to the release build), or else the binary that Cargo
//! built with this test. Every test has its own data directory, ports and receivers.

mod alertmanager;
mod api_examples;
mod backpressure;
mod bursts;
mod channels;
mod crash;
mod disk;
mod documents;
mod files;
mod gate_effects;
mod gates;
mod incidents;
mod isolation;
mod mail_burst;
mod messages;
mod openapi;
mod operating;
mod outage_crash;
mod readme;
mod receivers;
mod recipes;
mod refusals;
mod retries;
mod run_notifications;
mod secrets;
mod secrets_of_endpoints;
mod serve;
mod stop;
mod storm;
mod support;
mod targets;
mod templates;
mod test_now;
mod use_case_webhooks;
mod users;
mod watching;
mod webhook_bodies;
mod webhook_verification;
mod withdrawn;
mod workspaces;

//! The program as a whole, from outside: started, asked over HTTP, told to end, killed, and started again.
//!
//! What is tested is the program named by `TIDINGS_BIN` (`cargo xtask test` names the release build), or else the one
//! that Cargo built beside this. Every test has its own directory, ports and receivers.

mod alertmanager;
mod crash;
mod crowd;
mod disk;
mod documents;
mod files;
mod first_document;
mod isolation;
mod operating;
mod outage_crash;
mod readme;
mod receivers;
mod recipes;
mod refusals;
mod retries;
mod second_document;
mod second_document_channels;
mod second_document_enforced;
mod second_document_gates;
mod secrets;
mod secrets_of_endpoints;
mod serve;
mod stop;
mod storm;
mod support;
mod targets;
mod templates;
mod test_now;
mod third_document;
mod watching;
mod webhook_bodies;
mod webhook_verification;
mod withdrawn;
mod workspaces;

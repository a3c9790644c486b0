//! Channels from outside: one suite over the registry, and the way out against receivers that lie.

mod conformance;
mod egress;
mod hostile;
mod support;
mod tls;
mod webhook;

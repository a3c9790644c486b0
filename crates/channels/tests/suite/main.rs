//! Channels from outside: one suite over the registry, and the way out against receivers that lie.

mod conformance;
mod egress;
mod hostile;
mod slack;
mod support;
mod tls;
mod webhook;

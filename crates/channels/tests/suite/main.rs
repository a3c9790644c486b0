//! Channels from outside: one conformance suite over the registry, and egress against misbehaving receivers.

mod conformance;
mod dns;
mod egress;
mod hostile;
mod refusals;
mod rendered;
mod slack;
mod support;
mod tls;
mod webhook;

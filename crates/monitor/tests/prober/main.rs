//! The prober from outside: against servers that tell the truth and servers that lie.

mod bounds;
mod dns;
mod guard;
mod hostile;
mod http;
mod icmp;
mod kept;
mod redirects;
mod support;
mod tls;

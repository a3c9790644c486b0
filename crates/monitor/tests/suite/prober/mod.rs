//! The prober against well-behaved, slow and hostile servers.

mod bodies;
mod concurrency;
mod dns;
mod guard;
mod hostile;
mod http;
mod icmp;
mod keep_alive;
mod redirects;
mod tls;

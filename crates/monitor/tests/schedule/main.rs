//! The schedule from outside: in time that goes as fast as it can, and over real sockets.

#[path = "../prober/support.rs"]
#[expect(dead_code, reason = "servers and names are shared with the prober's tests, which need more of them")]
mod net;

mod edits;
mod limits;
mod pace;
mod sockets;
mod support;

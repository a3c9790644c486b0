//! The scheduler, with a fake prober in simulated time and with the real one in real time.

mod edits;
mod limits;
mod sockets;
mod support;
mod timing;

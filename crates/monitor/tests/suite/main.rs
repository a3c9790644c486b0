//! Prober and scheduler from outside: over real sockets, and the scheduler in simulated time as well.

mod prober;
mod schedule;
mod support;

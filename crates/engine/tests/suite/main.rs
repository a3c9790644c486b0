//! The engine over a real store, with a clock that is set by hand and receivers on this machine.

mod claim;
mod digests;
mod gates;
mod history;
mod late;
mod limits;
mod log;
mod order;
mod outages;
mod receiver;
mod resolved;
mod restart;
mod world;

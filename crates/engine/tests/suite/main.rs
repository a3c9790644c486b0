//! The engine over a real store, with a clock that is set by hand and a receiver on this machine.

mod accounts;
mod activity;
mod deferred;
mod digests;
mod gates;
mod heartbeats;
mod history;
mod incidents;
mod limits;
mod order;
mod pauses;
mod receiver;
mod recheck;
mod records;
mod resolutions;
mod restart;
mod world;

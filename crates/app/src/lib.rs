//! Operations: what a user of Tidings can do, independent of how it is asked for.
pub mod contract;

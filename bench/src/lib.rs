//! What the programs of the benchmark share. Each is as cheap as it can be made, because generator, server and sink
//! share the machine's cores: what they take, the server lacks.
//!
//! - `tidings-load` sends runs to the server (or straight to the sink, which is the floor);
//! - `tidings-sink` receives webhooks, counts them and measures how long they were on their way;
//! - `tidings-floor` measures what this machine could do at best: group-committed rows, signatures, and the bare way
//!   of an event with nothing of the product in it;
//! - `tidings-target` is what the check engine watches: many hosts in one process;
//! - `tidings-watcher` is the check engine without the server: its prober, flat out or on schedule, which is the floor
//!   of the server's checks, and the bare exchange as the prober's own floor.
//!
//! `cargo xtask bench` starts them, and prints one table. None of this stands in the way of an event.

pub mod clock;
pub mod cpu;
pub mod files;
pub mod hosts;
pub mod inbox;
pub mod latency;
pub mod memory;
pub mod parent;
pub mod stamp;
pub mod target;
pub mod wire;

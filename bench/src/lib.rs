//! Shared parts of the benchmark's programs. All of them are as cheap as possible, because load generator, server and
//! receiver share the machine's cores: what they use, the server lacks.
//!
//! - `tidings-load` sends runs to the server, or directly to the sink as a baseline;
//! - `tidings-sink` receives webhooks, counts them and measures their latency;
//! - `tidings-baseline` measures what this machine can do at best: group-committed rows, signatures, and a minimal
//!   event pipeline without the product;
//! - `tidings-target` is the endpoint of monitoring benchmarks: many hosts in one process;
//! - `probe-bench` runs prober and scheduler without the server, at full speed or on schedule. It is the baseline of
//!   the server's checks, and has a baseline of its own: the same HTTP exchanges without the prober.
//!
//! `cargo xtask bench` starts them and prints one table. The product itself uses none of this.

pub mod clock;
pub mod hosts;
pub mod latency;
pub mod process;
pub mod procfs;
pub mod read_buffer;
pub mod send_time;
pub mod target;
pub mod wire;

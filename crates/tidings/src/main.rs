//! The `tidings` program.
//!
//! `config` merges flags, environment and file into [`config::Settings`]. `command` runs a command with them:
//!
//! - `serve` starts store, vault, engine, probe scheduler and HTTP server, in this order, and stops them in reverse.
//!   `encryption_key` and `first_start` provide the secrets that the first start generates; `secret_file` stores them.
//! - `workspace` and `user` edit workspaces, API keys and users in the store, also beside a running server; `prompt` asks
//!   for passwords.
//! - `check-config` prints the settings.
//!
//! `telemetry` sets up logs on standard error and the metrics of `/metrics`.

mod command;
mod config;
mod encryption_key;
mod first_start;
mod prompt;
mod secret_file;
mod telemetry;

use std::process::ExitCode;

use clap::Parser;

/// Faster than the system's allocator where threads pass allocations to each other, as here. Built without huge pages
/// (`no_thp`): with them the process holds 20 MB more, most of it unused, and is not faster.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = command::Cli::parse();
    match command::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tidings: {error:#}");
            ExitCode::FAILURE
        }
    }
}

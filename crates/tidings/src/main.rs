//! The program: reads the command line and the configuration, and starts what they ask for.

mod command;
mod config;
mod key;
mod telemetry;

use std::process::ExitCode;

use clap::Parser;

/// Small and quick under many threads that pass work to each other. Built without huge pages (`no_thp`): with them it holds
/// 20 MB more, most of it never used, and is no faster.
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

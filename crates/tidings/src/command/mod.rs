//! The command line: a module for each command.

mod serve;
mod workspace;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

use crate::config::{Overrides, Settings};

/// Notification service: notifies people and systems when a run ends or an endpoint fails, delivers reliably, and explains
/// each notification that was sent or not sent.
#[derive(Debug, Parser)]
#[command(name = "tidings", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the service: API, deliveries and monitoring.
    ///
    /// It needs no other service: all data is in the data directory. The first start creates the workspace `default` and,
    /// unless one is configured, an API key for it. The key is printed if standard output is a terminal; otherwise it is
    /// written to the file initial-api-key in the data directory, which only the service's user can read. On SIGTERM or
    /// Ctrl-C the service finishes requests and deliveries in flight, and then exits.
    Serve(ServeArgs),
    /// Validate the configuration as `serve` reads it, and print the settings without secrets. Changes nothing.
    CheckConfig(ServeArgs),
    /// Manage workspaces (tenants) and their API keys. The server on the same data directory must be stopped.
    #[command(subcommand)]
    Workspace(WorkspaceCommand),
}

#[derive(Debug, Args)]
struct ServeArgs {
    #[command(flatten)]
    overrides: Overrides,
}

#[derive(Debug, Subcommand)]
enum WorkspaceCommand {
    /// Create a workspace and its first API key. The key is printed now and cannot be shown again.
    Create {
        /// Name in paths: 1 to 63 characters of a-z, 0-9 and -, beginning with a letter or digit.
        slug: String,
        #[command(flatten)]
        overrides: Overrides,
    },
    /// Create another API key of a workspace. The key is printed now and cannot be shown again.
    NewKey {
        /// Name of the workspace.
        slug: String,
        #[command(flatten)]
        overrides: Overrides,
    },
    /// Revoke an API key.
    RevokeKey {
        /// Name of the workspace.
        slug: String,
        /// Id of the key, from `tidings workspace list`.
        key_id: String,
        #[command(flatten)]
        overrides: Overrides,
    },
    /// List workspaces and their API keys: names, ids and creation times, not the keys themselves.
    List {
        #[command(flatten)]
        overrides: Overrides,
    },
}

/// Runs the command.
pub(crate) fn run(cli: Cli) -> Result<()> {
    match cli.command {
        Command::Serve(args) => serve::run(&Settings::resolve(args.overrides)?),
        Command::CheckConfig(args) => {
            println!("{}", Settings::resolve(args.overrides)?);
            Ok(())
        }
        Command::Workspace(WorkspaceCommand::Create { slug, overrides }) => {
            workspace::create(&Settings::resolve(overrides)?, &slug)
        }
        Command::Workspace(WorkspaceCommand::NewKey { slug, overrides }) => {
            workspace::new_key(&Settings::resolve(overrides)?, &slug)
        }
        Command::Workspace(WorkspaceCommand::RevokeKey { slug, key_id, overrides }) => {
            workspace::revoke_key(&Settings::resolve(overrides)?, &slug, &key_id)
        }
        Command::Workspace(WorkspaceCommand::List { overrides }) => workspace::list(&Settings::resolve(overrides)?),
    }
}

#[cfg(test)]
mod tests {
    use super::Cli;
    use clap::CommandFactory as _;

    #[test]
    fn command_line_definition_is_valid() {
        Cli::command().debug_assert();
    }
}

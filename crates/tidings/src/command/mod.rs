//! The command line: one file a command.

mod serve;
mod workspace;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

use crate::config::{Overrides, Settings};

/// Tells the right people and systems when something ends or breaks, makes sure that they hear it, and can always say
/// why they did or did not.
#[derive(Debug, Parser)]
#[command(name = "tidings", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the service: the API, the queue, the senders.
    ///
    /// Needs nothing else: everything is kept in the data directory. The first start makes the workspace `default` and
    /// an API key, shown this once. SIGTERM and Ctrl-C finish what is being sent and then end it.
    Serve(ServeArgs),
    /// Read the configuration as `serve` would, say what it comes to, and change nothing.
    CheckConfig(ServeArgs),
    /// EndpointProber after workspaces (tenants). The server must not be running on the same data directory.
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
    /// Make a workspace and its first API key, shown this once.
    Create {
        /// Its name in paths: 1 to 63 of a-z, 0-9 and -.
        slug: String,
        #[command(flatten)]
        overrides: Overrides,
    },
    /// Make another API key of a workspace, shown this once.
    NewKey {
        /// The workspace.
        slug: String,
        #[command(flatten)]
        overrides: Overrides,
    },
    /// Revoke an API key: it opens nothing any more.
    RevokeKey {
        /// The workspace.
        slug: String,
        /// The key's id, as `workspace list` shows it.
        key_id: String,
        #[command(flatten)]
        overrides: Overrides,
    },
    /// List the workspaces and their API keys: ids, names and dates, never the keys themselves.
    List {
        #[command(flatten)]
        overrides: Overrides,
    },
}

/// Runs what the command line asks for.
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
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}

//! The command line: a module for each command.

mod serve;
mod user;
mod workspace;

use std::time::Duration;

use anyhow::{Result, anyhow};
use clap::{Args, Parser, Subcommand};
use tidings_domain::access::Role;
use tidings_store::sqlite::SqliteStore;
use tidings_store::{Store, StoreError};

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
    /// It needs no other service: all data is in the data directory. The first start creates the workspace `default`, a user
    /// who owns it, and an API key for it. Password and key are generated unless they are configured, and printed if standard
    /// output is a terminal; otherwise they are written to the files initial-password and initial-api-key in the data
    /// directory, which only the service's user can read. On SIGTERM or Ctrl-C the service finishes requests and deliveries in
    /// flight, and then exits.
    Serve(ServeArgs),
    /// Validate the configuration as `serve` reads it, and print the settings without secrets. Changes nothing.
    CheckConfig(ServeArgs),
    /// Manage workspaces (tenants), their members and API keys. A running server sees changes within seconds.
    #[command(subcommand)]
    Workspace(WorkspaceCommand),
    /// Manage the users of the instance. A running server sees changes at once.
    #[command(subcommand)]
    User(UserCommand),
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
        /// Email of the user who owns it.
        #[arg(long, value_name = "EMAIL")]
        owner: Option<String>,
        #[command(flatten)]
        overrides: Overrides,
    },
    /// Create another API key of a workspace. The key is printed now and cannot be shown again.
    NewKey {
        /// Name of the workspace.
        slug: String,
        /// Name of the key.
        #[arg(long, default_value = "new key")]
        name: String,
        /// The key only reads and simulates.
        #[arg(long)]
        read_only: bool,
        /// How long the key works, such as 12h, 90d or 1y [default: until it is revoked].
        #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
        expires_in: Option<Duration>,
        #[command(flatten)]
        overrides: Overrides,
    },
    /// Make a user a member of a workspace.
    AddMember {
        /// Name of the workspace.
        slug: String,
        /// Email of the user.
        email: String,
        /// What the user is there: owner, admin, member or viewer.
        #[arg(long, default_value = "member", value_parser = parse_role)]
        role: Role,
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
    /// List workspaces and their API keys: names, ids and times, not the keys themselves.
    List {
        #[command(flatten)]
        overrides: Overrides,
    },
}

#[derive(Debug, Subcommand)]
enum UserCommand {
    /// Create a user. The password is asked for on a terminal, or read as a line of standard input.
    ///
    /// The first user of a store operates the instance and, without --workspace, owns all workspaces.
    Create {
        /// What the user signs in with.
        email: String,
        /// Display name [default: the email up to the @].
        #[arg(long)]
        name: Option<String>,
        /// The user makes, lists and suspends workspaces.
        #[arg(long)]
        operator: bool,
        /// Name of a workspace that the user becomes a member of.
        #[arg(long, value_name = "SLUG")]
        workspace: Option<String>,
        /// What the user is in that workspace: owner, admin, member or viewer.
        #[arg(long, default_value = "member", value_parser = parse_role, requires = "workspace")]
        role: Role,
        /// Generate the password and print it.
        #[arg(long)]
        generate: bool,
        #[command(flatten)]
        overrides: Overrides,
    },
    /// Set the password of a user, who is signed out everywhere. It is asked for on a terminal, or read as a line of standard
    /// input.
    Password {
        /// What the user signs in with.
        email: String,
        /// Generate the password and print it.
        #[arg(long)]
        generate: bool,
        #[command(flatten)]
        overrides: Overrides,
    },
    /// List the users and what they are in which workspaces.
    List {
        #[command(flatten)]
        overrides: Overrides,
    },
}

fn parse_role(text: &str) -> Result<Role> {
    Role::parse(text).ok_or_else(|| anyhow!("is not owner, admin, member or viewer"))
}

/// A number with a unit: minutes, hours, days, weeks or years of 365 days.
fn parse_duration(text: &str) -> Result<Duration> {
    let invalid = || anyhow!("is not a duration, such as 12h, 90d or 1y");
    let (unit_at, unit) = text.char_indices().next_back().ok_or_else(invalid)?;
    let number: u32 = text[..unit_at].parse().map_err(|_| invalid())?;
    let seconds = match unit {
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        'w' => 7 * 86_400,
        'y' => 365 * 86_400,
        _ => return Err(invalid()),
    };
    match u64::from(number) * seconds {
        0 => Err(invalid()),
        total if total > 100 * 365 * 86_400 => Err(anyhow!("is more than 100 years")),
        total => Ok(Duration::from_secs(total)),
    }
}

/// Runs the command.
pub(crate) fn run(cli: Cli) -> Result<()> {
    match cli.command {
        Command::Serve(args) => serve::run(&Settings::resolve(args.overrides)?),
        Command::CheckConfig(args) => {
            println!("{}", Settings::resolve(args.overrides)?);
            Ok(())
        }
        Command::Workspace(command) => run_workspace(command),
        Command::User(command) => run_user(command),
    }
}

fn run_workspace(command: WorkspaceCommand) -> Result<()> {
    match command {
        WorkspaceCommand::Create { slug, owner, overrides } => {
            workspace::create(&Settings::resolve(overrides)?, &slug, owner.as_deref())
        }
        WorkspaceCommand::NewKey { slug, name, read_only, expires_in, overrides } => {
            let creation = workspace::KeyCreation { slug: &slug, name: &name, read_only, expires_in };
            workspace::new_key(&Settings::resolve(overrides)?, &creation)
        }
        WorkspaceCommand::RevokeKey { slug, key_id, overrides } => {
            workspace::revoke_key(&Settings::resolve(overrides)?, &slug, &key_id)
        }
        WorkspaceCommand::AddMember { slug, email, role, overrides } => {
            workspace::add_member(&Settings::resolve(overrides)?, &slug, &email, role)
        }
        WorkspaceCommand::List { overrides } => workspace::list(&Settings::resolve(overrides)?),
    }
}

fn run_user(command: UserCommand) -> Result<()> {
    match command {
        UserCommand::Create { email, name, operator, workspace, role, generate, overrides } => {
            let creation = user::Creation {
                email: &email,
                name: name.as_deref(),
                is_operator: operator,
                workspace: workspace.as_deref(),
                role,
                generate,
            };
            user::create(&Settings::resolve(overrides)?, &creation)
        }
        UserCommand::Password { email, generate, overrides } => {
            user::set_password(&Settings::resolve(overrides)?, &email, generate)
        }
        UserCommand::List { overrides } => user::list(&Settings::resolve(overrides)?),
    }
}

/// Works on the store of the data directory: alone, or beside the server that uses it.
fn with_store(settings: &Settings, work: impl AsyncFnOnce(&dyn Store) -> Result<()>) -> Result<()> {
    let store = match SqliteStore::open(&settings.data_dir) {
        Err(StoreError::Locked(_)) => SqliteStore::open_beside(&settings.data_dir)?,
        alone => alone?,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let outcome = work(&store).await;
        store.close().await;
        outcome
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn command_line_definition_is_valid() {
        Cli::command().debug_assert();
    }

    #[test]
    fn duration_is_a_number_with_a_unit() {
        let seconds = |text| parse_duration(text).map(|span| span.as_secs()).ok();
        assert_eq!(seconds("90m"), Some(5_400));
        assert_eq!(seconds("12h"), Some(43_200));
        assert_eq!(seconds("2w"), Some(14 * 86_400));
        assert_eq!(seconds("1y"), Some(365 * 86_400));
        for text in ["", "d", "12", "0d", "-1d", "1.5d", "12 h", "101y", "1é", "99999999999h"] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }
}

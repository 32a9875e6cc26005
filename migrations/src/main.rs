//! `migrate`: moves the schema of the database, as the role that owns it.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use service::settings::{Database, Environment, Reader};

mod commands;

/// Moves the schema of the database
#[derive(Parser)]
#[command(name = "migrate", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Apply what is pending; several at once wait for each other
    Run {
        /// How long to wait for another migrator, in seconds
        #[arg(long, value_name = "SECONDS", default_value_t = 60)]
        wait: u64,
    },
    /// Show every migration and whether it is applied
    Status {
        /// As a JSON array, for programs
        #[arg(long)]
        json: bool,
    },
    /// Undo the newest applied migration, which may delete data
    Revert {
        /// Do not ask
        #[arg(long)]
        yes: bool,
        /// Name the environment; needed wherever APP_ENV is not development
        #[arg(long, value_name = "APP_ENV")]
        environment: Option<String>,
        /// How long to wait for another migrator, in seconds
        #[arg(long, value_name = "SECONDS", default_value_t = 60)]
        wait: u64,
    },
    /// Find edited, misplaced, incomplete and unknown migrations; exit code 1 when there are any
    Check,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli.command).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("migrate: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    let (database, environment) =
        Reader::from_env().read(|reader| (Database::read(reader), Environment::read(reader)))?;
    let conn = commands::connect(&database).await?;
    match command {
        Command::Run { wait } => commands::run(conn, wait).await,
        Command::Status { json } => commands::status(conn, json).await,
        Command::Revert {
            yes,
            environment: named,
            wait,
        } => {
            let consent = commands::Consent {
                yes,
                named,
                environment,
            };
            commands::revert(conn, &database.name, &consent, wait).await
        }
        Command::Check => commands::check(conn).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}

//! `api admin`: who is an admin, for whoever has the service's own settings.

use anyhow::Context;
use clap::Subcommand;
use domain::accounts::{self, Email, RoleError};
use service::{
    database,
    settings::{Database, Reader, Telemetry},
    telemetry,
};

/// One verb each.
#[derive(Subcommand)]
pub(super) enum Admin {
    /// Make the account with this address an admin; it must be verified
    Grant {
        /// The address
        email: String,
    },
    /// Make it a member again
    Revoke {
        /// The address
        email: String,
        /// Even if nobody is left who is an admin
        #[arg(long)]
        force: bool,
    },
    /// Who is an admin: id and address, in a line each
    List,
}

/// Does what was asked for.
///
/// # Errors
/// When there is no such account, it may not be changed, or Postgres does not answer.
#[tokio::main(flavor = "current_thread")]
pub(super) async fn run(admin: Admin) -> anyhow::Result<()> {
    let (database, telemetry) =
        Reader::from_env().read(|reader| (Database::read(reader), Telemetry::read(reader)))?;
    telemetry::init(&telemetry);
    let pool = database::pool(&database, database::Returns::Asked);
    match admin {
        Admin::Grant { email } => {
            let email = parse(&email)?;
            let id = accounts::grant_admin(&pool, &email).await.map_err(told)?;
            tracing::warn!(account.id = %id, "is an admin now");
            println!("{} is an admin", email.as_str());
        }
        Admin::Revoke { email, force } => {
            let email = parse(&email)?;
            let revoked = accounts::revoke_admin(&pool, &email, force).await;
            let id = revoked.map_err(told)?;
            tracing::warn!(account.id = %id, "is a member now");
            println!("{} is a member", email.as_str());
        }
        Admin::List => {
            for admin in accounts::admins(&pool).await? {
                println!("{} {}", admin.id, admin.email);
            }
        }
    }
    Ok(())
}

fn parse(email: &str) -> anyhow::Result<Email> {
    Email::parse(email).with_context(|| format!("{email:?} is no address"))
}

/// With what to do about it.
fn told(error: RoleError) -> anyhow::Error {
    let remedy = match &error {
        RoleError::Unknown => "sign up with it first",
        RoleError::Unverified => "follow the link in its mail first",
        RoleError::LastAdmin => "grant it to another account first, or add --force",
        RoleError::Internal(_) => return error.into(),
    };
    anyhow::anyhow!("{error}: {remedy}")
}

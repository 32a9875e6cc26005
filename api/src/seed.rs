//! `api seed`: demo data for development.

use anyhow::bail;
use domain::seed::{PASSWORD, seed};
use domain::webhooks::Keys;
use service::{
    database,
    settings::{Database, Environment, Http, Reader, Telemetry, Webhooks},
    telemetry,
};

/// Makes what is not there yet, and says how to use it.
///
/// # Errors
/// Outside of development, and when Postgres does not answer.
#[tokio::main(flavor = "current_thread")]
pub(super) async fn run() -> anyhow::Result<()> {
    // First of all, and before any setting that could be wrong is the reason.
    let environment = Reader::from_env().read(Environment::read)?;
    if environment != Environment::Development {
        bail!("demo data has a password that everybody knows: it is for development alone");
    }
    let (settings, http, webhooks, logs) = Reader::from_env().read(|reader| {
        (
            Database::read(reader),
            Http::read(reader, environment),
            Webhooks::read(reader, environment),
            Telemetry::read(reader),
        )
    })?;
    telemetry::init(&logs);
    let pool = database::pool(&settings, database::Returns::Asked);
    let accounts = seed(&pool, &Keys::new(&webhooks.keys)).await?;
    println!("{:<20} {:<7} password", "account", "role");
    for account in &accounts {
        let password = if account.found {
            "(as it was)"
        } else {
            PASSWORD
        };
        println!(
            "{:<20} {:<7} {password}",
            account.email,
            account.role.as_str()
        );
    }
    println!(
        "\nlog in:\n  curl {}/v1/sessions -H 'content-type: application/json' \\\n       \
         -d '{{\"email\": \"{}\", \"password\": \"{PASSWORD}\"}}'",
        http.public_url, accounts[1].email,
    );
    Ok(())
}

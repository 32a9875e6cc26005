//! The database's schema as a row of files, and how a service asks for its version.
//!
//! A schema change is a pair of files in this folder, `<timestamp>_<name>.up.sql` and
//! `.down.sql`; `cargo xtask migrate new NAME` makes the pair. They are compiled into the binary
//! `migrate`, which alone applies them, as the role that owns the schema. The services run as a
//! role that may only read and write rows: they never migrate, they wait until the schema is at
//! least as new as the code ([`wait_until_current`]) and say so in their readiness.
//!
//! To change the schema, you
//! 1. run `cargo xtask migrate new add_nickname` and write the two files; the header of the first
//!    migration holds the rules;
//! 2. run `cargo xtask migrate`, then change the queries and run `cargo xtask db prepare`;
//! 3. commit the files together with `.sqlx/`.

use std::time::Duration;

use sqlx::PgPool;
use sqlx::migrate::Migrator;
use tokio_util::sync::CancellationToken;

pub mod ledger;
pub mod plan;
#[cfg(feature = "testing")]
pub mod testing;

/// Every migration, compiled in.
// The macro refuses a bare ".".
pub static MIGRATOR: Migrator = sqlx::migrate!("../migrations");

/// How often [`wait_until_current`] looks.
const POLL: Duration = Duration::from_millis(500);

/// The schema version that this code was built for: its newest migration.
pub fn expected_version() -> i64 {
    MIGRATOR
        .iter()
        .map(|migration| migration.version)
        .max()
        .unwrap_or_default()
}

/// The newest version applied to the database; `None` when nothing was applied.
///
/// # Errors
/// When the database cannot be asked.
pub async fn applied_version(pool: &PgPool) -> Result<Option<i64>, sqlx::Error> {
    let newest = sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations WHERE success")
        .fetch_one(pool)
        .await;
    match newest {
        Err(error) if ledger::is_missing(&error) => Ok(None),
        other => other,
    }
}

/// Why the schema does not fit the code. The text may be shown in a readiness probe.
#[derive(Debug, thiserror::Error)]
pub enum NotCurrent {
    /// Migrations are pending.
    #[error("the schema is at version {applied}, {expected} is needed: run `migrate run`")]
    Behind {
        /// The newest applied version.
        applied: i64,
        /// What the code expects.
        expected: i64,
    },
    /// Nothing was ever applied.
    #[error("there is no schema yet: run `migrate run`")]
    Empty,
    /// The database could not be asked.
    #[error("does not answer")]
    Away(#[from] sqlx::Error),
}

/// Checks that the schema is at least as new as the code expects.
///
/// A newer one is fine: during a deployment the old release runs on it for a while.
///
/// # Errors
/// When it is older, or the database cannot be asked.
pub async fn check_current(pool: &PgPool) -> Result<i64, NotCurrent> {
    let expected = expected_version();
    match applied_version(pool).await? {
        Some(applied) if applied >= expected => Ok(applied),
        Some(applied) => Err(NotCurrent::Behind { applied, expected }),
        None => Err(NotCurrent::Empty),
    }
}

/// Waits until [`check_current`] succeeds, also for a database that is away.
///
/// Returns `false` when `cancel` fired first.
pub async fn wait_until_current(pool: &PgPool, cancel: &CancellationToken) -> bool {
    let mut said = None;
    loop {
        let reason = match check_current(pool).await {
            Ok(applied) => {
                tracing::info!(schema.version = applied, "the schema is current");
                return true;
            }
            Err(NotCurrent::Away(error)) => format!("the database does not answer: {error}"),
            Err(behind) => behind.to_string(),
        };
        // Once per reason, not once per look.
        if said.as_ref() != Some(&reason) {
            tracing::warn!("waiting for the database: {reason}");
            said = Some(reason);
        }
        tokio::select! {
            () = cancel.cancelled() => return false,
            () = tokio::time::sleep(POLL) => {}
        }
    }
}

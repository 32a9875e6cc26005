//! The verbs. What a person should read goes to standard output.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use migrations::plan::{self, State};
use migrations::{MIGRATOR, ledger};
use secrecy::ExposeSecret as _;
use service::settings::{Database, Environment};
use sqlx::migrate::{Migrate as _, Migration};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions as _, Connection as _};
use time::macros::format_description;

/// Held by the one migrator that may work on a database.
const LOCK: i64 = 0x736c_6970_7761_7900;

/// How long a statement of a migration waits for a lock on a table. While it waits, every query
/// behind it waits too, so it gives up before the services' requests time out.
const LOCK_TIMEOUT: &str = "SET lock_timeout = '5s'";

/// Building an index concurrently waits for old transactions by design, and blocks nobody.
const NO_LOCK_TIMEOUT: &str = "SET lock_timeout = 0";

/// What allows `revert` to go on.
pub(crate) struct Consent {
    /// `--yes`.
    pub(crate) yes: bool,
    /// `--environment`.
    pub(crate) named: Option<String>,
    /// `APP_ENV`.
    pub(crate) environment: Environment,
}

/// A direct connection: the lock lives as long as its session, which a pooler would not keep.
pub(crate) async fn connect(database: &Database) -> anyhow::Result<PgConnection> {
    let options = PgConnectOptions::new_without_pgpass()
        .host(&database.host)
        .port(database.port)
        .database(&database.name)
        .username(&database.user)
        .password(database.password.expose_secret())
        .application_name("migrate");
    let connecting = tokio::time::timeout(Duration::from_secs(10), options.connect());
    let conn = connecting
        .await
        .map_err(anyhow::Error::from)
        .and_then(|conn| Ok(conn?));
    conn.with_context(|| {
        let Database {
            host,
            port,
            name,
            user,
            ..
        } = database;
        format!("cannot connect to database {name} on {host}:{port} as {user}")
    })
}

pub(crate) async fn run(mut conn: PgConnection, wait: u64) -> anyhow::Result<ExitCode> {
    lock(&mut conn, wait).await?;
    conn.ensure_migrations_table(&MIGRATOR.table_name).await?;
    ledger::protect(&mut conn).await?;
    let applied = ledger::applied(&mut conn).await?;
    let newest = applied.last().map_or(0, |row| row.version);

    let mut pending = Vec::new();
    for migration in plan::ups(&MIGRATOR.migrations) {
        match applied.iter().find(|row| row.version == migration.version) {
            None if migration.version < newest => bail!(
                "{} is pending, but the newer {newest} is applied: run `migrate check`",
                title(migration)
            ),
            None => pending.push(migration),
            Some(row) if row.checksum != *migration.checksum => bail!(
                "{} was edited after it was applied: run `migrate check`",
                title(migration)
            ),
            Some(_) => {}
        }
    }
    if pending.is_empty() {
        println!("up to date: {} migrations are applied", applied.len());
    }
    for migration in pending {
        let took = apply(&mut conn, migration).await?;
        println!(
            "applied {} in {:.2} s",
            title(migration),
            took.as_secs_f64()
        );
    }
    end(conn).await?;
    Ok(ExitCode::SUCCESS)
}

async fn apply(conn: &mut PgConnection, migration: &Migration) -> anyhow::Result<Duration> {
    lock_timeout(conn, migration).await?;
    let took = conn.apply(&MIGRATOR.table_name, migration).await;
    took.with_context(|| failed(migration))
}

/// What a failed migration leaves behind.
fn failed(migration: &Migration) -> String {
    let title = title(migration);
    if migration.no_tx {
        format!(
            "{title} failed and was not rolled back, for it runs without a transaction: remove \
             what it left behind (an index that is INVALID, say) before you run it again"
        )
    } else {
        format!("{title} failed and was rolled back")
    }
}

pub(crate) async fn status(mut conn: PgConnection, json: bool) -> anyhow::Result<ExitCode> {
    let lines = plan::lines(&MIGRATOR.migrations, &ledger::applied(&mut conn).await?);
    if json {
        println!("{}", serde_json::to_string_pretty(&lines)?);
        return Ok(ExitCode::SUCCESS);
    }
    let width = lines
        .iter()
        .map(|line| line.name.len())
        .max()
        .unwrap_or(0)
        .max(4);
    let minutes = format_description!("[year]-[month]-[day] [hour]:[minute] UTC");
    println!(
        "{:<14}  {:<width$}  {:<7}  APPLIED AT",
        "VERSION", "NAME", "STATE"
    );
    for line in lines {
        let state = match line.state {
            State::Pending => "pending",
            State::Applied => "applied",
            State::Edited => "edited",
            State::Unknown => "unknown",
        };
        let at = line
            .applied_at
            .map_or(Ok("-".to_owned()), |at| at.format(minutes))?;
        println!(
            "{:<14}  {:<width$}  {state:<7}  {at}",
            line.version, line.name
        );
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn revert(
    mut conn: PgConnection,
    database: &str,
    consent: &Consent,
    wait: u64,
) -> anyhow::Result<ExitCode> {
    consent.check_environment()?;
    lock(&mut conn, wait).await?;
    let Some(newest) = ledger::applied(&mut conn).await?.pop() else {
        println!("nothing to revert: no migration is applied");
        return Ok(ExitCode::SUCCESS);
    };
    let down = MIGRATOR
        .iter()
        .find(|file| file.version == newest.version && file.migration_type.is_down_migration())
        .with_context(|| {
            let (version, name) = (newest.version, &newest.description);
            format!("this binary has no down file for {version} {name}, the newest applied one")
        })?;
    if !consent.given(&title(down), database)? {
        println!("nothing was changed");
        return Ok(ExitCode::FAILURE);
    }
    lock_timeout(&mut conn, down).await?;
    let took = conn.revert(&MIGRATOR.table_name, down).await;
    let took = took.with_context(|| format!("reverting {} failed", title(down)))?;
    println!("reverted {} in {:.2} s", title(down), took.as_secs_f64());
    end(conn).await?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn check(mut conn: PgConnection) -> anyhow::Result<ExitCode> {
    let findings = plan::findings(&MIGRATOR.migrations, &ledger::applied(&mut conn).await?);
    for finding in &findings {
        println!("{finding}");
    }
    if findings.is_empty() {
        println!(
            "ok: {} migrations checked",
            plan::ups(&MIGRATOR.migrations).count()
        );
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::FAILURE)
}

impl Consent {
    fn check_environment(&self) -> anyhow::Result<()> {
        let environment = match self.environment {
            Environment::Development => return Ok(()),
            Environment::Staging => "staging",
            Environment::Production => "production",
        };
        if self.named.as_deref() == Some(environment) {
            return Ok(());
        }
        bail!(
            "APP_ENV is {environment}, where a revert may delete data for good; \
             if you mean it, add `--environment {environment}`"
        )
    }

    fn given(&self, migration: &str, database: &str) -> anyhow::Result<bool> {
        if self.yes {
            return Ok(true);
        }
        if !std::io::stdin().is_terminal() {
            bail!("reverting {migration} may delete data; without a terminal to ask on, add --yes");
        }
        print!("Revert {migration} in database {database}? This may delete data. [y/N] ");
        std::io::stdout().flush()?;
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer)?;
        Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
    }
}

/// Becomes the only migrator of this database until the connection ends.
///
/// It asks again and again instead of waiting in one statement: a waiting statement holds a
/// snapshot, and `CREATE INDEX CONCURRENTLY` of the other migrator would wait for that.
async fn lock(conn: &mut PgConnection, wait: u64) -> anyhow::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(wait);
    let mut said = false;
    loop {
        let got: bool = sqlx::query_scalar("SELECT pg_try_advisory_lock($1)")
            .bind(LOCK)
            .fetch_one(&mut *conn)
            .await?;
        if got {
            return Ok(());
        }
        if Instant::now() >= deadline {
            bail!("another migrator still works on this database after {wait} s; nothing was done");
        }
        if !said {
            println!("another migrator works on this database; waiting for it, at most {wait} s");
            said = true;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Lets the next migrator begin at once: the server would give up the lock of a closed
/// connection some time after this process has ended.
async fn end(mut conn: PgConnection) -> sqlx::Result<()> {
    sqlx::query("SELECT pg_advisory_unlock($1)")
        .bind(LOCK)
        .execute(&mut conn)
        .await?;
    conn.close().await
}

async fn lock_timeout(conn: &mut PgConnection, migration: &Migration) -> sqlx::Result<()> {
    let setting = if migration.no_tx {
        NO_LOCK_TIMEOUT
    } else {
        LOCK_TIMEOUT
    };
    sqlx::raw_sql(setting).execute(conn).await?;
    Ok(())
}

fn title(migration: &Migration) -> String {
    format!("{} {}", migration.version, migration.description)
}

#[cfg(test)]
mod tests {
    use sqlx::SqlSafeStr as _;
    use sqlx::migrate::MigrationType;

    use super::*;

    #[test]
    fn only_what_ran_in_a_transaction_is_said_to_be_rolled_back() {
        let failed = |no_tx| {
            let sql = "SELECT 1".into_sql_str();
            let kind = MigrationType::ReversibleUp;
            failed(&Migration::new(7, "seven".into(), kind, sql, no_tx))
        };
        assert_eq!(failed(false), "7 seven failed and was rolled back");
        assert!(failed(true).starts_with("7 seven failed and was not rolled back"));
    }
}

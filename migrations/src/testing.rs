//! A database per test, copied from a migrated template.
//!
//! The template is made once per set of migrations and server, so a test's own database costs
//! one `CREATE DATABASE … TEMPLATE`.

use std::str::FromStr as _;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection, PgPool};
use uuid::Uuid;

use crate::MIGRATOR;

/// A password for servers that ask for none: the settings do, and refuse a bad one.
pub const FILLER: &str = "k3Vx8aPq0ZtR5mWy";

/// Held while the template is looked for and made, so that parallel tests make it once.
const TEMPLATE_LOCK: i64 = 0x736c_6970_7761_7901;

/// A migrated database of its own for one test, dropped with this value.
#[derive(Debug)]
pub struct TestDatabase {
    /// Connected as the owner of everything.
    pub pool: PgPool,
    /// How to connect, for a second pool or a binary's settings.
    pub options: PgConnectOptions,
    server: PgConnectOptions,
}

impl TestDatabase {
    /// The database's name.
    pub fn name(&self) -> &str {
        self.options.get_database().unwrap_or_default()
    }

    /// The settings with which a binary connects to it.
    pub fn env(&self) -> [(&'static str, String); 5] {
        [
            ("DATABASE_HOST", self.options.get_host().to_owned()),
            ("DATABASE_PORT", self.options.get_port().to_string()),
            ("DATABASE_NAME", self.name().to_owned()),
            ("DATABASE_USER", self.options.get_username().to_owned()),
            (
                "DATABASE_PASSWORD",
                password(&url()).unwrap_or(FILLER).to_owned(),
            ),
        ]
    }
}

/// Makes a database with the current schema.
///
/// # Panics
/// When `TEST_DATABASE_URL` is not set or the server does not answer.
pub async fn database() -> TestDatabase {
    let server = server();
    let mut conn = server.connect().await.expect("TEST_DATABASE_URL answers");
    let template = template(&mut conn, &server).await;
    let name = format!("test_{}", Uuid::now_v7().simple());
    run(
        &mut conn,
        format!("CREATE DATABASE {name} TEMPLATE {template}"),
    )
    .await;
    test_database(server, &name)
}

/// Makes a database without any schema, for tests of the migrations themselves.
///
/// # Panics
/// As [`database`].
pub async fn empty_database() -> TestDatabase {
    let server = server();
    let mut conn = server.connect().await.expect("TEST_DATABASE_URL answers");
    let name = format!("test_{}", Uuid::now_v7().simple());
    run(&mut conn, format!("CREATE DATABASE {name}")).await;
    test_database(server, &name)
}

fn test_database(server: PgConnectOptions, name: &str) -> TestDatabase {
    let options = server.clone().database(name);
    let pool = PgPoolOptions::new()
        .max_connections(8)
        .connect_lazy_with(options.clone());
    TestDatabase {
        pool,
        options,
        server,
    }
}

fn server() -> PgConnectOptions {
    PgConnectOptions::from_str(&url()).expect("TEST_DATABASE_URL is a postgres:// URL")
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test's server is no setting of a service"
)]
fn url() -> String {
    std::env::var("TEST_DATABASE_URL").expect(
        "TEST_DATABASE_URL is not set: run the tests with `cargo xtask test`, which starts \
         throw-away servers",
    )
}

/// The password in `scheme://user:password@host`.
fn password(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let (login, _) = rest.rsplit_once('@')?;
    login.split_once(':').map(|(_, password)| password)
}

/// The name of the migrated template, made if it is not there.
async fn template(conn: &mut PgConnection, server: &PgConnectOptions) -> String {
    let name = format!("template_{}", fingerprint());
    lock(conn).await;
    let exists: bool =
        sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)")
            .bind(&name)
            .fetch_one(&mut *conn)
            .await
            .expect("the list of databases");
    if !exists {
        // Under another name until it is whole: a killed test run must not leave half a template.
        let draft = format!("draft_{}", Uuid::now_v7().simple());
        run(conn, format!("CREATE DATABASE {draft}")).await;
        let mut inside = server
            .clone()
            .database(&draft)
            .connect()
            .await
            .expect("the draft");
        MIGRATOR
            .run(&mut inside)
            .await
            .expect("the migrations apply");
        inside.close().await.expect("the draft closes");
        run(conn, format!("ALTER DATABASE {draft} RENAME TO {name}")).await;
    }
    unlock(conn).await;
    name
}

/// Changes with every edit of a migration.
fn fingerprint() -> String {
    let mut all = Vec::new();
    for migration in MIGRATOR.iter() {
        all.extend_from_slice(&migration.checksum);
    }
    Uuid::new_v5(&Uuid::NAMESPACE_OID, &all)
        .simple()
        .to_string()
}

/// Polls instead of waiting in the lock: a session that waits inside a statement holds a snapshot.
async fn lock(conn: &mut PgConnection) {
    loop {
        let got: bool = sqlx::query_scalar("SELECT pg_try_advisory_lock($1)")
            .bind(TEMPLATE_LOCK)
            .fetch_one(&mut *conn)
            .await
            .expect("the template's lock");
        if got {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

async fn unlock(conn: &mut PgConnection) {
    sqlx::query("SELECT pg_advisory_unlock($1)")
        .bind(TEMPLATE_LOCK)
        .execute(conn)
        .await
        .expect("the template's lock");
}

async fn run(conn: &mut PgConnection, statement: String) {
    sqlx::query(AssertSqlSafe(statement.clone()))
        .execute(conn)
        .await
        .unwrap_or_else(|error| panic!("{statement}: {error}"));
}

impl Drop for TestDatabase {
    /// Drops the database, also when the test failed, and waits for it.
    fn drop(&mut self) {
        let server = self.server.clone();
        let statement = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name());
        // A thread of its own: the test's runtime may be the one that is blocked here.
        let dropped = std::thread::spawn(move || {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?
                .block_on(async {
                    let mut conn = server.connect().await.map_err(std::io::Error::other)?;
                    sqlx::query(AssertSqlSafe(statement))
                        .execute(&mut conn)
                        .await
                        .map_err(std::io::Error::other)?;
                    Ok::<(), std::io::Error>(())
                })
        })
        .join();
        if !matches!(dropped, Ok(Ok(()))) {
            eprintln!(
                "could not drop the test database {}: {dropped:?}",
                self.name()
            );
        }
    }
}

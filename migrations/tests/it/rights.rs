//! The owner may change the schema, the services' role may read and write rows and nothing else.

use std::process::Command;

use migrations::testing::{FILLER, TestDatabase, empty_database};
use sqlx::error::DatabaseError;
use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, PgPool};
use uuid::Uuid;

/// An owner and an app role, set up as `docker/postgres/` does it.
struct Roles {
    database: TestDatabase,
    owner: String,
    app: String,
}

impl Roles {
    async fn make() -> Self {
        let database = empty_database().await;
        let suffix = Uuid::now_v7().simple();
        let (owner, app) = (format!("owner_{suffix}"), format!("app_{suffix}"));
        let name = database.name();
        let statements = format!(
            "CREATE ROLE {owner} LOGIN PASSWORD '{FILLER}';
             CREATE ROLE {app} LOGIN PASSWORD '{FILLER}';
             ALTER DATABASE {name} OWNER TO {owner};
             REVOKE ALL ON DATABASE {name} FROM PUBLIC;
             GRANT CONNECT ON DATABASE {name} TO {app};
             ALTER SCHEMA public OWNER TO {owner};
             REVOKE ALL ON SCHEMA public FROM PUBLIC;
             GRANT USAGE ON SCHEMA public TO {app};
             ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA public
               GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {app};
             ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA public
               GRANT USAGE, SELECT ON SEQUENCES TO {app};"
        );
        sqlx::raw_sql(AssertSqlSafe(statements))
            .execute(&database.pool)
            .await
            .unwrap();
        Self {
            database,
            owner,
            app,
        }
    }

    fn pool(&self, role: &str) -> PgPool {
        PgPoolOptions::new().max_connections(1).connect_lazy_with(
            self.database
                .options
                .clone()
                .username(role)
                .password(FILLER),
        )
    }

    /// Roles belong to the server, not to the test's database.
    async fn drop(self) {
        let Self {
            database,
            owner,
            app,
        } = self;
        let statements = format!(
            "REASSIGN OWNED BY {owner} TO CURRENT_USER; DROP OWNED BY {app};
             DROP OWNED BY {owner}; DROP ROLE {owner}, {app};"
        );
        sqlx::raw_sql(AssertSqlSafe(statements))
            .execute(&database.pool)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn the_app_role_may_touch_rows_and_nothing_else() {
    let roles = Roles::make().await;
    let run = Command::new(env!("CARGO_BIN_EXE_migrate"))
        .arg("run")
        .env_clear()
        .envs(roles.database.env())
        .env("DATABASE_USER", &roles.owner)
        .env("DATABASE_PASSWORD", FILLER)
        .output()
        .unwrap();
    assert!(run.status.success(), "{run:?}");

    let app = roles.pool(&roles.app);
    for allowed in [
        "INSERT INTO accounts (id, email, email_key)
         VALUES (gen_random_uuid(), 'Ada@example.com', 'ada@example.com')",
        "SELECT * FROM accounts",
        "UPDATE accounts SET verified_at = now(), password_hash = '$argon2id$x'",
        "DELETE FROM accounts",
        "SELECT * FROM job_outbox FOR UPDATE",
        "INSERT INTO job_done VALUES (gen_random_uuid())",
        "DELETE FROM job_done",
        // The services compare the version with what they expect.
        "SELECT max(version) FROM _sqlx_migrations",
    ] {
        sqlx::raw_sql(allowed)
            .execute(&app)
            .await
            .unwrap_or_else(|e| panic!("{allowed}: {e}"));
    }
    for forbidden in [
        "CREATE TABLE mine (id int)",
        "CREATE SCHEMA mine",
        "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE TEMPORARY TABLE mine (id int)",
        "CREATE INDEX mine ON accounts (role)",
        "ALTER TABLE accounts ADD COLUMN mine int",
        "DROP TABLE accounts",
        "TRUNCATE accounts",
        "INSERT INTO _sqlx_migrations VALUES (1, 'mine', now(), true, '', 0)",
        "UPDATE _sqlx_migrations SET checksum = ''",
        "DELETE FROM _sqlx_migrations",
        "TRUNCATE _sqlx_migrations",
        "CREATE ROLE mine",
    ] {
        let error = sqlx::raw_sql(forbidden)
            .execute(&app)
            .await
            .expect_err(forbidden);
        let code = error
            .as_database_error()
            .and_then(DatabaseError::code)
            .unwrap()
            .into_owned();
        assert_eq!(code, "42501", "{forbidden}: {error}"); // insufficient_privilege
    }
    app.close().await;
    roles.drop().await;
}

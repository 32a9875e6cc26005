//! `_sqlx_migrations`: the table in which a database remembers what was applied to it.
//!
//! Its statements are checked when they run, not when they compile: the crate that makes the
//! schema has to build before there is one.

use sqlx::PgConnection;
use sqlx::error::DatabaseError;
use time::OffsetDateTime;

/// One applied migration.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Applied {
    /// The timestamp at the start of the file's name.
    pub version: i64,
    /// The rest of the file's name, with spaces.
    pub description: String,
    /// When it was applied.
    pub installed_on: OffsetDateTime,
    /// SHA-384 of the file as it was applied.
    pub checksum: Vec<u8>,
    /// Nanoseconds it took; negative when nobody lived to note it.
    pub execution_time: i64,
}

/// Everything applied, oldest first; empty when the table does not exist yet.
///
/// # Errors
/// When the database cannot be asked.
pub async fn applied(conn: &mut PgConnection) -> Result<Vec<Applied>, sqlx::Error> {
    let rows = sqlx::query_as(
        "SELECT version, description, installed_on, checksum, execution_time
         FROM _sqlx_migrations WHERE success ORDER BY version",
    )
    .fetch_all(conn)
    .await;
    match rows {
        Err(error) if is_missing(&error) => Ok(Vec::new()),
        other => other,
    }
}

/// Takes the right to write the table from every role but its owner.
///
/// New tables come with the default privileges of the services' role, which may write rows; this
/// one must not be written by a service.
///
/// # Errors
/// When the database cannot be asked or the role does not own the table.
pub async fn protect(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(
        "DO $$
         DECLARE
             other text;
         BEGIN
             FOR other IN
                 SELECT DISTINCT CASE grantee WHEN 0 THEN 'PUBLIC'
                                 ELSE quote_ident(pg_get_userbyid(grantee)) END
                 FROM pg_class, aclexplode(relacl)
                 WHERE pg_class.oid = '_sqlx_migrations'::regclass
                   AND grantee <> relowner AND privilege_type <> 'SELECT'
             LOOP
                 EXECUTE format('REVOKE INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER'
                                ' ON _sqlx_migrations FROM %s', other);
             END LOOP;
         END $$",
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Whether `error` says that the table is not there (SQLSTATE 42P01).
pub(crate) fn is_missing(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .and_then(DatabaseError::code)
        .is_some_and(|code| code == "42P01")
}

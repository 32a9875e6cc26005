//! The pool of connections to Postgres.

use std::time::Duration;

use secrecy::ExposeSecret;
use sqlx::{
    Connection, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions, PgSslMode},
};

use crate::{settings::Database, shutdown::Shutdown, telemetry::chain};

/// How long a caller waits for a connection before it hears that there is none.
pub const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);

/// A connection that was idle for less than this is trusted without a ping.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);

/// How long a connection may take to answer a ping before it counts as lost.
///
/// A server that vanishes without a word (a host that is cut off, a firewall that forgets) is
/// noticed by nothing else for minutes. Less than [`ACQUIRE_TIMEOUT`], so that whoever waits for
/// the connection still gets a new one.
const PING_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a statement may run. Nobody waits for it after that: requests are given up earlier.
const STATEMENT_TIMEOUT: &str = "15s";

/// How long a transaction may wait for its next statement while it holds its locks.
const IDLE_TRANSACTION_TIMEOUT: &str = "30s";

/// A pool for these settings. It connects when it is first used, and again after a loss.
///
/// sqlx would ping before every use, which costs each query a second round trip. Here only a
/// connection that was idle for a second is asked; one that breaks within it fails its query.
///
/// The time limits go along with the log-in. A pooler in front of Postgres may refuse that
/// (PgBouncer does, unless its `ignore_startup_parameters` names `options`): there, set them for
/// the role, by `ALTER ROLE … SET statement_timeout`.
pub fn pool(settings: &Database) -> PgPool {
    let options = PgConnectOptions::new_without_pgpass()
        .host(&settings.host)
        .port(settings.port)
        .database(&settings.name)
        .username(&settings.user)
        .password(settings.password.expose_secret())
        .ssl_mode(PgSslMode::Prefer)
        .options([
            ("statement_timeout", STATEMENT_TIMEOUT),
            (
                "idle_in_transaction_session_timeout",
                IDLE_TRANSACTION_TIMEOUT,
            ),
        ]);
    PgPoolOptions::new()
        .max_connections(settings.pool_size)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(false)
        .before_acquire(|connection, meta| {
            Box::pin(async move {
                if meta.idle_for > TRUSTED_IDLE {
                    ping(connection).await?;
                }
                Ok(true)
            })
        })
        // sqlx asks as well, but would wait for as long as it takes, with the connection's place
        // in the pool taken. An error drops the connection without a farewell.
        .after_release(|connection, _| {
            Box::pin(async move {
                ping(connection).await?;
                Ok(true)
            })
        })
        .connect_lazy_with(options)
}

/// Whether the server still answers on this connection; it also ends what was left half done.
async fn ping(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let answer = tokio::time::timeout(PING_TIMEOUT, connection.ping()).await;
    answer.unwrap_or_else(|_| Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())))
}

/// Closes the pool, which waits for every connection that is in use, until the hard signal.
pub async fn close(pool: &PgPool, shutdown: &Shutdown) {
    tokio::select! {
        () = pool.close() => {}
        () = shutdown.hard.cancelled() => {
            tracing::warn!("left without waiting for connections to Postgres");
        }
    }
}

/// Logs why Postgres cannot be reached, if it cannot; to be spawned at the start.
///
/// The pool goes on trying by itself, but what it says in the end is only that the time was over,
/// and not that the port is closed or the password wrong.
pub async fn announce(pool: PgPool) {
    let options = pool.connect_options();
    let connecting = PgConnection::connect_with(&options);
    let reason = match tokio::time::timeout(ACQUIRE_TIMEOUT, connecting).await {
        Ok(Ok(connection)) => {
            // It was only to see; the server notices a connection that is dropped as well.
            let _ = connection.close().await;
            return;
        }
        Ok(Err(error)) => chain(&error).to_string(),
        Err(_) => "no answer".to_owned(),
    };
    tracing::warn!(
        database.host = options.get_host(),
        database.port = options.get_port(),
        database.name = options.get_database(),
        database.user = options.get_username(),
        "Postgres cannot be reached yet: {reason}",
    );
}

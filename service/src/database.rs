//! The pool of connections to Postgres.

use std::time::Duration;

use secrecy::ExposeSecret;
use sqlx::{
    Connection, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions, PgSslMode},
};

use crate::{settings::Database, telemetry::chain};

/// How long a caller waits for a connection before it hears that there is none.
pub const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);

/// A connection that was idle for less than this is trusted without a ping.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);

/// A pool for these settings. It connects when it is first used, and again after a loss.
///
/// sqlx would ping before every use, which costs each query a second round trip. Here only a
/// connection that was idle for a second is asked; one that breaks within it fails its query.
pub fn pool(settings: &Database) -> PgPool {
    let options = PgConnectOptions::new_without_pgpass()
        .host(&settings.host)
        .port(settings.port)
        .database(&settings.name)
        .username(&settings.user)
        .password(settings.password.expose_secret())
        .ssl_mode(PgSslMode::Prefer);
    PgPoolOptions::new()
        .max_connections(settings.pool_size)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(false)
        .before_acquire(|connection, meta| {
            Box::pin(async move {
                if meta.idle_for > TRUSTED_IDLE {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        .connect_lazy_with(options)
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

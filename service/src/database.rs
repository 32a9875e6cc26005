//! The pool of connections to Postgres.

use std::{
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

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

/// For how long after some [`Work`] was given up every connection is asked that comes back.
const DOUBT: Duration = Duration::from_secs(30);

/// How long a statement may run. Nobody waits for it after that: requests are given up earlier.
const STATEMENT_TIMEOUT: &str = "15s";

/// How long a transaction may wait for its next statement while it holds its locks.
const IDLE_TRANSACTION_TIMEOUT: &str = "30s";

/// Which connections are asked, when they come back, whether they still work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Returns {
    /// All: whatever uses the pool may be given up at any time.
    Asked,
    /// None, unless something was given up lately: whatever uses the pool is [`Work`].
    Trusted,
}

/// A pool for these settings. It connects when it is first used, and again after a loss.
///
/// sqlx would ping before every use, which costs each query a second round trip. Here only a
/// connection that was idle for a second is asked; one that breaks within it fails its query.
///
/// The time limits go along with the log-in. A pooler in front of Postgres may refuse that
/// (PgBouncer does, unless its `ignore_startup_parameters` names `options`): there, set them for
/// the role, by `ALTER ROLE … SET statement_timeout`.
pub fn pool(settings: &Database, returns: Returns) -> PgPool {
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
        .after_release(move |connection, _| {
            Box::pin(async move {
                if returns == Returns::Asked || is_in_doubt() {
                    ping(connection).await?;
                }
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

/// When work was last given up, in milliseconds since [`BEGUN`]; 0 for never.
static GIVEN_UP: AtomicU64 = AtomicU64::new(0);
static BEGUN: LazyLock<Instant> = LazyLock::new(Instant::now);

fn is_in_doubt() -> bool {
    let given_up = GIVEN_UP.load(Ordering::Acquire);
    given_up != 0 && BEGUN.elapsed() < Duration::from_millis(given_up) + DOUBT
}

/// Something that uses a pool and may be given up, such as a request.
///
/// A future that is dropped in the middle of a statement gives its connection back with an answer
/// outstanding, which never comes when that is why it was dropped: such connections are asked, with
/// a time limit. Those of work that was finished need not be, which saves each of its statements a
/// round trip ([`Returns::Trusted`]).
///
/// Make it after the future, so that it is dropped before the connections in it.
#[derive(Debug)]
#[must_use = "work that is dropped at once was given up"]
pub struct Work {
    finished: bool,
}

impl Work {
    /// From now on it may be given up.
    #[expect(
        clippy::new_without_default,
        reason = "a default would be dropped unseen"
    )]
    pub fn new() -> Self {
        Self { finished: false }
    }

    /// It has come to its end, well or not.
    pub fn finish(mut self) {
        self.finished = true;
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if !self.finished {
            let now = u64::try_from(BEGUN.elapsed().as_millis()).unwrap_or(u64::MAX);
            GIVEN_UP.store(now.max(1), Ordering::Release);
        }
    }
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

//! Redis loses everything in the middle of the work, and each job still takes effect once.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use migrations::testing::database;
use outbox::{Relay, Settings};
use queue::redis::IntoConnectionInfo as _;
use queue::testing::Namespace;
use queue::{Counts, JobContext, JobError, Queue, Registry, Worker, WorkerSettings};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Count, count, until};

/// A Redis of the test's own, which it may flush.
struct OwnRedis {
    url: String,
    child: Child,
}

impl OwnRedis {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let child = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no"])
            .stdout(Stdio::null())
            .spawn()
            .expect(
                "redis-server is not in PATH: run the tests with `cargo xtask test`, \
                 or install Redis 7 or newer",
            );
        let server = Self {
            url: format!("redis://127.0.0.1:{port}"),
            child,
        };
        until("redis-server answers", async || {
            server.run("PING").await.is_ok()
        })
        .await;
        server
    }

    async fn run(&self, command: &str) -> queue::redis::RedisResult<queue::redis::Value> {
        let client = queue::redis::Client::open(self.url.as_str())?;
        let mut conn = client.get_multiplexed_async_connection().await?;
        queue::redis::cmd(command).query_async(&mut conn).await
    }
}

impl Drop for OwnRedis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The token and the effect in one transaction.
async fn effect_once(_: Count, cx: JobContext<PgPool>) -> Result<(), JobError> {
    let mut tx = cx.app.begin().await?;
    if !outbox::once(&mut tx, cx.id).await? {
        return Ok(());
    }
    tokio::time::sleep(Duration::from_millis(2)).await;
    sqlx::query("INSERT INTO ledger VALUES ($1)")
        .bind(Uuid::from(cx.id))
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(())
}

#[tokio::test]
async fn every_job_takes_effect_once_though_redis_loses_everything_twice() {
    const JOBS: i64 = 300;
    let (database, redis) = (database().await, OwnRedis::start().await);
    let pool = &database.pool;
    sqlx::raw_sql("CREATE TABLE ledger (job uuid NOT NULL)")
        .execute(pool)
        .await
        .unwrap();
    let connection = redis.url.as_str().into_connection_info().unwrap();
    let settings = queue::Settings::new(connection, queue::testing::namespace());
    let queue = Queue::connect(settings.clone()).await.unwrap();
    let namespace = Namespace::new(settings);
    let jobs: Vec<_> = (0..JOBS).map(|number| Count { number }).collect();
    outbox::enqueue_many(&mut pool.acquire().await.unwrap(), &jobs)
        .await
        .unwrap();

    // The first loss: all of them, just when Redis has taken them.
    let settings = Settings {
        poll: Duration::from_millis(50),
        sweep: Duration::from_millis(100),
        resend_after: Duration::from_millis(500),
        ..Settings::default()
    };
    let relay = Relay::with_settings(pool.clone(), queue.clone(), settings);
    assert_eq!(relay.relay_batch().await.unwrap(), 300);
    redis.run("FLUSHALL").await.unwrap();

    let (cancel, shutdown) = (CancellationToken::new(), CancellationToken::new());
    let relaying = tokio::spawn(relay.run(cancel.clone()));
    let worker = Worker::new(
        queue.clone(),
        Registry::new().register::<Count, _, _>(effect_once),
        pool.clone(),
        WorkerSettings {
            // Of the pool's connections, two are the relay's.
            concurrency: 4,
            ..WorkerSettings::default()
        },
    );
    let working = tokio::spawn(worker.run(shutdown.clone(), CancellationToken::new()));

    // The second: jobs that wait, and jobs that run.
    until("some are done", async || {
        count(&database, "SELECT count(*) FROM ledger").await >= 20
    })
    .await;
    redis.run("FLUSHALL").await.unwrap();
    let done = count(&database, "SELECT count(*) FROM ledger").await;
    assert!(done < JOBS, "there was something to lose");

    until("no token is left", async || {
        count(&database, "SELECT count(*) FROM job_outbox").await == 0
    })
    .await;
    cancel.cancel();
    relaying.await.unwrap();
    until("copies that were sent again are passed over", async || {
        queue.counts("default").await.unwrap() == Counts::default()
    })
    .await;
    shutdown.cancel();
    working.await.unwrap().unwrap();
    let effects = count(&database, "SELECT count(*) FROM ledger").await;
    let jobs = count(&database, "SELECT count(DISTINCT job) FROM ledger").await;
    assert_eq!((effects, jobs), (JOBS, JOBS));
    namespace.end().await;
}

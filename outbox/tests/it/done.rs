//! Jobs without a row in the outbox: what is done is noted, and in time forgotten.

use std::time::Duration;

use migrations::testing::{TestDatabase, database};
use outbox::{Relay, Settings};
use queue::JobId;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::redis::Redis;
use super::until;

fn some_job() -> JobId {
    Uuid::now_v7().into()
}

async fn with_ledger() -> TestDatabase {
    let database = database().await;
    sqlx::raw_sql("CREATE TABLE ledger (number bigint NOT NULL)")
        .execute(&database.pool)
        .await
        .unwrap();
    database
}

/// What a handler does: the note first, then the effect, in one transaction.
async fn handle(pool: &PgPool, id: JobId) -> bool {
    let mut tx = pool.begin().await.unwrap();
    if !outbox::mark_done(&mut tx, id).await.unwrap() {
        return false;
    }
    // Long enough for every duplicate to arrive meanwhile.
    sqlx::query("SELECT pg_sleep(0.1)")
        .execute(&mut *tx)
        .await
        .unwrap();
    sqlx::query("INSERT INTO ledger VALUES (1)")
        .execute(&mut *tx)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    true
}

async fn count(pool: &PgPool, query: &'static str) -> i64 {
    sqlx::query_scalar(query).fetch_one(pool).await.unwrap()
}

async fn note(pool: &PgPool, jobs: i32, age: &str) {
    sqlx::query(
        "INSERT INTO job_done SELECT gen_random_uuid(), now() - $2::text::interval
         FROM generate_series(1, $1)",
    )
    .bind(jobs)
    .bind(age)
    .execute(pool)
    .await
    .unwrap();
}

#[tokio::test]
async fn duplicates_at_the_same_moment_have_one_effect() {
    let (database, id) = (with_ledger().await, some_job());
    let copies: Vec<_> = (0..6)
        .map(|_| {
            let pool = database.pool.clone();
            tokio::spawn(async move { handle(&pool, id).await })
        })
        .collect();
    let mut done = 0;
    for copy in copies {
        done += u32::from(copy.await.unwrap());
    }
    let effects = count(&database.pool, "SELECT count(*) FROM ledger").await;
    assert_eq!((done, effects), (1, 1));
    assert!(!handle(&database.pool, id).await, "also later");
    assert!(handle(&database.pool, some_job()).await, "not another job");
}

#[tokio::test]
async fn who_waits_for_an_attempt_that_fails_does_the_job() {
    let (database, id) = (with_ledger().await, some_job());
    let mut tx = database.pool.begin().await.unwrap();
    assert!(outbox::mark_done(&mut tx, id).await.unwrap());
    sqlx::query("INSERT INTO ledger VALUES (1)")
        .execute(&mut *tx)
        .await
        .unwrap();
    let pool = database.pool.clone();
    let waiting = tokio::spawn(async move { handle(&pool, id).await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!waiting.is_finished(), "the first has not ended");
    // The handler failed, or its process died.
    drop(tx);
    assert!(waiting.await.unwrap());
    assert_eq!(
        count(&database.pool, "SELECT count(*) FROM ledger").await,
        1
    );
}

#[tokio::test]
async fn the_purge_takes_what_is_old_and_nothing_else() {
    let (database, redis) = (database().await, Redis::new().await);
    let settings = Settings {
        batch: 2,
        keep_done: Duration::from_secs(3600),
        ..Settings::default()
    };
    note(&database.pool, 3, "61 minutes").await;
    note(&database.pool, 4, "59 minutes").await;
    let relay = Relay::with_settings(database.pool.clone(), redis.queue.clone(), settings);
    for expected in [2, 1, 0] {
        assert_eq!(relay.purge().await.unwrap(), expected);
    }
    let left = count(&database.pool, "SELECT count(*) FROM job_done").await;
    assert_eq!(left, 4);
    redis.end(0, 0).await;
}

#[tokio::test]
async fn a_running_relay_purges_batch_after_batch() {
    let (database, redis) = (database().await, Redis::new().await);
    let settings = Settings {
        batch: 10,
        sweep: Duration::from_secs(3600),
        ..Settings::default()
    };
    note(&database.pool, 95, "31 days").await;
    note(&database.pool, 1, "29 days").await;
    let relay = Relay::with_settings(database.pool.clone(), redis.queue.clone(), settings);
    let cancel = CancellationToken::new();
    let running = tokio::spawn(relay.run(cancel.clone()));
    until("only the young one is left", async || {
        count(&database.pool, "SELECT count(*) FROM job_done").await == 1
    })
    .await;
    cancel.cancel();
    running.await.unwrap();
    redis.end(0, 0).await;
}

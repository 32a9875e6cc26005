//! The token: claim, fence and garbage collection in one row.

use migrations::testing::{TestDatabase, database};
use queue::JobId;
use sqlx::PgPool;

use super::Count;

/// A job whose effect is one more row in a ledger.
async fn with_ledger() -> (TestDatabase, JobId) {
    let database = database().await;
    sqlx::raw_sql("CREATE TABLE ledger (number bigint NOT NULL)")
        .execute(&database.pool)
        .await
        .unwrap();
    let mut conn = database.pool.acquire().await.unwrap();
    let id = outbox::enqueue(&mut conn, &Count { number: 1 })
        .await
        .unwrap();
    (database, id)
}

/// What a handler does: the token first, then the effect, in one transaction.
async fn handle(pool: &PgPool, id: JobId) -> bool {
    let mut tx = pool.begin().await.unwrap();
    if !outbox::once(&mut tx, id).await.unwrap() {
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

async fn effects(pool: &PgPool) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM ledger")
        .fetch_one(pool)
        .await
        .unwrap()
}

#[tokio::test]
async fn duplicates_at_the_same_moment_have_one_effect() {
    let (database, id) = with_ledger().await;
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
    assert_eq!((done, effects(&database.pool).await), (1, 1));
    assert!(!outbox::is_pending(&database.pool, id).await.unwrap());
}

#[tokio::test]
async fn a_rollback_brings_the_token_back() {
    let (database, id) = with_ledger().await;
    let mut tx = database.pool.begin().await.unwrap();
    assert!(outbox::once(&mut tx, id).await.unwrap());
    sqlx::query("INSERT INTO ledger VALUES (1)")
        .execute(&mut *tx)
        .await
        .unwrap();
    // The handler failed, or its process died.
    drop(tx);
    assert!(outbox::is_pending(&database.pool, id).await.unwrap());
    assert!(handle(&database.pool, id).await);
    assert_eq!(effects(&database.pool).await, 1);
}

#[tokio::test]
async fn a_killed_connection_brings_the_token_back_to_who_waits_for_it() {
    let (database, id) = with_ledger().await;
    let mut tx = database.pool.begin().await.unwrap();
    assert!(outbox::once(&mut tx, id).await.unwrap());
    let pid: i32 = sqlx::query_scalar("SELECT pg_backend_pid()")
        .fetch_one(&mut *tx)
        .await
        .unwrap();
    let pool = database.pool.clone();
    let waiting = tokio::spawn(async move { handle(&pool, id).await });
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    sqlx::query("SELECT pg_terminate_backend($1)")
        .bind(pid)
        .execute(&database.pool)
        .await
        .unwrap();
    assert!(waiting.await.unwrap());
    assert_eq!(effects(&database.pool).await, 1);
}

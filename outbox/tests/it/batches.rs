//! How much a relay takes at once, and that it reads no more than that.

use migrations::testing::{TestDatabase, database};
use outbox::{Relay, Settings};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::redis::Redis;
use super::{count, enqueue, until};

#[tokio::test]
async fn moves_rows_in_their_order_and_keeps_the_tokens() {
    let (database, redis) = (database().await, Redis::new().await);
    let ids = enqueue(&database.pool, 0..1200).await;
    let relay = Relay::new(database.pool.clone(), redis.queue.clone());
    for expected in [500, 500, 200, 0] {
        assert_eq!(relay.relay_batch().await.unwrap(), expected);
    }
    let ready = redis.ready().await;
    assert_eq!(ready.iter().map(|job| job.id).collect::<Vec<_>>(), ids);
    let sent = "SELECT count(*) FROM job_outbox WHERE state = 1 AND sent_at IS NOT NULL";
    assert_eq!(count(&database, sent).await, 1200);
    redis.end(1200, 0).await;
}

#[tokio::test]
async fn large_jobs_come_in_smaller_batches() {
    let (database, redis) = (database().await, Redis::new().await);
    let ids = enqueue(&database.pool, 0..10).await;
    let settings = Settings {
        // The third envelope passes it.
        batch_bytes: envelope_bytes(&database).await * 5 / 2,
        ..Settings::default()
    };
    let relay = Relay::with_settings(database.pool.clone(), redis.queue.clone(), settings);
    assert_eq!(relay.relay_batch().await.unwrap(), 3);
    assert_eq!(redis.ready().await.len(), 3);
    let cancel = CancellationToken::new();
    let running = tokio::spawn(relay.run(cancel.clone()));
    until("all are in Redis", async || redis.ready().await.len() == 10).await;
    cancel.cancel();
    running.await.unwrap();
    let mut ready: Vec<_> = redis.ready().await.iter().map(|job| job.id).collect();
    ready.sort_by_key(|id| Uuid::from(*id));
    assert_eq!(ready, ids);
    redis.end(10, 0).await;
}

async fn envelope_bytes(database: &TestDatabase) -> i64 {
    count(
        database,
        "SELECT max(octet_length(envelope))::bigint FROM job_outbox",
    )
    .await
}

#[tokio::test]
async fn a_batch_that_is_too_large_by_its_first_row_has_that_row() {
    let (database, redis) = (database().await, Redis::new().await);
    enqueue(&database.pool, 0..2).await;
    let settings = Settings {
        batch_bytes: 1,
        ..Settings::default()
    };
    let relay = Relay::with_settings(database.pool.clone(), redis.queue.clone(), settings);
    for expected in [1, 1, 0] {
        assert_eq!(relay.relay_batch().await.unwrap(), expected);
    }
    redis.end(2, 0).await;
}

#[tokio::test]
async fn queues_are_told_apart() {
    let (database, redis) = (database().await, Redis::new().await);
    let ids = enqueue(&database.pool, 0..300).await;
    sqlx::query("UPDATE job_outbox SET queue = 'other' WHERE get_byte(uuid_send(id), 15) % 2 = 0")
        .execute(&database.pool)
        .await
        .unwrap();
    let others = "SELECT count(*) FROM job_outbox WHERE queue = 'other'";
    let others = usize::try_from(count(&database, others).await).unwrap();
    assert!((1..300).contains(&others), "{others} of {}", ids.len());
    let relay = Relay::new(database.pool.clone(), redis.queue.clone());
    assert_eq!(relay.relay_batch().await.unwrap(), 300);
    assert_eq!(redis.ready().await.len(), 300 - others);
    assert_eq!(redis.ready_in("other").await, others);
    redis.end(300, 0).await;
}

#[tokio::test]
async fn a_batch_reads_no_more_of_a_backlog_than_it_takes() {
    let (database, redis) = (database().await, Redis::new().await);
    // What Postgres believes from now on.
    sqlx::raw_sql("ALTER TABLE job_outbox SET (autovacuum_enabled = off); ANALYZE job_outbox")
        .execute(&database.pool)
        .await
        .unwrap();
    enqueue(&database.pool, 0..20_000).await;
    let relay = Relay::new(database.pool.clone(), redis.queue.clone());
    assert_eq!(relay.relay_batch().await.unwrap(), 500);
    let read = "SELECT idx_tup_read FROM pg_stat_user_indexes
                WHERE indexrelname = 'job_outbox_waiting'";
    until("the statistics have arrived", async || {
        count(&database, read).await >= 500
    })
    .await;
    let read = count(&database, read).await;
    assert!(read < 2000, "{read} rows for a batch of 500");
    redis.end(500, 0).await;
}

#[tokio::test]
async fn relays_side_by_side_move_each_row_once() {
    let (database, redis) = (database().await, Redis::new().await);
    enqueue(&database.pool, 0..2000).await;
    let settings = Settings {
        batch: 100,
        ..Settings::default()
    };
    let moves: Vec<_> = (0..3)
        .map(|_| {
            let (pool, queue) = (database.pool.clone(), redis.queue.clone());
            let relay = Relay::with_settings(pool, queue, settings);
            tokio::spawn(async move {
                let mut moved = 0;
                while let batch @ 1.. = relay.relay_batch().await.unwrap() {
                    moved += batch;
                }
                moved
            })
        })
        .collect();
    let mut moved = 0;
    for relay in moves {
        moved += relay.await.unwrap();
    }
    assert_eq!((moved, redis.ready().await.len()), (2000, 2000));
    redis.end(2000, 0).await;
}

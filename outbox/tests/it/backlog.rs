//! What waits for the relay, as metrics tell it.

use std::time::Duration;

use migrations::testing::database;
use outbox::{Backlog, Relay, backlog};

use super::enqueue;
use super::redis::Redis;

#[tokio::test]
async fn what_waits_is_counted_until_the_relay_has_taken_it() {
    let (database, redis) = (database().await, Redis::new().await);
    let none = Backlog {
        waiting: 0,
        oldest: None,
    };
    assert_eq!(backlog(&database.pool).await.unwrap(), none);
    enqueue(&database.pool, 0..3).await;
    tokio::time::sleep(Duration::from_millis(30)).await;
    enqueue(&database.pool, 3..5).await;
    let found = backlog(&database.pool).await.unwrap();
    assert_eq!(found.waiting, 5);
    let oldest = found.oldest.unwrap();
    assert!(oldest >= Duration::from_millis(30), "{oldest:?}");
    let relay = Relay::new(database.pool.clone(), redis.queue.clone());
    assert_eq!(relay.relay_batch().await.unwrap(), 5);
    // Their rows stay, as tokens.
    assert_eq!(backlog(&database.pool).await.unwrap(), none);
    redis.end(5, 0).await;
}

#[tokio::test]
async fn a_backlog_is_counted_as_far_as_it_matters() {
    let database = database().await;
    enqueue(&database.pool, 0..10_050).await;
    assert_eq!(backlog(&database.pool).await.unwrap().waiting, 10_000);
}

//! What an application's tests find in the outbox.

use std::time::{Duration, SystemTime};

use migrations::testing::database;
use outbox::testing::{assert_enqueued, enqueued};
use outbox::{Options, Relay};
use queue::Job;
use serde::{Deserialize, Serialize};

use super::redis::Redis;
use super::{Count, enqueue};

#[derive(Serialize, Deserialize)]
struct Other;

impl Job for Other {
    const NAME: &'static str = "other";
}

#[tokio::test]
async fn jobs_are_found_with_their_times_until_they_are_relayed() {
    let database = database().await;
    let pool = &database.pool;
    let ids = enqueue(pool, 0..2).await;
    let mut conn = pool.acquire().await.unwrap();
    outbox::enqueue(&mut conn, &Other).await.unwrap();
    let hour = SystemTime::now() + Duration::from_secs(3600);
    let later = Options {
        run_at: Some(hour),
        ..Options::default()
    };
    outbox::enqueue_with(&mut conn, &Count { number: 2 }, later)
        .await
        .unwrap();
    let waiting = enqueued::<Count>(pool).await;
    let numbers: Vec<_> = waiting.iter().map(|one| one.job.number).collect();
    assert_eq!(numbers, [0, 1, 2]);
    assert_eq!((waiting[1].id, waiting[1].run_at), (ids[1], None));
    let off = waiting[2].run_at.unwrap().duration_since(hour);
    let off = off.unwrap_or_else(|early| early.duration());
    assert!(off < Duration::from_millis(1), "{off:?}");
    let one = assert_enqueued::<Count>(pool, |job| job.number == 1).await;
    assert_eq!(one, waiting[1]);

    let redis = Redis::new().await;
    let relay = Relay::new(pool.clone(), redis.queue.clone());
    assert_eq!(relay.relay_batch().await.unwrap(), 4);
    assert!(enqueued::<Count>(pool).await.is_empty());
    let moved = queue::testing::enqueued::<Count>(&redis.queue).await;
    let before = waiting.iter().map(|one| (one.id, &one.job));
    assert!(before.eq(moved.iter().map(|one| (one.id, &one.job))));
    redis.end(3, 1).await;
}

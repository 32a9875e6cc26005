//! What was sent and never finished is sent again, ever more rarely.

use std::time::{Duration, SystemTime};

use migrations::testing::database;
use outbox::{Relay, Settings};
use tokio_util::sync::CancellationToken;

use super::redis::Redis;
use super::{Count, count, enqueue, until};

#[tokio::test]
async fn what_redis_lost_is_sent_again() {
    let (database, redis) = (database().await, Redis::new().await);
    let ids = enqueue(&database.pool, 0..3).await;
    let settings = Settings {
        resend_after: Duration::from_millis(50),
        ..Settings::default()
    };
    let relay = Relay::with_settings(database.pool.clone(), redis.queue.clone(), settings);
    assert_eq!(relay.relay_batch().await.unwrap(), 3);
    assert_eq!(relay.sweep().await.unwrap(), 0, "it was sent a moment ago");

    let mut conn = database.pool.acquire().await.unwrap();
    assert!(outbox::once(&mut conn, ids[0]).await.unwrap());
    redis.lose_everything().await;
    tokio::time::sleep(Duration::from_millis(60)).await;
    assert_eq!(relay.sweep().await.unwrap(), 2);
    assert_eq!(relay.relay_batch().await.unwrap(), 2);
    // Not the one that was done.
    assert_eq!(
        redis
            .ready()
            .await
            .iter()
            .map(|job| job.id)
            .collect::<Vec<_>>(),
        ids[1..]
    );
    redis.end(2, 0).await;
}

#[tokio::test]
async fn what_redis_still_has_is_not_doubled_by_the_sweeper() {
    let (database, redis) = (database().await, Redis::new().await);
    enqueue(&database.pool, 0..1).await;
    let settings = Settings {
        resend_after: Duration::ZERO,
        ..Settings::default()
    };
    let relay = Relay::with_settings(database.pool.clone(), redis.queue.clone(), settings);
    for _ in 0..3 {
        assert_eq!(relay.relay_batch().await.unwrap(), 1);
        assert_eq!(relay.sweep().await.unwrap(), 1);
    }
    assert_eq!(redis.ready().await.len(), 1);
    redis.end(1, 0).await;
}

#[tokio::test]
async fn redis_remembers_a_job_until_after_it_is_sent_again() {
    let (database, redis) = (database().await, Redis::new().await);
    let id = enqueue(&database.pool, 0..1).await[0];
    let hours = |hours: u64| Duration::from_secs(hours * 3600);
    let settings = Settings {
        resend_after: hours(5),
        ..Settings::default()
    };
    let relay = Relay::with_settings(database.pool.clone(), redis.queue.clone(), settings);
    for next in [5, 10, 20] {
        assert_eq!(relay.relay_batch().await.unwrap(), 1);
        let remembered = redis.remembered(id).await;
        assert!(remembered > hours(next), "{remembered:?} of {next} h");
        sqlx::query("UPDATE job_outbox SET sent_at = now() - interval '21 h'")
            .execute(&database.pool)
            .await
            .unwrap();
        assert_eq!(relay.sweep().await.unwrap(), 1);
    }
    assert_eq!(redis.ready().await.len(), 1);
    redis.end(1, 0).await;
}

#[tokio::test]
async fn a_job_for_later_is_not_swept_before_its_time() {
    let (database, redis) = (database().await, Redis::new().await);
    let mut conn = database.pool.acquire().await.unwrap();
    let run_at = SystemTime::now() + Duration::from_secs(3600);
    outbox::enqueue_at(&mut conn, &Count { number: 1 }, run_at)
        .await
        .unwrap();
    let settings = Settings {
        resend_after: Duration::ZERO,
        ..Settings::default()
    };
    let relay = Relay::with_settings(database.pool.clone(), redis.queue.clone(), settings);
    assert_eq!(relay.relay_batch().await.unwrap(), 1);
    assert_eq!(relay.sweep().await.unwrap(), 0);
    redis.end(0, 1).await;
}

#[tokio::test]
async fn a_job_that_never_finishes_is_sent_ever_more_rarely_and_then_set_aside() {
    let (database, redis) = (database().await, Redis::new().await);
    let id = enqueue(&database.pool, 0..1).await[0];
    let settings = Settings {
        resend_after: Duration::from_secs(60),
        max_resends: 2,
        ..Settings::default()
    };
    let relay = Relay::with_settings(database.pool.clone(), redis.queue.clone(), settings);
    // (seconds since it was sent, whether it is due): 60 s, then 120 s, then 240 s.
    for (age, due) in [(59, 0), (61, 1), (119, 0), (121, 1), (239, 0), (241, 1)] {
        relay.relay_batch().await.unwrap();
        sqlx::query("UPDATE job_outbox SET sent_at = now() - make_interval(secs => $1)")
            .bind(f64::from(age))
            .execute(&database.pool)
            .await
            .unwrap();
        assert_eq!(relay.sweep().await.unwrap(), due, "after {age} s");
    }
    assert_eq!(
        count(&database, "SELECT count(*) FROM job_outbox WHERE state = 2").await,
        1
    );
    assert_eq!(
        (
            relay.relay_batch().await.unwrap(),
            relay.sweep().await.unwrap()
        ),
        (0, 0)
    );
    assert!(
        outbox::is_pending(&database.pool, id).await.unwrap(),
        "a replay finds its token"
    );
    redis.end(1, 0).await;
}

#[tokio::test]
async fn all_that_redis_lost_is_sent_again_not_just_a_batch_of_it() {
    let (database, redis) = (database().await, Redis::new().await);
    enqueue(&database.pool, 0..95).await;
    let relay = Relay::new(database.pool.clone(), redis.queue.clone());
    assert_eq!(relay.relay_batch().await.unwrap(), 95);
    redis.lose_everything().await;
    let settings = Settings {
        batch: 10,
        resend_after: Duration::from_millis(1),
        sweep: Duration::from_secs(3600),
        ..Settings::default()
    };
    tokio::time::sleep(Duration::from_millis(10)).await;
    let relay = Relay::with_settings(database.pool.clone(), redis.queue.clone(), settings);
    let cancel = CancellationToken::new();
    let running = tokio::spawn(relay.run(cancel.clone()));
    until("all are in Redis", async || redis.ready().await.len() == 95).await;
    cancel.cancel();
    running.await.unwrap();
    redis.end(95, 0).await;
}

#[tokio::test]
async fn a_sweep_that_fails_does_not_stop_the_relay() {
    let (database, redis) = (database().await, Redis::new().await);
    enqueue(&database.pool, 0..1).await;
    let settings = Settings {
        // More than an interval of Postgres can hold.
        resend_after: Duration::MAX,
        max_backoff: Duration::from_millis(50),
        ..Settings::default()
    };
    let relay = Relay::with_settings(database.pool.clone(), redis.queue.clone(), settings);
    relay.sweep().await.unwrap_err();
    let cancel = CancellationToken::new();
    let running = tokio::spawn(relay.run(cancel.clone()));
    until("the job is in Redis", async || {
        redis.ready().await.len() == 1
    })
    .await;
    cancel.cancel();
    running.await.unwrap();
    redis.end(1, 0).await;
}

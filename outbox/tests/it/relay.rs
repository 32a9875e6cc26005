//! From Postgres to Redis, whatever happens on the way.

use std::time::{Duration, SystemTime};

use migrations::testing::database;
use outbox::{Delivery, Options, Relay, Settings};
use queue::redis::ConnectionAddr;
use queue::{Queue, Relayed};
use sqlx::postgres::PgPoolOptions;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::gate::Gate;
use super::redis::Redis;
use super::{Count, count, enqueue, until};

#[tokio::test]
async fn a_plain_job_leaves_the_outbox_when_redis_has_it() {
    let (database, redis) = (database().await, Redis::new().await);
    let mut conn = database.pool.acquire().await.unwrap();
    let options = Options {
        delivery: Delivery::AtLeastOnce,
        ..Options::default()
    };
    let id = outbox::enqueue_with(&mut conn, &Count { number: 1 }, options)
        .await
        .unwrap();
    let relay = Relay::new(database.pool.clone(), redis.queue.clone());
    assert_eq!(relay.relay_batch().await.unwrap(), 1);
    assert!(!outbox::is_pending(&database.pool, id).await.unwrap());
    assert_eq!(redis.ready().await[0].id, id);
    redis.end(1, 0).await;
}

#[tokio::test]
async fn a_job_for_later_is_delayed() {
    let (database, redis) = (database().await, Redis::new().await);
    let mut conn = database.pool.acquire().await.unwrap();
    let run_at = SystemTime::now() + Duration::from_secs(3600);
    outbox::enqueue_at(&mut conn, &Count { number: 1 }, run_at)
        .await
        .unwrap();
    let relay = Relay::new(database.pool.clone(), redis.queue.clone());
    assert_eq!(relay.relay_batch().await.unwrap(), 1);
    assert_eq!((redis.ready().await.len(), redis.delayed().await), (0, 1));
    redis.end(0, 1).await;
}

#[tokio::test]
async fn a_crash_between_redis_and_the_commit_sends_nothing_twice() {
    let (database, redis) = (database().await, Redis::new().await);
    let ids = enqueue(&database.pool, 0..3).await;
    // What a relay has done when it dies: Redis has the jobs, the rows still wait.
    let rows: Vec<(Uuid, String, Vec<u8>)> =
        sqlx::query_as("SELECT id, queue, envelope FROM job_outbox ORDER BY id")
            .fetch_all(&database.pool)
            .await
            .unwrap();
    let jobs: Vec<_> = rows
        .into_iter()
        .map(|(id, queue, envelope)| Relayed {
            envelope,
            id: id.into(),
            queue,
            run_at: None,
            again_after: Duration::ZERO,
        })
        .collect();
    redis.queue.relay(&jobs).await.unwrap();

    let relay = Relay::new(database.pool.clone(), redis.queue.clone());
    assert_eq!(relay.relay_batch().await.unwrap(), 3);
    assert_eq!(
        redis
            .ready()
            .await
            .iter()
            .map(|job| job.id)
            .collect::<Vec<_>>(),
        ids
    );
    redis.end(3, 0).await;
}

#[tokio::test]
async fn a_queue_that_redis_refuses_does_not_hold_up_the_others() {
    let (database, redis) = (database().await, Redis::new().await);
    // The oldest, and more than a batch.
    enqueue(&database.pool, 0..20).await;
    sqlx::query("UPDATE job_outbox SET queue = 'other'")
        .execute(&database.pool)
        .await
        .unwrap();
    redis.spoil("other").await;
    enqueue(&database.pool, 0..10).await;
    let settings = Settings {
        batch: 10,
        max_backoff: Duration::from_millis(500),
        ..Settings::default()
    };
    let relay = Relay::with_settings(database.pool.clone(), redis.queue.clone(), settings);
    let cancel = CancellationToken::new();
    let running = tokio::spawn(relay.run(cancel.clone()));
    until("the others are in Redis", async || {
        redis.ready().await.len() == 10
    })
    .await;
    let waiting = "SELECT count(*) FROM job_outbox WHERE state = 0";
    until("only the refused wait", async || {
        count(&database, waiting).await == 20
    })
    .await;
    redis.mend("other").await;
    until("all are in Redis", async || {
        redis.ready_in("other").await == 20
    })
    .await;
    cancel.cancel();
    running.await.unwrap();
    redis.end(30, 0).await;
}

#[tokio::test]
async fn a_full_queue_takes_what_it_can_and_does_not_hold_up_the_others() {
    let (database, redis) = (database().await, Redis::limited("other", 30).await);
    // The oldest, and what has no room is more than two batches, which go side by side.
    let mut other = enqueue(&database.pool, 0..90).await;
    sqlx::query("UPDATE job_outbox SET queue = 'other'")
        .execute(&database.pool)
        .await
        .unwrap();
    enqueue(&database.pool, 0..25).await;
    let settings = Settings {
        batch: 10,
        max_backoff: Duration::from_millis(300),
        ..Settings::default()
    };
    let relay = Relay::with_settings(database.pool.clone(), redis.queue.clone(), settings);
    let cancel = CancellationToken::new();
    let running = tokio::spawn(relay.run(cancel.clone()));
    until("the others are in Redis", async || {
        redis.ready().await.len() == 25
    })
    .await;
    let waiting = "SELECT count(*) FROM job_outbox WHERE state = 0";
    until("what has no room waits", async || {
        count(&database, waiting).await == 60
    })
    .await;
    assert_eq!(redis.ready_in("other").await, 30);
    for left in [30, 0] {
        redis.finish_in("other", 30).await;
        until("the next are in Redis", async || {
            count(&database, waiting).await == left
        })
        .await;
        assert!(redis.ready_in("other").await <= 30);
    }
    // In no order between batches, because two go side by side.
    let mut sent = redis.ids_in("other").await;
    sent.sort_unstable();
    assert_eq!(sent, other.split_off(60), "each was sent once");
    cancel.cancel();
    running.await.unwrap();
    redis.end(55, 0).await;
}

#[tokio::test]
async fn a_nudge_saves_the_wait() {
    let (database, redis) = (database().await, Redis::new().await);
    let settings = Settings {
        poll: Duration::from_secs(3600),
        ..Settings::default()
    };
    let relay = Relay::with_settings(database.pool.clone(), redis.queue.clone(), settings);
    let (nudge, cancel) = (relay.nudge(), CancellationToken::new());
    let running = tokio::spawn(relay.run(cancel.clone()));
    tokio::time::sleep(Duration::from_millis(100)).await;
    enqueue(&database.pool, 0..1).await;
    nudge.nudge();
    until("the job is in Redis", async || {
        redis.ready().await.len() == 1
    })
    .await;
    cancel.cancel();
    running.await.unwrap();
    redis.end(1, 0).await;
}

#[tokio::test]
async fn waits_for_redis_and_loses_nothing() {
    let (database, redis) = (database().await, Redis::new().await);
    let ConnectionAddr::Tcp(host, port) = redis.settings.redis.addr() else {
        panic!("TEST_REDIS_URL is no TCP address");
    };
    let gate = Gate::closed(format!("{host}:{port}")).await;
    let mut settings = redis.settings.clone();
    let away = ConnectionAddr::Tcp(gate.addr.ip().to_string(), gate.addr.port());
    settings.redis = settings.redis.set_addr(away);
    let queue = Queue::connect(settings).await.unwrap();
    let relay = Relay::new(database.pool.clone(), queue);
    let cancel = CancellationToken::new();
    let running = tokio::spawn(relay.run(cancel.clone()));

    enqueue(&database.pool, 0..10).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(redis.ready().await.len(), 0);
    gate.open();
    until("the first ten are in Redis", async || {
        redis.ready().await.len() == 10
    })
    .await;
    gate.close();
    enqueue(&database.pool, 10..20).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    gate.open();
    until("all twenty are in Redis", async || {
        redis.ready().await.len() == 20
    })
    .await;
    cancel.cancel();
    running.await.unwrap();
    redis.end(20, 0).await;
}

#[tokio::test]
async fn waits_for_postgres_and_goes_on() {
    let (database, redis) = (database().await, Redis::new().await);
    let options = &database.options;
    let gate = Gate::closed(format!("{}:{}", options.get_host(), options.get_port())).await;
    let pool = PgPoolOptions::new()
        .acquire_timeout(Duration::from_secs(1))
        .connect_lazy_with(
            options
                .clone()
                .host(&gate.addr.ip().to_string())
                .port(gate.addr.port()),
        );
    let cancel = CancellationToken::new();
    let running = tokio::spawn(Relay::new(pool, redis.queue.clone()).run(cancel.clone()));

    enqueue(&database.pool, 0..10).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    gate.open();
    until("the first ten are in Redis", async || {
        redis.ready().await.len() == 10
    })
    .await;
    gate.close();
    enqueue(&database.pool, 10..20).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    gate.open();
    until("all twenty are in Redis", async || {
        redis.ready().await.len() == 20
    })
    .await;
    cancel.cancel();
    running.await.unwrap();
    redis.end(20, 0).await;
}

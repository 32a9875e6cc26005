//! From Postgres to Redis, whatever happens on the way.

use std::time::{Duration, SystemTime};

use migrations::testing::{TestDatabase, database};
use outbox::{Delivery, Options, Relay, Settings};
use queue::redis::ConnectionAddr;
use queue::{JobId, Queue, Relayed};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::gate::Gate;
use super::redis::Redis;
use super::{Count, until};

async fn enqueue(pool: &PgPool, numbers: std::ops::Range<i64>) -> Vec<JobId> {
    let jobs: Vec<_> = numbers.map(|number| Count { number }).collect();
    let mut conn = pool.acquire().await.unwrap();
    outbox::enqueue_many(&mut conn, &jobs).await.unwrap()
}

async fn count(database: &TestDatabase, query: &'static str) -> i64 {
    sqlx::query_scalar(query)
        .fetch_one(&database.pool)
        .await
        .unwrap()
}

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
}

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
}

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
}

//! Deliveries once more.

use std::ops::RangeInclusive;

use domain::webhooks::{
    DeliveryState, Replayed, ResendError, find_delivery, find_event, replay, replay_failed,
    send_test_event,
};
use sqlx::postgres::PgPoolOptions;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::{Fixture, account};

/// An account with an endpoint and one delivery to it, whose job has been taken.
async fn delivered(state: &str) -> (Fixture, Uuid, Uuid) {
    let fixture = Fixture::new().await;
    let endpoint = fixture.endpoint().await.id;
    fixture.accept("a", "invoice.paid").await.unwrap();
    fixture.run("DELETE FROM job_outbox").await;
    let id = sqlx::query_scalar(
        "UPDATE webhook_deliveries SET state = $1, next_attempt_at = NULL RETURNING id",
    );
    let id = id.bind(state).fetch_one(fixture.pool()).await.unwrap();
    (fixture, endpoint, id)
}

#[tokio::test]
async fn a_delivery_is_replayed_once_however_often_it_is_asked_for() {
    for state in ["failed", "delivered"] {
        let (fixture, endpoint, id) = delivered(state).await;
        let tasks: Vec<_> = (0..6)
            .map(|_| {
                let (pool, account) = (fixture.pool().clone(), fixture.account);
                tokio::spawn(async move { replay(&pool, account, endpoint, id).await.unwrap() })
            })
            .collect();
        let mut replayed = 0;
        for task in tasks {
            replayed += usize::from(task.await.unwrap());
        }
        assert_eq!(replayed, 1, "it is pending then");
        assert_eq!(fixture.stored().await, [1, 1, 1, 1]);
        let found = find_delivery(fixture.pool(), fixture.account, endpoint, id).await;
        let delivery = found.unwrap().unwrap().delivery;
        assert_eq!(delivery.state, DeliveryState::Pending);
        assert!(delivery.next_attempt_at.is_some());
    }
}

#[tokio::test]
async fn nothing_is_sent_to_an_endpoint_that_is_disabled_or_somebody_elses() {
    let (fixture, endpoint, id) = delivered("failed").await;
    let (pool, owner) = (fixture.pool(), fixture.account);
    let all = async |account, endpoint, id| {
        let since = OffsetDateTime::UNIX_EPOCH;
        [
            replay(pool, account, endpoint, id).await.unwrap_err(),
            replay_failed(pool, account, endpoint, since)
                .await
                .unwrap_err(),
            send_test_event(pool, account, endpoint).await.unwrap_err(),
        ]
    };
    let stranger = account(pool, "eve@example.com").await;
    for error in all(stranger, endpoint, id).await {
        assert!(matches!(error, ResendError::NotFound), "{error:?}");
    }
    assert!(
        find_delivery(pool, stranger, endpoint, id)
            .await
            .unwrap()
            .is_none()
    );
    let other = fixture.endpoint().await.id;
    let refused = replay(pool, owner, other, id).await;
    assert!(
        matches!(refused, Err(ResendError::NotFound)),
        "of another endpoint"
    );
    fixture
        .run("UPDATE webhook_endpoints SET disabled_at = now(), disabled_reason = 'gone'")
        .await;
    for error in all(owner, endpoint, id).await {
        assert!(matches!(error, ResendError::Disabled), "{error:?}");
    }
    assert_eq!(fixture.stored().await, [1, 1, 0, 1]);
}

/// Events of that age, each with a delivery: of ten one is delivered, and the others have failed.
async fn make(fixture: &Fixture, endpoint: Uuid, numbers: RangeInclusive<i32>, age: Duration) {
    sqlx::query(
        "WITH made AS (
           SELECT n, now() - make_interval(secs => $5) AS at FROM generate_series($3, $4) AS n
         ), named AS (
           -- As version 7 has it, the time first.
           SELECT n, at, (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0')
                          || substr(md5(n::text), 13))::uuid AS id FROM made
         ), event AS (
           INSERT INTO events (id, account_id, type, data)
           SELECT id, $1, 'invoice.paid', '{}' FROM named
         )
         INSERT INTO webhook_deliveries (id, event_id, endpoint_id, state, created_at)
         SELECT id, id, $2, CASE WHEN n % 10 = 0 THEN 'delivered' ELSE 'failed' END, at FROM named",
    )
    .bind(fixture.account)
    .bind(endpoint)
    .bind(numbers.start())
    .bind(numbers.end())
    .bind(age.as_seconds_f64())
    .execute(fixture.pool())
    .await
    .unwrap();
}

#[tokio::test]
async fn what_failed_before_the_time_is_not_walked_through() {
    let fixture = Fixture::new().await;
    let endpoint = fixture.endpoint().await.id;
    make(&fixture, endpoint, 1..=20_000, Duration::days(2)).await;
    make(&fixture, endpoint, 20_001..=20_009, Duration::hours(1)).await;
    fixture.run("ANALYZE").await;
    // On one connection, which tells what it has read before it is asked.
    let options = fixture.database.options.clone();
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .connect_lazy_with(options);
    let read = async || {
        let statement = "SELECT pg_stat_force_next_flush()";
        sqlx::query(statement).execute(&pool).await.unwrap();
        let read = "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_user_tables
                    WHERE relname = 'webhook_deliveries'";
        let read = sqlx::query_scalar::<_, i64>(read).fetch_one(&pool);
        read.await.unwrap()
    };
    let before = read().await;
    let since = OffsetDateTime::now_utc() - Duration::days(1);
    let replayed = replay_failed(&pool, fixture.account, endpoint, since).await;
    assert_eq!(replayed.unwrap().deliveries, 9);
    let rows = read().await - before;
    assert!(rows < 1_000, "{rows} rows were read");
}

#[tokio::test]
async fn all_that_failed_since_a_time_is_replayed_in_batches() {
    let fixture = Fixture::new().await;
    let (endpoint, other) = (fixture.endpoint().await.id, fixture.endpoint().await.id);
    // More than two batches, one delivery of each ten delivered, the first hundred too old.
    make(&fixture, endpoint, 1..=100, Duration::days(2)).await;
    make(&fixture, endpoint, 101..=1300, Duration::hours(1)).await;
    let (pool, owner) = (fixture.pool(), fixture.account);
    let since = OffsetDateTime::now_utc() - Duration::days(1);
    let replayed = replay_failed(pool, owner, endpoint, since).await.unwrap();
    let all = Replayed {
        deliveries: 1080,
        more: false,
    };
    assert_eq!(replayed, all);
    let jobs = fixture.count("SELECT count(*) FROM job_outbox").await;
    assert_eq!(jobs, 1080);
    let pending = "SELECT count(*) FROM webhook_deliveries WHERE state = 'pending'
                   AND created_at > now() - interval '1 day'";
    assert_eq!(fixture.count(pending).await, 1080);
    let again = replay_failed(pool, owner, endpoint, since).await.unwrap();
    assert_eq!(again.deliveries, 0, "they are pending");
    let none = replay_failed(pool, owner, other, since).await.unwrap();
    assert_eq!(none.deliveries, 0);
}

#[tokio::test]
async fn a_test_event_goes_to_one_endpoint_whatever_it_filters() {
    let fixture = Fixture::new().await;
    let id = fixture.endpoint().await.id;
    fixture.endpoint().await;
    fixture
        .run("UPDATE webhook_endpoints SET event_types = '{invoice.*}'")
        .await;
    let sent = send_test_event(fixture.pool(), fixture.account, id)
        .await
        .unwrap();
    assert_eq!(fixture.stored().await, [1, 1, 1, 0]);
    let event = find_event(fixture.pool(), fixture.account, sent.0).await;
    assert_eq!(event.unwrap().unwrap().kind, "webhook.test");
    let delivery = find_delivery(fixture.pool(), fixture.account, id, sent.1).await;
    assert_eq!(delivery.unwrap().unwrap().delivery.event_id, sent.0);
}

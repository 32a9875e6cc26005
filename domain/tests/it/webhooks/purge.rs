//! What is forgotten, and when.

use domain::webhooks::{fail_lost_deliveries, purge_events, purge_idempotency_keys};
use uuid::{Builder, Uuid};

use super::Fixture;

/// An id that was made so many days ago.
fn id_of(days_ago: u64) -> Uuid {
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    let ms = u64::try_from(now.as_millis()).unwrap() - days_ago * 86_400_000;
    Builder::from_unix_timestamp_millis(ms, &[7; 10]).into_uuid()
}

/// An event of that age with a delivery in this state.
async fn event(fixture: &Fixture, endpoint: Uuid, days_ago: u64, state: &str) -> Uuid {
    let statement = "WITH event AS (
           INSERT INTO events (id, account_id, type, data) VALUES ($1, $2, 'a', '{}') RETURNING id)
         INSERT INTO webhook_deliveries (id, event_id, endpoint_id, state, next_attempt_at)
         SELECT id, id, $3, $4, now() - make_interval(days => $5) FROM event";
    let id = id_of(days_ago);
    sqlx::query(statement)
        .bind(id)
        .bind(fixture.account)
        .bind(endpoint)
        .bind(state)
        .bind(i32::try_from(days_ago).unwrap())
        .execute(fixture.pool())
        .await
        .unwrap();
    id
}

#[tokio::test]
async fn events_go_with_their_deliveries_after_a_month() {
    let fixture = Fixture::new().await;
    let endpoint = fixture.endpoint().await.id;
    for days in [29, 31, 32, 33] {
        event(&fixture, endpoint, days, "failed").await;
    }
    let purge = async || purge_events(fixture.pool(), 2).await.unwrap();
    assert_eq!((purge().await, purge().await, purge().await), (2, 1, 0));
    assert_eq!(fixture.stored().await, [1, 1, 0, 0]);
}

#[tokio::test]
async fn keys_go_after_a_day() {
    let fixture = Fixture::new().await;
    for key in ["a", "b", "c"] {
        fixture.accept(key, "invoice.paid").await.unwrap();
    }
    fixture
        .run("UPDATE idempotency_keys SET created_at = now() - interval '25 hours' WHERE key < 'c'")
        .await;
    let purge = async || purge_idempotency_keys(fixture.pool(), 1).await.unwrap();
    assert_eq!((purge().await, purge().await, purge().await), (1, 1, 0));
    assert_eq!(fixture.stored().await, [3, 0, 0, 1]);
}

#[tokio::test]
async fn a_delivery_that_lost_its_job_fails_after_two_days() {
    let fixture = Fixture::new().await;
    let endpoint = fixture.endpoint().await.id;
    let lost = event(&fixture, endpoint, 3, "pending").await;
    event(&fixture, endpoint, 1, "pending").await;
    event(&fixture, endpoint, 5, "delivered").await;
    // An old one that was replayed just now.
    let replayed = event(&fixture, endpoint, 4, "pending").await;
    sqlx::query("UPDATE webhook_deliveries SET next_attempt_at = now() WHERE id = $1")
        .bind(replayed)
        .execute(fixture.pool())
        .await
        .unwrap();
    assert_eq!(fail_lost_deliveries(fixture.pool(), 9).await.unwrap(), 1);
    let failed: Vec<(Uuid, String)> =
        sqlx::query_as("SELECT id, error FROM webhook_deliveries WHERE state = 'failed'")
            .fetch_all(fixture.pool())
            .await
            .unwrap();
    let why = "the delivery was lost: replay it".to_owned();
    assert_eq!(failed, [(lost, why)]);
    assert_eq!(fail_lost_deliveries(fixture.pool(), 9).await.unwrap(), 0);
}

#[tokio::test]
async fn a_delivery_that_is_late_with_its_queue_is_not_lost() {
    let fixture = Fixture::new().await;
    let endpoint = fixture.endpoint().await.id;
    event(&fixture, endpoint, 3, "pending").await;
    sqlx::query(
        "INSERT INTO job_outbox (id, queue, envelope, once, state, sent_at)
         VALUES ($1, 'webhooks', '', true, 1, now())",
    )
    .bind(id_of(3))
    .execute(fixture.pool())
    .await
    .unwrap();
    assert_eq!(fail_lost_deliveries(fixture.pool(), 9).await.unwrap(), 0);
    // A dead letter delivers nothing any more.
    fixture.run("UPDATE job_outbox SET state = 2").await;
    assert_eq!(fail_lost_deliveries(fixture.pool(), 9).await.unwrap(), 1);
}

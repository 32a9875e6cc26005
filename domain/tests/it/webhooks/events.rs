//! Events: stored once, whole or not at all.

use std::time::Duration;

use domain::jobs::DeliverWebhook;
use domain::webhooks::{AcceptError, Accepted, find_event, replay_failed};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Fixture, accept, account};

#[tokio::test]
async fn an_event_is_stored_with_its_deliveries_and_their_jobs() {
    let fixture = Fixture::new().await;
    let (one, two) = (fixture.endpoint().await.id, fixture.endpoint().await.id);
    let accepted = fixture.accept("a", "invoice.paid").await.unwrap();
    assert_eq!((accepted.deliveries, accepted.replayed), (2, false));
    assert_eq!(fixture.stored().await, [1, 2, 2, 1]);

    let mut told: Vec<(Uuid, Uuid)> =
        sqlx::query_as("SELECT id, endpoint_id FROM webhook_deliveries WHERE event_id = $1")
            .bind(accepted.id)
            .fetch_all(fixture.pool())
            .await
            .unwrap();
    let jobs = outbox::testing::enqueued::<DeliverWebhook>(fixture.pool()).await;
    let mut ids: Vec<Uuid> = jobs.iter().map(|job| job.job.delivery_id).collect();
    told.sort_unstable();
    ids.sort_unstable();
    assert_eq!(ids, told.iter().map(|(id, _)| *id).collect::<Vec<_>>());
    let mut endpoints: Vec<Uuid> = told.iter().map(|(_, endpoint)| *endpoint).collect();
    endpoints.sort_unstable();
    assert_eq!(endpoints, [one, two]);
}

#[tokio::test]
async fn an_accounts_jobs_share_slots_and_those_of_what_fails_have_others() {
    let fixture = Fixture::new().await;
    let endpoints = [fixture.endpoint().await.id, fixture.endpoint().await.id];
    // The slots of the jobs for the latest event, in the order of the endpoints.
    let slots = async || {
        let jobs = outbox::testing::enqueued::<DeliverWebhook>(fixture.pool()).await;
        let mut slots = Vec::new();
        for endpoint in endpoints {
            let id = sqlx::query_scalar(
                "SELECT id FROM webhook_deliveries WHERE endpoint_id = $1 ORDER BY id DESC LIMIT 1",
            );
            let id: Uuid = id.bind(endpoint).fetch_one(fixture.pool()).await.unwrap();
            let job = jobs.iter().find(|job| job.job.delivery_id == id);
            slots.push(job.unwrap().envelope.slot.unwrap());
        }
        slots
    };
    fixture.accept("a", "invoice.paid").await.unwrap();
    let fine = slots().await;
    assert_eq!(fine[0], fine[1]);
    assert_eq!(fine[0].limit.get(), 4);

    let failing = "UPDATE webhook_endpoints SET failing_since = now() WHERE id = $1";
    let failing = sqlx::query(failing).bind(endpoints[1]);
    failing.execute(fixture.pool()).await.unwrap();
    fixture.accept("b", "invoice.paid").await.unwrap();
    let mixed = slots().await;
    assert_eq!(mixed[0], fine[0]);
    assert_ne!(mixed[1].key, fine[1].key);
    assert_eq!(mixed[1].limit.get(), 2);

    // What is made again waits with what fails, whichever endpoint it is for.
    fixture
        .run("UPDATE webhook_deliveries SET state = 'failed'")
        .await;
    fixture.run("DELETE FROM job_outbox").await;
    for endpoint in endpoints {
        let since = OffsetDateTime::now_utc() - time::Duration::HOUR;
        let replayed = replay_failed(fixture.pool(), fixture.account, endpoint, since).await;
        assert_eq!(replayed.unwrap().deliveries, 2);
    }
    assert_eq!(slots().await, [mixed[1], mixed[1]]);
}

#[tokio::test]
async fn only_endpoints_that_want_the_type_are_told() {
    let fixture = Fixture::new().await;
    for filters in [
        "{}",
        "{invoice.paid}",
        "{invoice.*}",
        "{user.*,invoice.paid.late}",
        "{invoice}",
    ] {
        let id = fixture.endpoint().await.id;
        sqlx::query("UPDATE webhook_endpoints SET event_types = $1::text[] WHERE id = $2")
            .bind(filters)
            .bind(id)
            .execute(fixture.pool())
            .await
            .unwrap();
    }
    for (kind, told) in [
        ("invoice.paid", 3),
        ("invoice.paid.late", 3),
        ("invoice", 2),
        ("invoices.paid", 1),
        ("user.left", 2),
    ] {
        let accepted = fixture.accept(kind, kind).await.unwrap();
        assert_eq!(accepted.deliveries, told, "{kind}");
    }
    fixture
        .run("UPDATE webhook_endpoints SET disabled_at = now(), disabled_reason = 'owner'")
        .await;
    let accepted = fixture.accept("none", "invoice.paid").await.unwrap();
    assert_eq!(accepted.deliveries, 0, "the event is kept all the same");
    let found = find_event(fixture.pool(), fixture.account, accepted.id).await;
    assert!(found.unwrap().is_some());
}

#[tokio::test]
async fn data_is_kept_to_the_last_digit() {
    let fixture = Fixture::new().await;
    let data = r#"{ "amount":12345678901234567890.123456789012345678900,"b":1e2,  "a":1,"a":2,
        "null":"\u0000","x":null }"#;
    let (pool, owner) = (fixture.pool(), fixture.account);
    let accepted = accept(pool, owner, "a", "invoice.paid", data)
        .await
        .unwrap();
    let event = find_event(pool, owner, accepted.id).await.unwrap().unwrap();
    assert_eq!(event.data.get(), data);
    assert_eq!(event.kind, "invoice.paid");
    assert_eq!(event.created_at, accepted.created_at);
    let stranger = account(pool, "eve@example.com").await;
    assert!(
        find_event(pool, stranger, accepted.id)
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn the_same_request_again_has_the_same_answer() {
    let fixture = Fixture::new().await;
    let endpoint = fixture.endpoint().await.id;
    let first = fixture.accept("a", "invoice.paid").await.unwrap();
    // Not even this changes the answer.
    sqlx::query("DELETE FROM webhook_endpoints WHERE id = $1")
        .bind(endpoint)
        .execute(fixture.pool())
        .await
        .unwrap();
    let again = fixture.accept("a", "invoice.paid").await.unwrap();
    assert!(again.replayed);
    assert_eq!((again.id, again.created_at), (first.id, first.created_at));
    assert_eq!(again.deliveries, 1);
    assert_eq!(fixture.stored().await, [1, 0, 1, 1]);

    let other = fixture.accept("a", "invoice.void").await;
    assert!(matches!(other, Err(AcceptError::OtherRequest)), "{other:?}");
    let stranger = account(fixture.pool(), "eve@example.com").await;
    let theirs = accept(fixture.pool(), stranger, "a", "invoice.void", "{}").await;
    assert!(!theirs.unwrap().replayed, "a key is the account's own");
}

#[tokio::test]
async fn twenty_at_once_are_one_event() {
    let fixture = Fixture::new().await;
    fixture.endpoint().await;
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let (pool, account) = (fixture.pool().clone(), fixture.account);
            tokio::spawn(async move { accept(&pool, account, "a", "invoice.paid", "{}").await })
        })
        .collect();
    let (mut first, mut ids) = (0, Vec::new());
    for task in tasks {
        match task.await.unwrap() {
            Ok(accepted) => {
                first += usize::from(!accepted.replayed);
                ids.push(accepted.id);
            }
            Err(error) => assert!(matches!(error, AcceptError::InFlight), "{error:?}"),
        }
    }
    ids.dedup();
    assert_eq!((first, ids.len()), (1, 1));
    assert_eq!(fixture.stored().await, [1, 1, 1, 1]);
}

#[tokio::test]
async fn a_request_in_flight_is_not_waited_for() {
    let fixture = Fixture::new().await;
    // What the statement of the first request holds until its transaction ends.
    let mut first = fixture.pool().begin().await.unwrap();
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended('a', uuid_hash($1)))")
        .bind(fixture.account)
        .execute(&mut *first)
        .await
        .unwrap();
    let second = fixture.accept("a", "invoice.paid").await;
    assert!(matches!(second, Err(AcceptError::InFlight)), "{second:?}");
    assert!(fixture.accept("b", "invoice.paid").await.is_ok());
    let stranger = account(fixture.pool(), "eve@example.com").await;
    let theirs = accept(fixture.pool(), stranger, "a", "invoice.paid", "{}").await;
    assert!(theirs.is_ok());
    first.rollback().await.unwrap();
    assert!(!fixture.accept("a", "invoice.paid").await.unwrap().replayed);
}

#[tokio::test]
async fn a_request_that_was_answered_is_answered_while_another_repeats_it() {
    let fixture = Fixture::new().await;
    let first = fixture.accept("a", "invoice.paid").await.unwrap();
    let mut other = fixture.pool().begin().await.unwrap();
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended('a', uuid_hash($1)))")
        .bind(fixture.account)
        .execute(&mut *other)
        .await
        .unwrap();
    let again = fixture.accept("a", "invoice.paid").await.unwrap();
    assert_eq!((again.id, again.replayed), (first.id, true));
    let refused = fixture.accept("a", "invoice.lost").await;
    assert!(matches!(refused, Err(AcceptError::OtherRequest)));
    let new = fixture.accept("b", "invoice.paid").await.unwrap();
    assert!(!new.replayed, "another key is another lock");
}

#[tokio::test]
async fn a_key_can_be_used_again_after_a_day() {
    let fixture = Fixture::new().await;
    let first = fixture.accept("a", "invoice.paid").await.unwrap();
    fixture
        .run("UPDATE idempotency_keys SET created_at = now() - interval '23 hours 59 minutes'")
        .await;
    assert!(fixture.accept("a", "invoice.paid").await.unwrap().replayed);
    fixture
        .run("UPDATE idempotency_keys SET created_at = now() - interval '24 hours'")
        .await;
    let new = fixture.accept("a", "invoice.void").await.unwrap();
    assert!(!new.replayed && new.id != first.id);
    assert!(fixture.accept("a", "invoice.void").await.unwrap().replayed);
}

#[tokio::test]
async fn an_event_whose_jobs_cannot_be_stored_leaves_nothing() {
    let fixture = Fixture::new().await;
    fixture.endpoint().await;
    fixture
        .run("ALTER TABLE job_outbox ADD CONSTRAINT full_up CHECK (queue = 'other')")
        .await;
    let failed = fixture.accept("a", "invoice.paid").await;
    let failed_in_sql = matches!(
        failed,
        Err(AcceptError::Internal(domain::Error::Database(_)))
    );
    assert!(failed_in_sql, "{failed:?}");
    assert_eq!(fixture.stored().await, [0; 4]);
    fixture
        .run("ALTER TABLE job_outbox DROP CONSTRAINT full_up")
        .await;
    assert!(!fixture.accept("a", "invoice.paid").await.unwrap().replayed);
}

/// Sends an event while another transaction has begun with a statement; once the event waits for it,
/// that goes on with the other statement and ends.
async fn accept_beside(
    fixture: &Fixture,
    [first, then]: [&'static str; 2],
) -> Result<Accepted, AcceptError> {
    let mut tx = fixture.pool().begin().await.unwrap();
    sqlx::query(first).execute(&mut *tx).await.unwrap();
    let (pool, account) = (fixture.pool().clone(), fixture.account);
    let accepting =
        tokio::spawn(async move { accept(&pool, account, "a", "invoice.paid", "{}").await });
    let waiting = "SELECT EXISTS (SELECT FROM pg_stat_activity
                   WHERE datname = current_database() AND wait_event_type = 'Lock')";
    while !sqlx::query_scalar::<_, bool>(waiting)
        .fetch_one(fixture.pool())
        .await
        .unwrap()
    {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    sqlx::query(then).execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    accepting.await.unwrap()
}

#[tokio::test]
async fn an_endpoint_that_is_deleted_meanwhile_is_not_told() {
    let fixture = Fixture::new().await;
    fixture.endpoint().await;
    fixture.endpoint().await;
    let one = "DELETE FROM webhook_endpoints WHERE id = (SELECT min(id::text)::uuid FROM webhook_endpoints)";
    let accepted = accept_beside(&fixture, [one, "SELECT"]).await.unwrap();
    assert_eq!((accepted.deliveries, accepted.replayed), (1, false));
    assert!(
        fixture.accept("a", "invoice.void").await.is_err(),
        "the key is used"
    );
}

#[tokio::test]
async fn an_account_that_is_deleted_meanwhile_has_no_events() {
    let fixture = Fixture::new().await;
    fixture.endpoint().await;
    let gone = accept_beside(&fixture, ["DELETE FROM accounts", "SELECT"]).await;
    assert!(matches!(gone, Err(AcceptError::NoAccount)), "{gone:?}");
    assert_eq!(fixture.stored().await, [0; 4]);
}

/// A deletion holds the account first and its keys last; so must whoever uses an old key anew.
#[tokio::test]
async fn a_key_of_yesterday_and_the_deletion_of_its_account_do_not_wait_for_each_other() {
    let fixture = Fixture::new().await;
    fixture.endpoint().await;
    fixture.accept("a", "invoice.paid").await.unwrap();
    fixture
        .run("UPDATE idempotency_keys SET created_at = now() - interval '25 hours'")
        .await;
    let deletion = ["SELECT FROM accounts FOR UPDATE", "DELETE FROM accounts"];
    let gone = accept_beside(&fixture, deletion).await;
    assert!(matches!(gone, Err(AcceptError::NoAccount)), "{gone:?}");
}

#[tokio::test]
async fn an_account_that_is_gone_has_no_events() {
    let fixture = Fixture::new().await;
    let gone = accept(fixture.pool(), Uuid::now_v7(), "a", "invoice.paid", "{}").await;
    assert!(matches!(gone, Err(AcceptError::NoAccount)), "{gone:?}");
}

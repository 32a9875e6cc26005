//! Rows that appear with their transaction, or not at all.

use std::time::{Duration, SystemTime};

use migrations::testing::database;
use outbox::{Delivery, Error, Options};
use queue::{Chain, EnqueueError, Envelope, JobId, KeyLimit, Packer};
use serde::{Deserialize, Serialize};

use super::Count;

#[tokio::test]
async fn a_rollback_enqueues_nothing() {
    let database = database().await;
    let mut tx = database.pool.begin().await.unwrap();
    let id = outbox::enqueue(&mut tx, &Count { number: 1 })
        .await
        .unwrap();
    tx.rollback().await.unwrap();
    assert!(!outbox::is_pending(&database.pool, id).await.unwrap());
}

#[tokio::test]
async fn a_commit_enqueues_what_was_asked_for() {
    let database = database().await;
    let mut tx = database.pool.begin().await.unwrap();
    let id = outbox::enqueue(&mut tx, &Count { number: 7 })
        .await
        .unwrap();
    assert!(
        !outbox::is_pending(&database.pool, id).await.unwrap(),
        "not yet committed"
    );
    tx.commit().await.unwrap();
    assert!(outbox::is_pending(&database.pool, id).await.unwrap());

    let (bytes, queue, once): (Vec<u8>, String, bool) =
        sqlx::query_as("SELECT envelope, queue, once FROM job_outbox")
            .fetch_one(&database.pool)
            .await
            .unwrap();
    let envelope = Envelope::decode(&bytes).unwrap();
    assert_eq!(
        (envelope.id, envelope.once, envelope.queue.as_str()),
        (id, true, "default")
    );
    assert_eq!(envelope.payload, br#"{"number":7}"#);
    assert_eq!((queue.as_str(), once), ("default", true));
}

#[tokio::test]
async fn a_job_goes_with_the_limit_of_its_key() {
    let database = database().await;
    let limit = KeyLimit::one("customer-7");
    let options = Options {
        slot: Some(&limit),
        ..Options::default()
    };
    let mut conn = database.pool.acquire().await.unwrap();
    outbox::enqueue_with(&mut conn, &Count { number: 7 }, options)
        .await
        .unwrap();
    let envelope: Vec<u8> = sqlx::query_scalar("SELECT envelope FROM job_outbox")
        .fetch_one(&mut *conn)
        .await
        .unwrap();
    let expected = Envelope::new(&Count { number: 7 }).unwrap();
    let expected = expected.with_slot(&limit).slot;
    assert!(expected.is_some());
    assert_eq!(Envelope::decode(&envelope).unwrap().slot, expected);
}

#[tokio::test]
async fn of_a_chain_the_first_job_has_the_row() {
    let database = database().await;
    let mut conn = database.pool.acquire().await.unwrap();
    let chain = Chain::of(&Count { number: 1 }).unwrap();
    let chain = chain.then(&Count { number: 2 }).unwrap();
    let ids = outbox::enqueue_chain(&mut conn, chain, Options::default());
    let ids = ids.await.unwrap();
    let rows: Vec<(uuid::Uuid, Vec<u8>)> = sqlx::query_as("SELECT id, envelope FROM job_outbox")
        .fetch_all(&mut *conn)
        .await
        .unwrap();
    let [(row, first)] = &rows[..] else {
        panic!("one row, not {}", rows.len())
    };
    assert_eq!(JobId::from(*row), ids[0]);
    let first = Envelope::decode(first).unwrap();
    let next = Envelope::decode(&first.next.unwrap()).unwrap();
    assert_eq!((first.id, first.once), (ids[0], true));
    assert_eq!((next.id, next.once), (ids[1], false));
}

#[tokio::test]
async fn all_jobs_of_a_chain_go_with_the_limit_of_its_key() {
    let database = database().await;
    let mut conn = database.pool.acquire().await.unwrap();
    let limit = KeyLimit::one("customer-7");
    let packer = Packer {
        compress_above: Some(0),
        ..Packer::default()
    };
    let options = Options {
        packer: Some(&packer),
        slot: Some(&limit),
        ..Options::default()
    };
    let mut chain = Chain::of(&Count { number: 1 }).unwrap();
    for number in 2..=3 {
        chain = chain.then(&Count { number }).unwrap();
    }
    let ids = outbox::enqueue_chain(&mut conn, chain, options);
    let ids = ids.await.unwrap();
    let first: Vec<u8> = sqlx::query_scalar("SELECT envelope FROM job_outbox")
        .fetch_one(&mut *conn)
        .await
        .unwrap();
    let expected = Envelope::new(&Count { number: 1 }).unwrap();
    let expected = expected.with_slot(&limit).slot;
    let (mut link, mut found) = (Some(first), Vec::new());
    while let Some(bytes) = link {
        let job = Envelope::decode(&bytes).unwrap();
        assert_eq!(job.slot, expected);
        found.push(job.id);
        link = job.next;
    }
    assert_eq!(found, ids);
}

#[tokio::test]
async fn many_jobs_take_one_statement_and_keep_their_order() {
    let database = database().await;
    let jobs: Vec<_> = (0..1000).map(|number| Count { number }).collect();
    let mut conn = database.pool.acquire().await.unwrap();
    let ids = outbox::enqueue_many(&mut conn, &jobs).await.unwrap();
    let rows: Vec<(uuid::Uuid, Vec<u8>)> =
        sqlx::query_as("SELECT id, envelope FROM job_outbox ORDER BY id")
            .fetch_all(&mut *conn)
            .await
            .unwrap();
    assert_eq!(
        rows.iter()
            .map(|row| JobId::from(row.0))
            .collect::<Vec<_>>(),
        ids
    );
    let payload = Envelope::decode(&rows[999].1).unwrap().payload;
    assert_eq!(payload, br#"{"number":999}"#);
    assert!(
        outbox::enqueue_many::<Count>(&mut conn, &[])
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn options_are_stored() {
    let database = database().await;
    let mut conn = database.pool.acquire().await.unwrap();
    let job = Count { number: 1 };
    let run_at = SystemTime::now() + Duration::from_secs(3600);
    outbox::enqueue_at(&mut conn, &job, run_at).await.unwrap();
    let options = Options {
        delivery: Delivery::AtLeastOnce,
        ..Options::default()
    };
    outbox::enqueue_with(&mut conn, &job, options)
        .await
        .unwrap();
    let rows: Vec<(bool, bool)> = sqlx::query_as(
        "SELECT once, run_at > now() + interval '59 minutes' IS TRUE FROM job_outbox ORDER BY id",
    )
    .fetch_all(&mut *conn)
    .await
    .unwrap();
    assert_eq!(rows, [(true, true), (false, false)]);
}

#[tokio::test]
async fn a_job_that_is_too_large_is_refused_before_the_database_sees_it() {
    #[derive(Serialize, Deserialize)]
    struct Large(String);
    impl queue::Job for Large {
        const NAME: &'static str = "large";
    }
    let database = database().await;
    let mut tx = database.pool.begin().await.unwrap();
    let refused = outbox::enqueue(&mut tx, &Large("x".repeat(300 * 1024))).await;
    assert!(matches!(
        refused,
        Err(Error::Enqueue(EnqueueError::TooLarge { .. }))
    ));
    // The transaction is still usable.
    outbox::enqueue(&mut tx, &Count { number: 1 })
        .await
        .unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn a_job_carries_the_trace_it_was_enqueued_in() {
    let database = database().await;
    let mut conn = database.pool.acquire().await.unwrap();
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned();
    let work = async {
        outbox::enqueue(&mut conn, &Count { number: 1 })
            .await
            .unwrap()
    };
    queue::trace::scope(trace.clone(), work).await;
    let bytes: Vec<u8> = sqlx::query_scalar("SELECT envelope FROM job_outbox")
        .fetch_one(&mut *conn)
        .await
        .unwrap();
    assert_eq!(Envelope::decode(&bytes).unwrap().traceparent, Some(trace));
}

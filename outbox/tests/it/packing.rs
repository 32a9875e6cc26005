//! What nobody can read on the way, and from when on.

use migrations::testing::database;
use outbox::testing::{enqueued, enqueued_with};
use outbox::{Options, Relay};
use queue::{Envelope, Keyring, Packer, Queue};
use sqlx::PgPool;

use super::redis::Redis;
use super::{Count, enqueue};

/// Encrypts with the first of these keys.
fn packer(ids: [u32; 2]) -> Packer {
    let secrets = ids.map(|id| (id, [id as u8; 32]));
    let keys = secrets.iter().map(|(id, secret)| (*id, secret));
    Packer {
        compress_above: None,
        keys: Keyring::new(Some(ids[0]), keys).unwrap(),
    }
}

async fn rows(pool: &PgPool) -> Vec<Envelope> {
    let rows: Vec<Vec<u8>> = sqlx::query_scalar("SELECT envelope FROM job_outbox ORDER BY id")
        .fetch_all(pool)
        .await
        .unwrap();
    let rows = rows.iter().map(|bytes| Envelope::decode(bytes).unwrap());
    rows.collect()
}

fn key(job: &Envelope) -> Option<u32> {
    job.packing.and_then(|packing| packing.key)
}

#[tokio::test]
async fn the_writer_encrypts_for_the_database_and_the_relay_for_redis() {
    let (database, redis) = (database().await, Redis::new().await);
    let pool = &database.pool;
    let readable = enqueue(pool, 0..2).await;
    let old = packer([7, 8]);
    let options = Options {
        packer: Some(&old),
        ..Options::default()
    };
    let mut conn = pool.acquire().await.unwrap();
    let jobs = [Count { number: 2 }, Count { number: 3 }];
    let sealed = outbox::enqueue_many_with(&mut conn, &jobs, options).await;
    let ids = [readable, sealed.unwrap()].concat();
    let keys: Vec<_> = rows(pool).await.iter().map(key).collect();
    assert_eq!(keys, [None, None, Some(7), Some(7)]);
    let waiting = enqueued_with::<Count>(pool, &old).await;
    let numbers: Vec<_> = waiting.iter().map(|one| one.job.number).collect();
    assert_eq!(numbers, [0, 1, 2, 3]);

    let mut settings = redis.settings.clone();
    settings.packing = packer([8, 7]);
    let queue = Queue::connect(settings).await.unwrap();
    let relay = Relay::new(pool.clone(), queue.clone());
    assert_eq!(relay.relay_batch().await.unwrap(), 4);
    // Once-jobs stay in the database as they were written.
    let keys: Vec<_> = rows(pool).await.iter().map(key).collect();
    assert_eq!(keys, [None, None, Some(7), Some(7)]);
    let moved = redis.ready().await;
    let keys: Vec<_> = moved.iter().map(key).collect();
    assert_eq!(keys, [Some(8), Some(8), Some(7), Some(7)]);
    let moved = queue::testing::enqueued::<Count>(&queue).await;
    let moved: Vec<_> = moved.iter().map(|one| (one.id, one.job.number)).collect();
    let all: Vec<_> = ids.into_iter().zip(0..).collect();
    assert_eq!(moved, all);
    assert!(enqueued::<Count>(pool).await.is_empty());
    redis.end(4, 0).await;
}

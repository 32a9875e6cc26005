//! The outbox between a real Postgres and a real Redis.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod backlog;
mod batches;
mod done;
mod enqueue;
mod gate;
mod loss;
mod once;
mod packing;
mod redis;
mod relay;
mod scans;
mod sweep;
mod testing;

use std::time::Duration;

use migrations::testing::TestDatabase;
use queue::JobId;
use serde::{Deserialize, Serialize};
use sqlx::PgPool;

/// A job without any behaviour of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Count {
    number: i64,
}

impl queue::Job for Count {
    const NAME: &'static str = "count";
}

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

/// Waits for what has to become true; how long it takes is not the test's concern.
async fn until<F: Future<Output = bool>>(what: &str, condition: impl Fn() -> F) {
    let patience = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let done = tokio::time::timeout(Duration::from_secs(30), patience).await;
    done.unwrap_or_else(|_| panic!("never: {what}"));
}

//! The outbox between a real Postgres and a real Redis.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod done;
mod enqueue;
mod gate;
mod once;
mod redis;
mod relay;

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A job without any behaviour of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Count {
    number: i64,
}

impl queue::Job for Count {
    const NAME: &'static str = "count";
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

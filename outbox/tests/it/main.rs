//! The outbox between a real Postgres and a real Redis.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod enqueue;
mod gate;
mod once;
mod redis;
mod relay;

use serde::{Deserialize, Serialize};

/// A job without any behaviour of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Count {
    number: i64,
}

impl queue::Job for Count {
    const NAME: &'static str = "count";
}

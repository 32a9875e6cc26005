//! The kinds of jobs: producers and workers share them.

use std::{error::Error, time::Duration};

use queue::Job;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::history::{Kind, Micros, Serial};

/// What a job is to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Task {
    /// Names the logical job in the history.
    pub(crate) serial: Serial,
    /// How long an attempt takes, in ms.
    pub(crate) ms: u64,
    /// So many attempts fail, before one succeeds.
    pub(crate) failures: u16,
    /// In which way.
    pub(crate) failing: Failing,
}

/// In which way an attempt fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Failing {
    Error,
    Panic,
    Discard,
}

/// How long to wait after a failed attempt: short, and the same every time.
fn backoff(attempt: u16) -> Duration {
    Duration::from_millis(100 * u64::from(attempt.min(10)))
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident: $of:ident = $name:literal, attempts $attempts:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Serialize, Deserialize)]
        pub(crate) struct $kind(pub(crate) Task);

        impl Job for $kind {
            const NAME: &'static str = $name;
            const QUEUE: &'static str = Kind::$of.queue();
            const MAX_ATTEMPTS: u16 = $attempts;

            fn backoff(attempt: u16) -> Duration {
                backoff(attempt)
            }
        }
    )*};
}

kinds! {
    /// Does what its task says, and obeys its token.
    Plain: Plain = "plain", attempts 4;
    /// Takes three leases, and does not look at its token.
    Long: Long = "long", attempts 4;
    /// Kills its process.
    Poison: Poison = "poison", attempts 4;
    /// Has an effect in Postgres, and its token in the outbox.
    Once: Once = "once", attempts 200;
    /// Has an effect in Postgres, which is noted there as done.
    Done: Done = "done", attempts 200;
    /// Runs at its time.
    Delayed: Delayed = "delayed", attempts 4;
    /// Holds a key.
    Unique: Unique = "unique", attempts 4;
    /// Of a queue that takes no more than its limit.
    Bounded: Bounded = "bounded", attempts 4;
    /// Known to the last workers alone.
    Unknown: Unknown = "unknown", attempts 4;
    /// Of a chain.
    Link: Link = "link", attempts 4;
    /// Of a batch, or what follows it.
    Member: Member = "member", attempts 4;
    /// Takes the place of those with its key.
    Latest: Latest = "latest", attempts 4;
    /// Runs beside so many with its key.
    Keyed: Keyed = "keyed", attempts 4;
    /// Of a queue with a gate.
    Gated: Gated = "gated", attempts 4;
    /// As the release before writes it, and reads it.
    VersionedV1: Versioned = "versioned", attempts 4;
}

/// As this release writes it; what the release before wrote is lifted.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Versioned {
    pub(crate) task: Task,
    /// Version of the payload as it was enqueued.
    pub(crate) written: u16,
}

impl Job for Versioned {
    const NAME: &'static str = "versioned";
    const VERSION: u16 = 2;
    const OLDEST_VERSION: u16 = 1;
    const MAX_ATTEMPTS: u16 = 4;

    fn backoff(attempt: u16) -> Duration {
        backoff(attempt)
    }

    fn upcast(from: u16, payload: Value) -> Result<Value, Box<dyn Error + Send + Sync>> {
        Ok(json!({ "task": payload, "written": from }))
    }
}

/// The job of a schedule's slot.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Scheduled {
    pub(crate) schedule: String,
    /// The slot's time in the history's units.
    pub(crate) slot: Micros,
}

impl Job for Scheduled {
    const NAME: &'static str = "scheduled";

    fn backoff(attempt: u16) -> Duration {
        backoff(attempt)
    }
}

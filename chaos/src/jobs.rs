//! The kinds of jobs: producers and workers share them.

use std::time::Duration;

use queue::Job;
use serde::{Deserialize, Serialize};

use crate::history::Serial;

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

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $name:literal, version $version:literal, attempts $attempts:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Serialize, Deserialize)]
        pub(crate) struct $kind(pub(crate) Task);

        impl Job for $kind {
            const NAME: &'static str = $name;
            const VERSION: u16 = $version;
            const MAX_ATTEMPTS: u16 = $attempts;

            fn backoff(attempt: u16) -> Duration {
                Duration::from_millis(100 * u64::from(attempt.min(10)))
            }
        }
    )*};
}

kinds! {
    /// Does what its task says, and obeys its token.
    Plain = "plain", version 1, attempts 4;
    /// Takes three leases, and does not look at its token.
    Long = "long", version 1, attempts 4;
    /// Kills its process.
    Poison = "poison", version 1, attempts 4;
    /// Has an effect in Postgres, and its token in the outbox.
    Once = "once", version 1, attempts 200;
    /// Runs at its time.
    Delayed = "delayed", version 1, attempts 4;
    /// As the release before wrote it.
    VersionedV1 = "versioned", version 1, attempts 4;
    /// As this release writes it.
    VersionedV2 = "versioned", version 2, attempts 4;
    /// Known to the last worker alone.
    Unknown = "unknown", version 1, attempts 4;
}

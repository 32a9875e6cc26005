use std::{error::Error as StdError, fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{BatchId, Priority, backoff, error::chain, worker::report::Report};

/// Identity of a job: a UUID of version 7, so ids sort by their time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(Uuid);

impl JobId {
    /// A new id.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "every call gives another value")]
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }

    /// When the id was made, in ms of the Unix epoch: its first 48 bits (RFC 9562).
    pub(crate) fn made_at_ms(&self) -> u64 {
        self.0.as_u64_pair().0 >> 16
    }

    /// The id as a UUID, for a column of that type.
    #[must_use]
    pub fn as_uuid(&self) -> &Uuid {
        &self.0
    }
}

impl From<Uuid> for JobId {
    fn from(id: Uuid) -> Self {
        Self(id)
    }
}

impl From<JobId> for Uuid {
    fn from(id: JobId) -> Self {
        id.0
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for JobId {
    type Err = uuid::Error;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        s.parse().map(Self)
    }
}

/// A kind of job: its payload is the type itself, as JSON.
///
/// The producer and the worker share the type; the handler is registered with
/// [`crate::Registry::register`].
pub trait Job: Serialize + DeserializeOwned + Send + 'static {
    /// The kind's name in Redis: lower case letters, digits, `_`, `-` and `.`.
    const NAME: &'static str;
    /// Version of the payload's shape; a worker that does not know it parks the job.
    const VERSION: u16 = 1;
    /// The oldest version that [`Job::upcast`] can lift; at most [`Job::VERSION`].
    const OLDEST_VERSION: u16 = Self::VERSION;
    /// The queue it goes to; the same alphabet as [`Job::NAME`].
    const QUEUE: &'static str = "default";
    /// How soon it starts, compared with others of its queue that wait too.
    const PRIORITY: Priority = Priority::Normal;
    /// Attempts in all before the job is a dead letter; at least 1.
    const MAX_ATTEMPTS: u16 = 20;
    /// How long one attempt may take before it is cancelled and counts as failed.
    const TIMEOUT: Duration = Duration::from_secs(60);

    /// How long to wait after the failed attempt of this number (1 is the first).
    #[must_use]
    fn backoff(attempt: u16) -> Duration {
        backoff::full_jitter(attempt)
    }

    /// Lifts a payload of version `from` to the shape of version `from + 1`.
    ///
    /// It is called once for each version from the job's own up to
    /// [`Job::VERSION`], before the handler runs. What is stored keeps its shape:
    /// workers of the release before can still run the job's next attempt.
    ///
    /// # Errors
    /// When the payload cannot be lifted: the job becomes a dead letter at once.
    fn upcast(
        from: u16,
        payload: serde_json::Value,
    ) -> Result<serde_json::Value, Box<dyn StdError + Send + Sync>> {
        drop(payload);
        Err(format!("{} has no upcast from version {from}", Self::NAME).into())
    }
}

/// Whether a name may stand in a key, a log line and a metric's label.
pub(crate) const fn is_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if !matches!(bytes[at], b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'.') {
            return false;
        }
        at += 1;
    }
    !bytes.is_empty() && bytes.len() <= 128
}

/// What a handler knows of the job besides its payload.
#[derive(Debug, Clone)]
pub struct JobContext<C> {
    /// What the application gave to [`crate::Worker::new`].
    pub app: C,
    /// Identity of the job, the same in every attempt.
    pub id: JobId,
    /// The job's [`Job::NAME`].
    pub name: &'static str,
    /// Number of this attempt; 1 is the first.
    pub attempt: u16,
    /// Attempts in all before the job is a dead letter.
    pub max_attempts: u16,
    /// The batch of which it is a member, for [`crate::Queue::enqueue_into_batch`].
    pub batch: Option<BatchId>,
    /// The batch whose members have all ended, which it follows.
    pub follows: Option<BatchId>,
    /// W3C trace context of the request that enqueued the job.
    pub traceparent: Option<String>,
    /// Cancelled when the attempt should end: time-out, shutdown, a call of
    /// [`crate::Queue::cancel`], or doubt about the lease. One second later the handler's future is dropped, except in
    /// doubt, where it goes on until another worker may own the job.
    pub cancel: CancellationToken,
    /// Where it says what it leaves, and how far it is.
    pub(crate) report: Report,
}

/// The fate of a failed attempt.
///
/// Any error becomes a retry by `?`. It is no `std::error::Error` itself, for the
/// same reason as in `anyhow`: the conversion from every error would clash.
#[derive(Debug)]
pub struct JobError {
    pub(crate) fate: Fate,
    pub(crate) error: Box<dyn StdError + Send + Sync>,
}

/// What to do with the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Retry { after: Option<Duration> },
    Discard,
}

impl JobError {
    /// Try again after the job's back-off, until its attempts are used up.
    pub fn retry(error: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self {
            fate: Fate::Retry { after: None },
            error: error.into(),
        }
    }

    /// Try again after this time, for example what a `Retry-After` header says.
    pub fn retry_after(error: impl Into<Box<dyn StdError + Send + Sync>>, after: Duration) -> Self {
        Self {
            fate: Fate::Retry { after: Some(after) },
            error: error.into(),
        }
    }

    /// Do not try again: the job becomes a dead letter at once.
    pub fn discard(error: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self {
            fate: Fate::Discard,
            error: error.into(),
        }
    }

    /// The error and its sources in one line.
    #[must_use]
    pub fn chain(&self) -> String {
        chain(self.error.as_ref())
    }
}

impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.chain())
    }
}

impl<E: StdError + Send + Sync + 'static> From<E> for JobError {
    fn from(error: E) -> Self {
        Self::retry(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn question_mark_means_retry() {
        fn fails() -> Result<(), JobError> {
            "x".parse::<u8>()?;
            Ok(())
        }
        let error = fails().unwrap_err();
        assert_eq!(error.fate, Fate::Retry { after: None });
        assert_eq!(error.chain(), "invalid digit found in string");
    }

    #[test]
    fn names_are_safe_in_keys() {
        assert!(is_name("send_email"));
        for bad in ["", "a b", "a:b", "{a}", "Ä", "A"] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}

//! What jobs leave behind when they are done, for those that ask.

use std::time::{Duration, Instant};

use redis::{Cmd, Value};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Error, JobContext, JobId, Queue,
    inspect::{Place, Search},
    keys::Keys,
    worker::report::Kept,
};

/// Longest time to keep a result: ten years.
const MAX_TTL: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);
/// The first pause of [`Queue::wait_result`], and the longest.
const PAUSES: [Duration; 2] = [Duration::from_millis(20), Duration::from_secs(1)];
/// From this pause on it also looks for the job, which takes more than one read.
const LOOK: Duration = Duration::from_millis(300);

/// Why a handler could not say what it wanted to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// The value does not serialize to JSON.
    #[error("the value does not serialize: {0}")]
    Serialize(#[from] serde_json::Error),
    /// The value is larger than it may be.
    #[error("the value of {size} bytes is larger than {limit}")]
    TooLarge {
        /// Its size in bytes of JSON.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// A result is kept for some time.
    #[error("a result is kept from 1 ms to 10 years, not for {0:?}")]
    Ttl(Duration),
}

/// What there is to say of a job that somebody waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Awaited<T> {
    /// It is done, with this result.
    Done(T),
    /// It is a dead letter.
    Dead {
        /// See [`crate::DeadLetter::why`].
        why: String,
        /// The last error with its sources.
        error: String,
    },
    /// It is not in the queue, and somebody has asked within a day to cancel it while a worker
    /// had it.
    ///
    /// So looks, too, one that was done all the same and has left no result. One that was
    /// removed where it waited is [`Awaited::Absent`].
    Cancelled,
    /// It waits or runs, or may: not all of a long queue was looked through.
    Unfinished,
    /// It is not in the queue, and there is no result: its turn in a chain has not come, it
    /// has left none, it was deleted, or was never there.
    Absent,
}

impl<C> JobContext<C> {
    /// Largest result in bytes of JSON.
    pub const MAX_RESULT: usize = 64 * 1024;

    /// Leaves a result for [`Queue::result`], which is kept for `ttl` from the job's end on.
    ///
    /// It is there when the job is done, and only then; an attempt that fails leaves none.
    /// The last call counts.
    ///
    /// # Errors
    /// See [`ReportError`].
    pub fn set_result<T: Serialize>(&self, value: &T, ttl: Duration) -> Result<(), ReportError> {
        if ttl < Duration::from_millis(1) || ttl > MAX_TTL {
            return Err(ReportError::Ttl(ttl));
        }
        let json = json(value, Self::MAX_RESULT)?;
        self.report.keep(Kept { json, ttl });
        Ok(())
    }
}

pub(crate) fn json<T: Serialize>(value: &T, limit: usize) -> Result<Vec<u8>, ReportError> {
    let json = serde_json::to_vec(value)?;
    match json.len() {
        size if size > limit => Err(ReportError::TooLarge { size, limit }),
        _ => Ok(json),
    }
}

impl Queue {
    /// The result of a job, when it is done and has left one that is still kept.
    ///
    /// # Errors
    /// [`Error::Redis`], and [`Error::Shape`] for a result that is no `T`.
    pub async fn result<T: DeserializeOwned>(
        &self,
        queue: &str,
        job: JobId,
    ) -> Result<Option<T>, Error> {
        self.read(queue, |keys| keys.result(job)).await
    }

    /// Waits for a job's result, at most for `timeout`, and says what is known of it then.
    ///
    /// It comes back as soon as the job is done, dead, or cancelled under a worker's hands.
    /// It asks Redis after pauses that grow to a second.
    ///
    /// # Errors
    /// As [`Queue::result`].
    pub async fn wait_result<T: DeserializeOwned>(
        &self,
        queue: &str,
        job: JobId,
        timeout: Duration,
    ) -> Result<Awaited<T>, Error> {
        let started = Instant::now();
        let [mut pause, longest] = PAUSES;
        loop {
            let left = timeout.saturating_sub(started.elapsed());
            if let Some(value) = self.result(queue, job).await? {
                return Ok(Awaited::Done(value));
            }
            if pause >= LOOK || left.is_zero() {
                let known = self.known(queue, job).await?;
                let over = matches!(known, Awaited::Dead { .. } | Awaited::Cancelled);
                if over || left.is_zero() {
                    // It may have ended between the two looks.
                    let ended = self.result(queue, job).await?;
                    return Ok(ended.map_or(known, Awaited::Done));
                }
            }
            tokio::time::sleep(pause.min(left)).await;
            pause = (pause * 2).min(longest);
        }
    }

    /// What is known of a job without a result.
    async fn known<T>(&self, queue: &str, job: JobId) -> Result<Awaited<T>, Error> {
        match self.find(queue, job).await? {
            Search::Found(found) => Ok(match found.place {
                Place::Dead { why, error, .. } => Awaited::Dead { why, error },
                _ => Awaited::Unfinished,
            }),
            Search::Unseen => Ok(Awaited::Unfinished),
            Search::Absent => {
                for keys in self.all_partitions(queue) {
                    let mut asked = redis::cmd("ZSCORE");
                    asked.arg(&keys.requests).arg(job.to_string());
                    if keys.connection.one(&asked).await? != Value::Nil {
                        return Ok(Awaited::Cancelled);
                    }
                }
                Ok(Awaited::Absent)
            }
        }
    }

    /// Reads the JSON in a key, in the partition that has it: where a job is depends on more
    /// than its id.
    pub(crate) async fn read<T: DeserializeOwned>(
        &self,
        queue: &str,
        key: impl Fn(&Keys) -> String,
    ) -> Result<Option<T>, Error> {
        for keys in self.all_partitions(queue) {
            let get = Cmd::new().arg("GET").arg(key(&keys)).take();
            match keys.connection.one(&get).await? {
                Value::Nil => {}
                Value::BulkString(json) => {
                    let value = serde_json::from_slice(&json);
                    return value.map(Some).map_err(Error::Shape);
                }
                _ => return Err(Error::Reply("GET")),
            }
        }
        Ok(None)
    }
}

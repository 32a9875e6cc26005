//! What is in a queue, by calls whose cost does not grow with it.

use redis::{Pipeline, Value};

use crate::{Error, Queue, connection::first_error, error::Trouble, keys::GROUP, reply::number};

/// How many jobs are where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Waiting for a worker.
    pub ready: u64,
    /// In the hands of a worker, or between two.
    pub in_hand: u64,
    /// Waiting for their time: delayed, or to be tried again.
    pub delayed: u64,
    /// Waiting for a worker that knows them.
    pub parked: u64,
    /// Dead letters.
    pub dead: u64,
    /// Dead letters that were trimmed, since the queue began.
    pub dead_trimmed: u64,
    /// Jobs that were cancelled, since the queue began.
    pub cancelled: u64,
}

impl Queue {
    /// Counts the jobs of a queue.
    ///
    /// # Errors
    /// [`Error::Redis`].
    pub async fn counts(&self, queue: &str) -> Result<Counts, Error> {
        let keys = self.keys(queue);
        let mut pipeline = Pipeline::new();
        pipeline.cmd("XLEN").arg(&keys.stream);
        pipeline.cmd("ZCARD").arg(&keys.delayed);
        pipeline.cmd("ZCARD").arg(&keys.parked);
        pipeline.cmd("XLEN").arg(&keys.dead);
        pipeline.cmd("HGET").arg(&keys.meta).arg("dead_trimmed");
        pipeline.cmd("HGET").arg(&keys.meta).arg("cancelled");
        pipeline.cmd("XPENDING").arg(&keys.stream).arg(GROUP);
        let mut answers = self.connection().all(&pipeline).await?;
        let pending = match answers.pop() {
            // No group yet, so nothing is pending.
            Some(Value::ServerError(error))
                if Trouble::of(&error.clone().into()) == Trouble::NoGroup =>
            {
                0
            }
            Some(Value::ServerError(error)) => return Err(Error::Redis(error.into())),
            Some(Value::Array(summary)) => summary.first().map_or(0, number),
            _ => return Err(Error::Reply("XPENDING")),
        };
        first_error(&answers)?;
        let [length, delayed, parked, dead, trimmed, cancelled] = answers.as_slice() else {
            return Err(Error::Reply("a pipeline"));
        };
        Ok(Counts {
            ready: number(length).saturating_sub(pending),
            in_hand: pending,
            delayed: number(delayed),
            parked: number(parked),
            dead: number(dead),
            dead_trimmed: number(trimmed),
            cancelled: number(cancelled),
        })
    }
}

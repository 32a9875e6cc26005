//! Pausing a queue: a flag in Redis that every worker's tick reads.

use redis::Value;

use crate::{Error, Queue};

/// Field of the queue's own state that is there while it is paused.
const PAUSED: &str = "paused";

impl Queue {
    /// Lets no worker start a job of this queue until [`Queue::resume`].
    ///
    /// Nothing starts any more after one `tick` (100 ms) and the round trip that reads
    /// the flag. Jobs that run go on to their end; those that wait in a worker are
    /// handed back, and nothing is counted against them. Producers are not held up,
    /// and delayed jobs, retries and schedules move into the queue when they are due.
    ///
    /// The flag is in Redis with the queue's data, and is lost with them.
    ///
    /// # Errors
    /// [`Error::Redis`]; the queue may be paused all the same.
    pub async fn pause(&self, queue: &str) -> Result<(), Error> {
        for keys in self.all_partitions(queue) {
            let mut cmd = redis::cmd("HSET");
            cmd.arg(&keys.meta).arg(PAUSED).arg(1);
            keys.connection.one(&cmd).await?;
        }
        Ok(())
    }

    /// Lets workers start jobs of this queue again, as soon as [`Queue::pause`] stops them.
    ///
    /// # Errors
    /// [`Error::Redis`]; the queue may be resumed all the same.
    pub async fn resume(&self, queue: &str) -> Result<(), Error> {
        for keys in self.all_partitions(queue) {
            let mut cmd = redis::cmd("HDEL");
            cmd.arg(&keys.meta).arg(PAUSED);
            keys.connection.one(&cmd).await?;
        }
        Ok(())
    }

    /// Whether the queue is paused: all of its partitions, where it has several.
    ///
    /// # Errors
    /// [`Error::Redis`].
    pub async fn is_paused(&self, queue: &str) -> Result<bool, Error> {
        for keys in self.all_partitions(queue) {
            let mut cmd = redis::cmd("HGET");
            cmd.arg(&keys.meta).arg(PAUSED);
            if keys.connection.one(&cmd).await? == Value::Nil {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

//! Runs a schedule now: a slot that somebody asks for, beside those of its rule.
//!
//! Only a worker can make the schedule's job. So the caller leaves word in Redis, among the
//! slots that are due, and the first worker with the schedule takes it up at its next tick.

use redis::Value;

use crate::{Error, JobId, Queue, partitions::queue_of, schedule::asked_id, scripts};

impl Queue {
    /// Asks for one job of this schedule now; returns the id that the job will have.
    ///
    /// A worker that has the schedule enqueues it at its next tick, at most 100 ms later; while
    /// none is there, it waits for one. The payload is made for the time of the call, by the
    /// server's clock. The usual slots come as if nothing had happened. A second call before
    /// the first was taken up changes nothing, and returns the same id.
    ///
    /// # Errors
    /// [`Error::NoSchedule`] when no worker has told of a schedule with this name for the
    /// queue, and [`Error::Redis`].
    pub async fn run_schedule(&self, queue: &str, name: &str) -> Result<JobId, Error> {
        // Schedules are in the first partition.
        let queue = queue_of(queue);
        let keys = self.partition(queue);
        let mut cmd = scripts::call(&scripts::ASK_SLOT, &[&keys.cron, &keys.cronspec]);
        cmd.arg(name);
        match keys.connection.one(&cmd).await? {
            Value::Int(slot) => {
                let slot = u64::try_from(slot).map_err(|_| Error::Reply("ask_slot.lua"))?;
                Ok(asked_id(&self.settings().namespace, queue, name, slot))
            }
            Value::Nil => Err(Error::NoSchedule {
                queue: queue.to_owned(),
                name: name.to_owned(),
            }),
            _ => Err(Error::Reply("ask_slot.lua")),
        }
    }
}

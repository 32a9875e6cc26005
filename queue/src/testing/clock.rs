//! Moves time, where time is more than waiting: delayed jobs and schedules.

use std::{
    ops::Range,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use redis::{FromRedisValue, Pipeline, Value};

use crate::{
    Envelope, Error, Queue, Registry,
    connection::first_error,
    envelope::{epoch_ms, whole_ms},
    queue::Partition,
};

/// A slot of a schedule, and the job that it fires.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fired {
    /// The schedule's name.
    pub schedule: String,
    /// The slot.
    pub at: SystemTime,
    /// Its job, for [`perform_envelope`](super::perform_envelope).
    pub job: Envelope,
}

/// What the schedules fire from the first of these times to just before the other.
///
/// It asks no clock and no Redis: the workers are there all the while, so nothing
/// has to be caught up with. Slots come in their order.
///
/// # Panics
/// When [`Registry::check`] finds a mistake, or a schedule's function panics.
pub fn fired<C: Send + 'static>(registry: &Registry<C>, times: Range<SystemTime>) -> Vec<Fired> {
    registry.check().expect("every schedule is right");
    let end = epoch_ms(times.end);
    let mut all = Vec::new();
    for plan in &registry.schedules {
        let mut slot = plan.after(epoch_ms(times.start).saturating_sub(1));
        while let Some(at) = slot.filter(|at| *at < end) {
            all.push(Fired {
                schedule: plan.name.clone(),
                at: UNIX_EPOCH + Duration::from_millis(at),
                job: plan.job("test", at, at).expect("a job for the slot"),
            });
            slot = plan.after(at);
        }
    }
    all.sort_by_key(|fired| fired.at);
    all
}

/// Brings the delayed jobs of a queue closer, as if this time had passed.
///
/// Returns how many there are; those whose time has come now run like any other.
/// Retries are delayed jobs too. Other clocks stay as they are: that of schedules
/// ([`fired`] is for them), and the times to live of what Redis forgets by itself.
///
/// # Errors
/// [`Error::Redis`].
pub async fn pull_forward(queue: &Queue, name: &str, by: Duration) -> Result<usize, Error> {
    let mut pulled = 0;
    for partition in queue.all_partitions(name) {
        pulled += pull(&partition, by).await?;
    }
    Ok(pulled)
}

async fn pull(queue: &Partition, by: Duration) -> Result<usize, Error> {
    let delayed = &queue.delayed;
    let mut range = redis::cmd("ZRANGE");
    range.arg(delayed).arg(0).arg(-1);
    let jobs: Vec<String> = read(queue.connection.one(&range).await?, "ZRANGE")?;
    let mut pipeline = Pipeline::with_capacity(jobs.len());
    for job in jobs {
        // Only what is still there: a worker may have taken it meanwhile.
        let sooner = format!("-{}", whole_ms(by));
        pipeline.cmd("ZADD").arg(delayed).arg("XX").arg("INCR");
        pipeline.arg(sooner).arg(job);
    }
    let answers = queue.connection.all(&pipeline).await?;
    first_error(&answers)?;
    Ok(answers.iter().filter(|due| **due != Value::Nil).count())
}

/// How long the first delayed job of a queue has to wait, if there is one.
pub(super) async fn next_due(queue: &Queue, name: &str) -> Result<Option<Duration>, Error> {
    let mut next = None;
    for partition in queue.all_partitions(name) {
        let due = next_due_in(&partition).await?;
        next = [next, due].into_iter().flatten().min();
    }
    Ok(next)
}

async fn next_due_in(queue: &Partition) -> Result<Option<Duration>, Error> {
    let mut pipeline = Pipeline::new();
    pipeline.cmd("TIME");
    let delayed = &queue.delayed;
    pipeline.cmd("ZRANGE").arg(delayed).arg(0).arg(0);
    pipeline.arg("WITHSCORES");
    let answers = queue.connection.all(&pipeline).await?;
    first_error(&answers)?;
    let [time, first] = <[Value; 2]>::try_from(answers).map_err(|_| Error::Reply("a pipeline"))?;
    let (seconds, micros): (u64, u64) = read(time, "TIME")?;
    let first: Vec<(String, f64)> = read(first, "ZRANGE")?;
    let now = Duration::from_secs(seconds) + Duration::from_micros(micros);
    Ok(first.first().map(|(_, due)| {
        let due = Duration::try_from_secs_f64(due / 1000.0).unwrap_or_default();
        due.saturating_sub(now)
    }))
}

pub(super) fn read<T: FromRedisValue>(value: Value, command: &'static str) -> Result<T, Error> {
    redis::from_redis_value(value).map_err(|_| Error::Reply(command))
}

//! Queues that take no more jobs than they may have: back-pressure for producers.
//!
//! What a queue may have counts all that is neither parked nor at its end, with two
//! lengths that Redis knows: retries that wait are work left as much as new jobs, so a
//! queue whose jobs all fail fills up too. Only new jobs are refused. What was accepted
//! once moves as it must, and nothing is ever trimmed.

use redis::{Cmd, Value};

use crate::{
    EnqueueError, Job, JobId, Queue,
    envelope::Sealer,
    keys::Keys,
    partitions::Turn,
    queue::{CHUNK, WRITE_BYTES},
    scripts,
};

impl Queue {
    /// Most unfinished jobs that this producer lets the queue have, if there is a limit.
    #[must_use]
    pub fn limit(&self, queue: &str) -> Option<u64> {
        self.settings().limits.get(queue).copied()
    }

    /// [`Queue::enqueue_many`] for a queue with a limit, one write after the other.
    pub(crate) async fn enqueue_many_bounded<J: Job>(
        &self,
        jobs: &[J],
        limit: u64,
    ) -> Result<Vec<JobId>, EnqueueError> {
        let mut turn = Turn::new(self.all_partitions(J::QUEUE), jobs.len());
        let mut ids = Vec::with_capacity(jobs.len());
        let mut sealer = Sealer::plain(self.packer());
        while let rest @ [_, ..] = &jobs[ids.len()..] {
            let before = ids.len();
            let keys = turn.next();
            let rest = &rest[..turn.share(rest.len())];
            let share = keys.limit.unwrap_or(limit);
            let cmd = next_write(&keys, share, &mut sealer, rest, &mut ids)?;
            if keys.connection.one(&cmd).await? == Value::Int(0) {
                ids.truncate(before);
                return Err(EnqueueError::QueueFull {
                    queue: J::QUEUE.to_owned(),
                    limit,
                    taken: ids,
                });
            }
        }
        Ok(ids)
    }
}

/// The script that adds the first of the jobs, as many as make a full write.
fn next_write<J: Job>(
    keys: &Keys,
    limit: u64,
    sealer: &mut Sealer<'_, J>,
    jobs: &[J],
    ids: &mut Vec<JobId>,
) -> Result<Cmd, EnqueueError> {
    // More than the limit would never be taken.
    let most = usize::try_from(limit).unwrap_or(CHUNK).min(CHUNK);
    let mut cmd = add_bounded(keys, limit);
    let mut bytes = 0;
    for job in jobs.iter().take(most) {
        let (id, envelope) = sealer.seal(job)?;
        cmd.arg(envelope);
        ids.push(id);
        bytes += envelope.len();
        if bytes >= WRITE_BYTES {
            break;
        }
    }
    Ok(cmd)
}

/// The script that adds the jobs whose envelopes are its further arguments.
pub(crate) fn add_bounded(keys: &Keys, limit: u64) -> Cmd {
    let mut cmd = scripts::call(
        &scripts::BOUNDED,
        &keys.with_streams(&[&keys.delayed, &keys.blocked]),
    );
    cmd.arg(limit);
    cmd
}

/// Reads the answer of a script that enqueues: 0 where the queue is full.
pub(crate) fn check_room(
    queue: &str,
    limit: Option<u64>,
    answer: &Value,
) -> Result<(), EnqueueError> {
    match (limit, answer) {
        (Some(limit), Value::Int(0)) => Err(EnqueueError::QueueFull {
            queue: queue.to_owned(),
            limit,
            taken: Vec::new(),
        }),
        _ => Ok(()),
    }
}

//! Batches: jobs that run in any order, and one that follows when all of them have ended.

use std::{sync::Arc, time::Duration};

use redis::{Cmd, ErrorKind, RedisError, Value};
use uuid::Uuid;

use crate::{
    EnqueueError, Envelope, Error, Job, JobId, Queue,
    bound::check_room,
    partitions::bits_of,
    queue::{CHUNK, Partition, WRITE_BYTES},
    reply::number,
    scripts,
};

/// How long a batch is known after its producer has added to it last.
const KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Identity of a batch: a UUID of version 7.
pub type BatchId = Uuid;

/// Jobs of one queue, and the job that follows when all of them have ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    follows: Envelope,
    members: Vec<Envelope>,
}

/// Why a job cannot be a member of a batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BatchError {
    /// The script that ends a member enqueues what follows, in the same queue.
    #[error("a job of queue {queue} cannot be in a batch of queue {of}")]
    Queue {
        /// The job's queue.
        queue: String,
        /// That of the job which follows the batch.
        of: String,
    },
    /// Its members have all ended, or it is not known (any more) in the queue of the job.
    #[error("batch {0} is over, or not in this queue")]
    Over(BatchId),
}

/// How far a batch is. A member whose dead letter is replayed has ended all the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BatchState {
    /// Its members, as far as they were added.
    pub total: u64,
    /// Those that are done.
    pub done: u64,
    /// Those that became dead letters.
    pub dead: u64,
    /// Those that were cancelled or deleted.
    pub cancelled: u64,
    /// Whether its producer has added all; if not, nothing follows it (yet).
    pub sealed: bool,
}

impl BatchState {
    /// Members that have not ended.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.total
            .saturating_sub(self.done + self.dead + self.cancelled)
    }

    /// Whether all have ended, so that what follows was enqueued.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.sealed && self.left() == 0
    }
}

impl Batch {
    /// A batch without members, which this job follows.
    ///
    /// # Errors
    /// As [`Envelope::new`].
    pub fn followed_by<J: Job>(job: &J) -> Result<Self, EnqueueError> {
        let mut follows = Envelope::new(job)?;
        follows.follows = Some(Uuid::now_v7());
        let members = Vec::new();
        Ok(Self { follows, members })
    }

    /// Adds a member; returns its id.
    ///
    /// # Errors
    /// [`BatchError::Queue`], as [`EnqueueError::Batch`], and those of [`Envelope::new`].
    pub fn add<J: Job>(&mut self, job: &J) -> Result<JobId, EnqueueError> {
        let of = &self.follows.queue;
        if J::QUEUE != of {
            let (queue, of) = (J::QUEUE.to_owned(), of.clone());
            return Err(BatchError::Queue { queue, of }.into());
        }
        let member = Envelope {
            batch: self.follows.follows,
            ..Envelope::new(job)?
        };
        let id = member.id;
        self.members.push(member);
        Ok(id)
    }

    /// The id of the job that follows.
    #[must_use]
    pub fn follower(&self) -> JobId {
        self.follows.id
    }
}

impl Queue {
    /// Enqueues a batch; its members run from now on, as workers are free.
    ///
    /// They are written up to 512 at a time. If that ends half way, by an error or a crash,
    /// those that were written run, and nothing follows them.
    ///
    /// # Errors
    /// As [`Queue::enqueue`]; of [`EnqueueError::QueueFull`] the members taken will run.
    pub async fn enqueue_batch(&self, batch: Batch) -> Result<BatchId, EnqueueError> {
        let Batch { follows, members } = batch;
        let id = follows.follows.unwrap_or_default();
        // All in one partition, where one script sees the last of them end.
        let keys = self.place(&follows.queue, bits_of(id.into(), None));
        let writes = writes(keys.limit, &members);
        let last = writes.len() - 1;
        for (at, (from, jobs)) in writes.into_iter().enumerate() {
            let place = Place {
                queue: &follows.queue,
                keys: &keys,
                batch: id,
                new: at == 0,
            };
            let sealed_by = (at == last).then_some(&follows);
            self.add_members(place, jobs, sealed_by)
                .await
                .map_err(|error| with_taken(error, &members[..from]))?;
        }
        Ok(id)
    }

    /// Adds members to a batch while one of its members runs, which
    /// [`crate::JobContext::batch`] names.
    ///
    /// What follows the batch waits for them, too.
    ///
    /// # Errors
    /// As [`Queue::enqueue_batch`], and [`BatchError::Over`] as [`EnqueueError::Batch`]: of
    /// more than 512 jobs, those of the writes before it were taken, and have ended.
    pub async fn enqueue_into_batch<J: Job>(
        &self,
        batch: BatchId,
        jobs: &[J],
    ) -> Result<Vec<JobId>, EnqueueError> {
        let member = |job| {
            Ok(Envelope {
                batch: Some(batch),
                ..Envelope::new(job)?
            })
        };
        let members = jobs.iter().map(member);
        let members = members.collect::<Result<Vec<_>, EnqueueError>>()?;
        let known = self.look_up(J::QUEUE, batch).await.map_err(refused)?;
        let Some((keys, _)) = known else {
            return Err(BatchError::Over(batch).into());
        };
        for (from, jobs) in writes(keys.limit, &members) {
            let place = Place {
                queue: J::QUEUE,
                keys: &keys,
                batch,
                new: false,
            };
            self.add_members(place, jobs, None)
                .await
                .map_err(|error| with_taken(error, &members[..from]))?;
        }
        Ok(members.iter().map(|member| member.id).collect())
    }

    /// How far a batch is; none when it is not known (any more).
    ///
    /// It is known for 30 days after its producer, or a member, has added to it last.
    ///
    /// # Errors
    /// [`Error::Redis`].
    pub async fn batch(&self, queue: &str, batch: BatchId) -> Result<Option<BatchState>, Error> {
        let known = self.look_up(queue, batch).await?;
        Ok(known.map(|(_, state)| state))
    }

    /// A batch, and the partition that has it.
    async fn look_up(
        &self,
        queue: &str,
        batch: BatchId,
    ) -> Result<Option<(Arc<Partition>, BatchState)>, Error> {
        for keys in self.all_partitions(queue) {
            let mut cmd = redis::cmd("HMGET");
            cmd.arg(keys.batch(batch));
            cmd.arg(&["total", "done", "dead", "cancelled", "sealed"]);
            let answer = keys.connection.one(&cmd).await?;
            let Value::Array(fields) = answer else {
                return Err(Error::Reply("HMGET"));
            };
            let [total, done, dead, cancelled, sealed] = &fields[..] else {
                return Err(Error::Reply("HMGET"));
            };
            if *total != Value::Nil {
                let state = BatchState {
                    total: number(total),
                    done: number(done),
                    dead: number(dead),
                    cancelled: number(cancelled),
                    sealed: *sealed != Value::Nil,
                };
                return Ok(Some((keys, state)));
            }
        }
        Ok(None)
    }

    async fn add_members(
        &self,
        place: Place<'_>,
        members: &[Envelope],
        sealed_by: Option<&Envelope>,
    ) -> Result<(), EnqueueError> {
        let packer = self.packer();
        let mut cmd = place.script();
        cmd.arg(sealed_by.map_or_else(Vec::new, |job| packer.encode(job)));
        match place.keys.limit {
            Some(limit) => cmd.arg(limit),
            None => cmd.arg(""),
        };
        cmd.arg(KEPT.as_secs());
        for member in members {
            cmd.arg(member.id.to_string()).arg(packer.encode(member));
        }
        let answer = place.keys.connection.one(&cmd).await?;
        check_room(place.queue, self.limit(place.queue), &answer)?;
        match answer {
            Value::Int(-1) => Err(BatchError::Over(place.batch).into()),
            _ => Ok(()),
        }
    }
}

/// Which batch to write to.
#[derive(Clone, Copy)]
struct Place<'a> {
    queue: &'a str,
    keys: &'a Partition,
    batch: BatchId,
    /// It is not there yet.
    new: bool,
}

impl Place<'_> {
    fn script(&self) -> Cmd {
        let keys = self.keys;
        let mut named = vec![keys.members(self.batch), keys.batch(self.batch)];
        named.extend_from_slice(&keys.streams);
        named.extend([keys.delayed.clone(), keys.blocked.clone()]);
        if self.new {
            named.extend(keys.batch_to_be());
        }
        scripts::call(&scripts::BATCH, &named)
    }
}

/// The members, as many together as make a full write, and how many stand before them; one
/// write without any, of none.
fn writes(limit: Option<u64>, members: &[Envelope]) -> Vec<(usize, &[Envelope])> {
    // More than the limit would never be taken.
    let most = limit.and_then(|limit| usize::try_from(limit).ok());
    let most = most.map_or(CHUNK, |limit| limit.min(CHUNK));
    let mut writes = Vec::new();
    let (mut from, mut bytes) = (0, 0);
    for (at, member) in members.iter().enumerate() {
        if at - from >= most || bytes >= WRITE_BYTES {
            writes.push((from, &members[from..at]));
            (from, bytes) = (at, 0);
        }
        bytes += member.payload.len();
    }
    writes.push((from, &members[from..]));
    writes
}

/// Why a batch could not be looked up, as the reason why nothing was enqueued.
fn refused(error: Error) -> EnqueueError {
    match error {
        Error::Redis(error) => error.into(),
        other => {
            let what = (
                ErrorKind::UnexpectedReturnType,
                "a batch",
                other.to_string(),
            );
            RedisError::from(what).into()
        }
    }
}

/// The error, with the jobs of the writes before it.
fn with_taken(mut error: EnqueueError, before: &[Envelope]) -> EnqueueError {
    if let EnqueueError::QueueFull { taken, .. } = &mut error {
        taken.extend(before.iter().map(|job| job.id));
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_over_when_it_is_sealed_and_all_have_ended() {
        let mut state = BatchState {
            total: 3,
            done: 1,
            dead: 1,
            ..BatchState::default()
        };
        assert_eq!((state.left(), state.is_over()), (1, false));
        state.cancelled = 1;
        assert_eq!((state.left(), state.is_over()), (0, false));
        state.sealed = true;
        assert!(state.is_over());
    }
}

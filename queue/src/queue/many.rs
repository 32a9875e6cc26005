//! Many jobs of one kind at once.

use std::task::Poll;

use futures_util::{StreamExt, TryStreamExt, stream::FuturesOrdered};
use redis::Pipeline;

use super::{Queue, add};
use crate::{
    EnqueueError, Job, JobId, connection::first_error, envelope::Sealer, keys::Keys,
    partitions::Turn,
};

/// Commands in one write of [`Queue::enqueue_many`].
pub(crate) const CHUNK: usize = 512;
/// Bytes with which a write is full, whatever it consists of: a slow network must carry it
/// within the limit for an answer.
pub(crate) const WRITE_BYTES: usize = 4 * 1024 * 1024;
/// Writes of [`Queue::enqueue_many`] under way at once.
const CHUNKS_IN_FLIGHT: usize = 4;

impl Queue {
    /// Enqueues many jobs, up to 512 or some 4 MiB to a write.
    ///
    /// A queue with a limit takes all jobs of a write or none, and no write after the
    /// first that it refuses.
    ///
    /// # Errors
    /// As [`Queue::enqueue`]; some of the jobs may have been enqueued.
    /// [`EnqueueError::QueueFull`] says which were.
    pub async fn enqueue_many<J: Job>(&self, jobs: &[J]) -> Result<Vec<JobId>, EnqueueError> {
        if let Some(limit) = self.limit(J::QUEUE) {
            return self.enqueue_many_bounded(jobs, limit).await;
        }
        let mut turn = Turn::new(self.all_partitions(J::QUEUE), jobs.len());
        let mut ids = Vec::with_capacity(jobs.len());
        let mut writes = FuturesOrdered::new();
        let mut sealer = Sealer::plain(self.packer());
        while let rest @ [_, ..] = &jobs[ids.len()..] {
            let queue = turn.next();
            let rest = &rest[..turn.share(rest.len())];
            let pipeline = next_write(&queue.keys, &mut sealer, rest, &mut ids)?;
            // Redis works on the writes before, while the next is put together.
            let write = async move { first_error(&queue.connection.all(&pipeline).await?) };
            writes.push_back(write);
            if writes.len() == CHUNKS_IN_FLIGHT {
                writes.next().await.transpose()?;
            } else {
                // A first poll is what sends a write.
                if let Poll::Ready(Some(sent)) = futures_util::poll!(writes.next()) {
                    sent?;
                }
            }
        }
        writes.try_collect::<()>().await?;
        Ok(ids)
    }
}

/// The commands that add the first of the jobs, as many as make a full write.
fn next_write<J: Job>(
    keys: &Keys,
    sealer: &mut Sealer<'_, J>,
    jobs: &[J],
    ids: &mut Vec<JobId>,
) -> Result<Pipeline, EnqueueError> {
    let mut pipeline = Pipeline::with_capacity(jobs.len().min(CHUNK));
    let mut bytes = 0;
    for job in jobs.iter().take(CHUNK) {
        let (id, envelope) = sealer.seal(job)?;
        pipeline.add_command(add(keys, J::PRIORITY, envelope));
        ids.push(id);
        bytes += envelope.len();
        if bytes >= WRITE_BYTES {
            break;
        }
    }
    Ok(pipeline)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Envelope, Packer};

    #[derive(serde::Serialize, serde::Deserialize)]
    struct Text(String);

    impl Job for Text {
        const NAME: &'static str = "text";
    }

    #[test]
    fn a_write_is_full_by_number_or_by_bytes() {
        let (keys, packer) = (Keys::new("test", Text::QUEUE), Packer::default());
        for (length, full) in [(0, CHUNK), (Envelope::MAX_PAYLOAD - 2, 16)] {
            let jobs: Vec<_> = (0..CHUNK + 1).map(|_| Text("x".repeat(length))).collect();
            let mut ids = Vec::new();
            let write = next_write(&keys, &mut Sealer::plain(&packer), &jobs, &mut ids).unwrap();
            assert_eq!((write.len(), ids.len()), (full, full), "of {length} bytes");
        }
    }
}

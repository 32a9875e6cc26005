use std::{
    panic::Location,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use redis::{
    Pipeline, RedisResult, Value,
    streams::{StreamPendingCountReply, StreamRangeReply},
};

use super::clock::read;
use crate::{
    Envelope, Error, Job, JobId, Packer, Queue, connection::first_error, error::Trouble,
    keys::ENVELOPE, keys::GROUP, queue::Partition, registry,
};

/// A job that was enqueued and that no worker has taken up.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Waiting<J> {
    /// Its id.
    pub id: JobId,
    /// Its payload, lifted to this release's version.
    pub job: J,
    /// Its time, for a delayed job.
    pub run_at: Option<SystemTime>,
    /// All that a worker gets, unpacked, for [`perform_envelope`](super::perform_envelope).
    pub envelope: Envelope,
}

impl<J: Job> Waiting<J> {
    /// Reads an envelope; `None` if it has a job of another kind.
    ///
    /// # Panics
    /// When it is no envelope, it cannot be unpacked, or its payload does not fit the job.
    #[must_use]
    pub fn read(envelope: &[u8], run_at: Option<SystemTime>, packer: &Packer) -> Option<Self> {
        let mut envelope = Envelope::decode(envelope).expect("an envelope");
        if envelope.name != J::NAME {
            return None;
        }
        if let Err(error) = packer.unpack(&mut envelope) {
            panic!("{} {}: {error}", J::NAME, envelope.id);
        }
        let job = registry::read(envelope.version, &envelope.payload);
        Some(Self {
            id: envelope.id,
            job: job.unwrap_or_else(|misfit| panic!("{} {}: {misfit}", J::NAME, envelope.id)),
            run_at,
            envelope,
        })
    }
}

/// The jobs of one kind that wait in its queue: the ready ones, then by their time.
///
/// Not those that a worker has in hand, nor dead letters, nor jobs that are parked or blocked.
///
/// # Panics
/// When Redis does not answer, or a payload does not fit the job.
pub async fn enqueued<J: Job>(queue: &Queue) -> Vec<Waiting<J>> {
    let mut envelopes = Vec::new();
    for partition in queue.all_partitions(J::QUEUE) {
        envelopes.extend(waiting(&partition).await.expect("Redis answers"));
    }
    // Those for now first, and stable: as they wait in each partition.
    envelopes.sort_by_key(|(_, run_at)| *run_at);
    let packer = queue.packer();
    let read = |(envelope, run_at): &(Vec<u8>, _)| Waiting::read(envelope, *run_at, packer);
    envelopes.iter().filter_map(read).collect()
}

/// Checks that a job that fits waits in its queue, and returns the first.
///
/// # Panics
/// When there is none, with the jobs of that kind which wait; as [`enqueued`].
#[track_caller]
pub fn assert_enqueued<J: Job>(
    queue: &Queue,
    fits: impl Fn(&J) -> bool,
) -> impl Future<Output = Waiting<J>> {
    let at = Location::caller();
    async move { pick(enqueued(queue).await, fits, at) }
}

/// The first of these jobs that fits, for who finds them elsewhere than in Redis.
///
/// # Panics
/// When none does, in the name of the place `at`.
pub fn pick<J: Job>(
    waiting: Vec<Waiting<J>>,
    fits: impl Fn(&J) -> bool,
    at: &Location<'_>,
) -> Waiting<J> {
    let (mut others, mut text) = (0, String::new());
    for one in waiting {
        if fits(&one.job) {
            return one;
        }
        others += 1;
        text.push_str("\n  ");
        text.push_str(&String::from_utf8_lossy(&one.envelope.payload));
    }
    panic!(
        "{at}: of {others} jobs {} that wait none fits{text}",
        J::NAME
    )
}

/// Envelopes and times of all jobs that wait.
async fn waiting(keys: &Partition) -> Result<Vec<(Vec<u8>, Option<SystemTime>)>, Error> {
    let connection = &keys.connection;
    let mut all = Vec::new();
    for stream in &keys.streams {
        let mut range = redis::cmd("XRANGE");
        range.arg(stream).arg("-").arg("+");
        let entries: StreamRangeReply = read(connection.one(&range).await?, "XRANGE")?;
        let mut pending = redis::cmd("XPENDING");
        pending.arg(stream).arg(GROUP).arg("-").arg("+");
        pending.arg(entries.ids.len().max(1));
        let in_hand = in_hand(connection.one(&pending).await)?;
        for entry in &entries.ids {
            if !in_hand.contains(&entry.id)
                && let Some(Value::BulkString(envelope)) = entry.map.get(ENVELOPE)
            {
                all.push((envelope.clone(), None));
            }
        }
    }

    let mut range = redis::cmd("ZRANGE");
    range.arg(&keys.delayed).arg(0).arg(-1).arg("WITHSCORES");
    let delayed: Vec<(String, f64)> = read(connection.one(&range).await?, "ZRANGE")?;
    let mut pipeline = Pipeline::with_capacity(delayed.len());
    for (id, _) in &delayed {
        pipeline.cmd("HGET").arg(&keys.payloads).arg(id);
    }
    let envelopes = connection.all(&pipeline).await?;
    first_error(&envelopes)?;
    for (envelope, (_, due)) in envelopes.into_iter().zip(delayed) {
        if let Value::BulkString(envelope) = envelope {
            let since = Duration::try_from_secs_f64(due / 1000.0).unwrap_or_default();
            all.push((envelope, UNIX_EPOCH.checked_add(since)));
        }
    }
    Ok(all)
}

/// The entries that workers hold.
fn in_hand(answer: RedisResult<Value>) -> Result<Vec<String>, Error> {
    match answer {
        // No worker was ever there.
        Err(error) if Trouble::of(&error) == Trouble::NoGroup => Ok(Vec::new()),
        answer => {
            let pending: StreamPendingCountReply = read(answer?, "XPENDING")?;
            Ok(pending.ids.into_iter().map(|entry| entry.id).collect())
        }
    }
}

use std::{
    collections::HashMap,
    ops::Deref,
    sync::{Arc, PoisonError, RwLock},
    task::Poll,
    time::{Duration, SystemTime},
};

use futures_util::{StreamExt, TryStreamExt, stream::FuturesOrdered};
use redis::{Cmd, ErrorKind, Pipeline, RedisError, Value};

use crate::{
    EnqueueError, Enqueued, Envelope, Error, Job, JobId, Options, Priority, Run, UniqueHash,
    bound::{add_bounded, check_room},
    connection::{Connection, Connections, first_error},
    envelope::{Extras, Sealer, epoch_ms, unique_hash, whole_ms},
    keys::{ENVELOPE, Keys},
    reply::parse,
    scripts,
    settings::Settings,
};

/// Commands in one write of [`Queue::enqueue_many`].
pub(crate) const CHUNK: usize = 512;
/// Bytes with which a write is full, whatever it consists of: a slow network must carry it
/// within the limit for an answer.
pub(crate) const WRITE_BYTES: usize = 4 * 1024 * 1024;
/// Writes of [`Queue::enqueue_many`] under way at once.
const CHUNKS_IN_FLIGHT: usize = 4;
/// The queue whose server is asked by [`Queue::ping`] in any case.
const PINGED: &str = "default";
/// Limit for [`Queue::ping`], which stands in readiness probes.
const PING_TIMEOUT: Duration = Duration::from_millis(900);

/// The producer's side of the queue; a clone is cheap and shares the connection.
#[derive(Clone)]
pub struct Queue(Arc<Inner>);

struct Inner {
    settings: Settings,
    connections: Connections,
    partitions: RwLock<HashMap<String, Arc<Partition>>>,
}

/// What decides where a job's envelope goes, besides its time.
#[derive(Clone, Copy)]
struct Shape {
    priority: Priority,
    unique: Option<UniqueHash>,
}

impl Shape {
    /// That of a job with nothing beyond what its kind says.
    fn of<J: Job>() -> Self {
        Self {
            priority: J::PRIORITY,
            unique: None,
        }
    }
}

/// Where one queue is: its keys, and a connection to the server that has them.
pub(crate) struct Partition {
    pub(crate) keys: Arc<Keys>,
    pub(crate) connection: Connection,
}

impl Deref for Partition {
    type Target = Keys;

    fn deref(&self) -> &Keys {
        &self.keys
    }
}

impl Queue {
    /// A queue that connects when it is first used, and again when it must.
    ///
    /// # Errors
    /// [`Error::Settings`]; never because Redis is away.
    #[expect(
        clippy::unused_async,
        reason = "the connection's task belongs to the caller's runtime"
    )]
    pub async fn connect(settings: Settings) -> Result<Self, Error> {
        settings.check()?;
        let connections = Connections::new(&settings, settings.tuning.response_timeout);
        Ok(Self(Arc::new(Inner {
            settings,
            connections,
            partitions: RwLock::new(HashMap::new()),
        })))
    }

    /// Asks Redis for a sign of life, for at most a second; in a Cluster one node that has
    /// a queue which was used here will do.
    ///
    /// # Errors
    /// [`Error::Redis`] when there is none.
    pub async fn ping(&self) -> Result<(), Error> {
        let ping = redis::cmd("PING");
        let connections = self.connections();
        let asked = connections.iter().map(|one| Box::pin(one.one(&ping)));
        let asked = futures_util::future::select_ok(asked);
        match tokio::time::timeout(PING_TIMEOUT, asked).await {
            Ok(answer) => Ok(answer.map(drop)?),
            Err(elapsed) => Err(Error::Redis(std::io::Error::from(elapsed).into())),
        }
    }

    /// A connection to each server that is in use, at least one.
    fn connections(&self) -> Vec<Connection> {
        let first = self.partition(PINGED).connection.clone();
        let mut connections = vec![first];
        let known = self.0.partitions.read();
        for partition in known.unwrap_or_else(PoisonError::into_inner).values() {
            let connection = &partition.connection;
            if !connections.iter().any(|one| one.is(connection)) {
                connections.push(connection.clone());
            }
        }
        connections
    }

    /// Enqueues a job to run as soon as a worker is free.
    ///
    /// # Errors
    /// See [`EnqueueError`]. After [`EnqueueError::Unavailable`] the job may have
    /// been enqueued all the same: a repeat can double it. Where that matters, use
    /// the outbox.
    pub async fn enqueue<J: Job>(&self, job: &J) -> Result<JobId, EnqueueError> {
        let mut sealer = Sealer::plain();
        let (id, envelope) = sealer.seal(job)?;
        let limit = self.limit(J::QUEUE);
        let queue = self.partition(J::QUEUE);
        let cmd = match limit {
            None => add(&queue, J::PRIORITY, envelope),
            Some(limit) => add_bounded(&queue, limit).arg(envelope).take(),
        };
        let answer = queue.connection.one(&cmd).await?;
        check_room(J::QUEUE, limit, &answer)?;
        Ok(id)
    }

    /// Enqueues a job unless another one of its kind holds this key.
    ///
    /// The key is held until the job is done or a dead letter; the README says
    /// what that is worth.
    ///
    /// # Errors
    /// As [`Queue::enqueue`]; a repeat tells a duplicate, if the job was enqueued.
    pub async fn enqueue_unique<J: Job>(
        &self,
        job: &J,
        key: impl Into<String>,
    ) -> Result<Enqueued, EnqueueError> {
        let options = Options {
            unique: Some(key.into()),
            ..Options::default()
        };
        self.enqueue_with(job, &options).await
    }

    /// Enqueues a job to run at its time, unless another one holds its key.
    ///
    /// # Errors
    /// As [`Queue::enqueue_unique`].
    pub async fn enqueue_with<J: Job>(
        &self,
        job: &J,
        options: &Options,
    ) -> Result<Enqueued, EnqueueError> {
        let key = options.unique.as_deref();
        let unique = key.map(|key| unique_hash(J::NAME, key));
        let slot = options.slot.as_ref().map(|limit| limit.slot(J::QUEUE));
        let extras = Extras {
            unique,
            slot,
            ..Extras::default()
        };
        let priority = options.priority.unwrap_or(J::PRIORITY);
        let mut sealer = Sealer::new(priority, extras);
        let (id, envelope) = sealer.seal(job)?;
        let shape = Shape { priority, unique };
        self.submit(J::QUEUE, id, envelope, options.run, shape)
            .await
    }

    /// Enqueues a job that is in an envelope already, for example one with a
    /// trace context; with [`Envelope::unique`], unless another one holds the key.
    ///
    /// # Errors
    /// As [`Queue::enqueue_unique`], and [`EnqueueError::Envelope`].
    pub async fn enqueue_envelope(&self, envelope: &Envelope) -> Result<Enqueued, EnqueueError> {
        envelope.check()?;
        let bytes = envelope.encode();
        let shape = Shape {
            priority: envelope.priority,
            unique: envelope.unique,
        };
        self.submit(&envelope.queue, envelope.id, &bytes, Run::Now, shape)
            .await
    }

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
        let queue = self.partition(J::QUEUE);
        let mut ids = Vec::with_capacity(jobs.len());
        let mut writes = FuturesOrdered::new();
        let mut sealer = Sealer::plain();
        while let rest @ [_, ..] = &jobs[ids.len()..] {
            let pipeline = next_write(&queue.keys, &mut sealer, rest, &mut ids)?;
            // Redis works on the writes before, while the next is put together.
            let connection = &queue.connection;
            let write = async move { first_error(&connection.all(&pipeline).await?) };
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

    /// Enqueues a job to run after this time, by the server's clock.
    ///
    /// # Errors
    /// As [`Queue::enqueue`].
    pub async fn enqueue_in<J: Job>(
        &self,
        job: &J,
        delay: Duration,
    ) -> Result<JobId, EnqueueError> {
        let mut sealer = Sealer::plain();
        let (id, envelope) = sealer.seal(job)?;
        let run = Run::In(delay);
        let enqueued = self
            .submit(J::QUEUE, id, envelope, run, Shape::of::<J>())
            .await?;
        Ok(enqueued.id())
    }

    /// Enqueues a job to run at this time, by the server's clock.
    ///
    /// # Errors
    /// As [`Queue::enqueue`].
    pub async fn enqueue_at<J: Job>(
        &self,
        job: &J,
        time: SystemTime,
    ) -> Result<JobId, EnqueueError> {
        let mut sealer = Sealer::plain();
        let (id, envelope) = sealer.seal(job)?;
        let run = Run::At(time);
        let enqueued = self
            .submit(J::QUEUE, id, envelope, run, Shape::of::<J>())
            .await?;
        Ok(enqueued.id())
    }

    async fn submit(
        &self,
        queue: &str,
        id: JobId,
        envelope: &[u8],
        run: Run,
        shape: Shape,
    ) -> Result<Enqueued, EnqueueError> {
        let partition = self.partition(queue);
        let keys = &partition.keys;
        let (mode, ms) = match run {
            Run::Now => ("now", 0),
            Run::In(delay) => ("in", whole_ms(delay)),
            Run::At(time) => ("at", epoch_ms(time)),
        };
        let limit = self.limit(queue);
        let Some(unique) = shape.unique else {
            let cmd = match (run, limit) {
                (Run::Now, None) => add(keys, shape.priority, envelope),
                (Run::Now, Some(limit)) => add_bounded(keys, limit).arg(envelope).take(),
                _ => {
                    let mut named = vec![&keys.payloads[..], &keys.delayed];
                    if limit.is_some() {
                        named.extend(keys.streams.iter().map(String::as_str));
                        named.push(&keys.blocked);
                    }
                    let mut cmd = scripts::call(&scripts::SCHEDULE, &named);
                    cmd.arg(id.to_string()).arg(envelope).arg(mode).arg(ms);
                    cmd.arg(limit);
                    cmd
                }
            };
            let answer = partition.connection.one(&cmd).await?;
            check_room(queue, limit, &answer)?;
            return Ok(Enqueued::New(id));
        };
        #[cfg(feature = "testing")]
        assert!(
            self.settings().newest_envelope > crate::envelope::PLAIN,
            "the release before knows no unique jobs"
        );
        let lock = keys.lock(unique);
        let mut cmd = scripts::call(
            &scripts::UNIQUE,
            &keys.with_streams(&[&keys.payloads, &keys.delayed, &lock, &keys.blocked]),
        );
        cmd.arg(id.to_string())
            .arg(envelope)
            .arg(mode)
            .arg(ms)
            .arg(whole_ms(self.settings().tuning.unique_ttl))
            .arg(limit);
        let answer = partition.connection.one(&cmd).await?;
        check_room(queue, limit, &answer)?;
        match answer {
            Value::Nil => Ok(Enqueued::New(id)),
            holder => match parse(&holder) {
                Some(holder) => Ok(Enqueued::Duplicate(holder)),
                None => {
                    let what = "unique.lua answered in an unknown form";
                    Err(RedisError::from((ErrorKind::UnexpectedReturnType, what)).into())
                }
            },
        }
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.0.settings
    }

    pub(crate) fn partition(&self, queue: &str) -> Arc<Partition> {
        let known = &self.0.partitions;
        let read = known.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(partition) = read.get(queue) {
            return Arc::clone(partition);
        }
        drop(read);
        let keys = Arc::new(Keys::new(&self.settings().namespace, queue));
        let connection = self.0.connections.to(&keys.meta);
        let partition = Arc::new(Partition { keys, connection });
        let mut known = known.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(known.entry(queue.to_owned()).or_insert(partition))
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

fn add(keys: &Keys, priority: Priority, envelope: &[u8]) -> Cmd {
    let mut cmd = Cmd::with_capacity(5, envelope.len() + 64);
    cmd.arg("XADD").arg(keys.stream(priority));
    cmd.arg("*").arg(ENVELOPE);
    cmd.arg(envelope);
    cmd
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Serialize, serde::Deserialize)]
    struct Text(String);

    impl Job for Text {
        const NAME: &'static str = "text";
    }

    #[test]
    fn a_write_is_full_by_number_or_by_bytes() {
        let keys = Keys::new("test", Text::QUEUE);
        for (length, full) in [(0, CHUNK), (Envelope::MAX_PAYLOAD - 2, 16)] {
            let jobs: Vec<_> = (0..CHUNK + 1).map(|_| Text("x".repeat(length))).collect();
            let mut ids = Vec::new();
            let write = next_write(&keys, &mut Sealer::plain(), &jobs, &mut ids).unwrap();
            assert_eq!((write.len(), ids.len()), (full, full), "of {length} bytes");
        }
    }
}

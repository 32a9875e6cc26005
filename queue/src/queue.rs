mod many;
mod partition;

use std::{
    collections::HashMap,
    sync::{Arc, RwLock},
    time::{Duration, SystemTime},
};

use redis::{Cmd, ErrorKind, RedisError, Value};

pub(crate) use self::{
    many::{CHUNK, WRITE_BYTES},
    partition::Partition,
};
use crate::{
    EnqueueError, Enqueued, Envelope, Error, Job, JobId, Options, Packer, Priority, Run, Slot,
    UniqueHash, UniqueMode,
    bound::{add_bounded, check_room},
    connection::{Connection, Connections},
    envelope::{Extras, Sealer, unique_hash, whole_ms},
    keys::{ENVELOPE, Keys},
    partitions::{bits_of, meeting},
    reply::parse,
    scripts,
    settings::Settings,
};

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
pub(crate) struct Shape {
    pub(crate) priority: Priority,
    pub(crate) unique: Option<UniqueHash>,
    pub(crate) slot: Option<Slot>,
}

impl Shape {
    /// That of a job with nothing beyond what its kind says.
    fn of<J: Job>() -> Self {
        Self {
            priority: J::PRIORITY,
            unique: None,
            slot: None,
        }
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

    /// Enqueues a job to run as soon as a worker is free.
    ///
    /// # Errors
    /// See [`EnqueueError`]. After [`EnqueueError::Unavailable`] the job may have
    /// been enqueued all the same: a repeat can double it. Where that matters, use
    /// the outbox.
    pub async fn enqueue<J: Job>(&self, job: &J) -> Result<JobId, EnqueueError> {
        let mut sealer = Sealer::plain(self.packer());
        let (id, envelope) = sealer.seal(job)?;
        let queue = self.place(J::QUEUE, bits_of(id, None));
        let cmd = match queue.limit {
            None => add(&queue, J::PRIORITY, envelope),
            Some(limit) => add_bounded(&queue, limit).arg(envelope).take(),
        };
        let answer = queue.connection.one(&cmd).await?;
        check_room(J::QUEUE, self.limit(J::QUEUE), &answer)?;
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

    /// Enqueues a job to run at its time; where another one holds its key, as its mode says.
    ///
    /// # Errors
    /// As [`Queue::enqueue_unique`], but a repeat in another mode than [`UniqueMode::Skip`]
    /// can replace the job itself.
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
            replaceable: unique.is_some() && options.mode == UniqueMode::KeepLast,
            slot,
            ..Extras::default()
        };
        let priority = options.priority.unwrap_or(J::PRIORITY);
        let mut sealer = Sealer::new(priority, extras, self.packer());
        let (id, envelope) = sealer.seal(job)?;
        let shape = Shape {
            priority,
            unique,
            slot,
        };
        self.submit_as(J::QUEUE, id, envelope, options, shape).await
    }

    /// Enqueues a job that is in an envelope already, for example one with a
    /// trace context; with [`Envelope::unique`], unless another one holds the key.
    /// A payload that is not packed is.
    ///
    /// # Errors
    /// As [`Queue::enqueue_unique`], and [`EnqueueError::Envelope`].
    pub async fn enqueue_envelope(&self, envelope: &Envelope) -> Result<Enqueued, EnqueueError> {
        envelope.check()?;
        let bytes = self.packer().encode(envelope);
        let shape = Shape {
            priority: envelope.priority,
            unique: envelope.unique,
            slot: envelope.slot,
        };
        self.submit(&envelope.queue, envelope.id, &bytes, Run::Now, shape)
            .await
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
        let mut sealer = Sealer::plain(self.packer());
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
        let mut sealer = Sealer::plain(self.packer());
        let (id, envelope) = sealer.seal(job)?;
        let run = Run::At(time);
        let enqueued = self
            .submit(J::QUEUE, id, envelope, run, Shape::of::<J>())
            .await?;
        Ok(enqueued.id())
    }

    pub(crate) async fn submit(
        &self,
        queue: &str,
        id: JobId,
        envelope: &[u8],
        run: Run,
        shape: Shape,
    ) -> Result<Enqueued, EnqueueError> {
        let partition = self.place(queue, bits_of(id, meeting(shape.unique, shape.slot)));
        let keys = &partition.keys;
        let (mode, ms) = run.words();
        let limit = partition.limit;
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
            check_room(queue, self.limit(queue), &answer)?;
            return Ok(Enqueued::New(id));
        };
        #[cfg(feature = "testing")]
        assert!(
            self.settings().newest_envelope > crate::envelope::PLAIN,
            "the release before knows no unique jobs"
        );
        let (lock, kept) = (keys.lock(unique), keys.kept(unique));
        let named = [
            &keys.payloads[..],
            &keys.delayed,
            &lock,
            &keys.blocked,
            &kept,
            &keys.meta,
        ];
        let mut cmd = scripts::call(&scripts::UNIQUE, &keys.with_streams(&named));
        cmd.arg(id.to_string())
            .arg(envelope)
            .arg(mode)
            .arg(ms)
            .arg(whole_ms(self.settings().tuning.unique_ttl))
            .arg(limit);
        let answer = partition.connection.one(&cmd).await?;
        check_room(queue, self.limit(queue), &answer)?;
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

    /// What packs the payloads of its jobs, and unpacks them: [`Settings::packing`].
    #[must_use]
    pub fn packer(&self) -> &Packer {
        &self.settings().packing
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// A connection to the server that has this key.
    pub(crate) fn connection_to(&self, key: &str) -> Connection {
        self.0.connections.to(key)
    }
}

fn add(keys: &Keys, priority: Priority, envelope: &[u8]) -> Cmd {
    let mut cmd = Cmd::with_capacity(5, envelope.len() + 64);
    cmd.arg("XADD").arg(keys.stream(priority));
    cmd.arg("*").arg(ENVELOPE);
    cmd.arg(envelope);
    cmd
}

//! The way of jobs from the outbox into Redis.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use redis::{Cmd, Pipeline, RedisError, Value};

use crate::{
    EnqueueError, JobId, Queue, Servers,
    connection::{Connection, first_error},
    envelope::{epoch_ms, slot_of, whole_ms},
    partitions::{bits_of, meeting, queue_of},
    queue::Partition,
    scripts,
};

/// Jobs in one script of [`Queue::relay`]: Redis does nothing else for as long as one runs, some
/// 5 µs for each job.
const RELAYED_AT_ONCE: usize = 128;

/// A job on its way from the outbox into Redis.
#[derive(Debug, Clone)]
pub struct Relayed {
    /// The encoded [`crate::Envelope`].
    pub envelope: Vec<u8>,
    /// Its id.
    pub id: JobId,
    /// Its queue.
    pub queue: String,
    /// When to run it; none, or a time that has passed, is now.
    pub run_at: Option<SystemTime>,
    /// How long from then on until it may be relayed again, for which it is remembered; zero if
    /// only an error makes the caller repeat itself.
    pub again_after: Duration,
}

impl Queue {
    /// Takes jobs over from the outbox; those that are known are passed over, and payloads
    /// that are not packed are.
    ///
    /// After a success all of them are in Redis. After an error some may be: call
    /// again with the same jobs.
    ///
    /// # Errors
    /// As [`Queue::enqueue`], and [`EnqueueError::Queue`] with the first queue refused.
    /// [`EnqueueError::QueueFull`] tells one queue that is, and which jobs are in Redis
    /// now, of any queue; it comes only where no other error does.
    pub async fn relay(&self, jobs: &[Relayed]) -> Result<(), EnqueueError> {
        let mut queues: BTreeMap<String, (Arc<Partition>, Vec<&Relayed>)> = BTreeMap::new();
        for job in jobs {
            let key = meeting(None, slot_of(&job.envelope));
            let queue = self.place(&job.queue, bits_of(job.id, key));
            match queues.get_mut(&queue.name) {
                Some((_, jobs)) => jobs.push(job),
                None => {
                    queues.insert(queue.name.clone(), (queue, vec![job]));
                }
            }
        }
        let mut writes: Vec<Write<'_>> = Vec::new();
        for (name, (queue, jobs)) in &queues {
            let name = queue_of(name);
            let known = writes
                .iter()
                .position(|write| write.connection.is(&queue.connection));
            let at = known.unwrap_or_else(|| {
                writes.push(Write::new(queue.connection.clone()));
                writes.len() - 1
            });
            for some in jobs.chunks(RELAYED_AT_ONCE) {
                let cmd = self.relay_some(queue, some);
                writes[at].pipeline.add_command(cmd);
                writes[at].scripts.push((name, some));
            }
        }
        let sent = writes
            .iter()
            .map(|write| write.connection.all(&write.pipeline));
        let sent: Vec<_> = futures_util::future::join_all(sent).await;
        let mut full = None;
        let mut taken = Vec::new();
        for (write, sent) in writes.iter().zip(sent) {
            let answers = sent.map_err(|error| self.of_queue(write.scripts[0].0, error))?;
            for (answer, (queue, jobs)) in answers.iter().zip(&write.scripts) {
                first_error(std::slice::from_ref(answer))
                    .map_err(|error| self.of_queue(queue, error))?;
                let mut those = *jobs;
                if let Value::Int(refused @ ..0) = answer {
                    let before = usize::try_from(-1 - refused).unwrap_or(0);
                    those = &jobs[..before.min(jobs.len())];
                    full.get_or_insert(*queue);
                }
                taken.extend(those.iter().map(|job| job.id));
            }
        }
        match full {
            None => Ok(()),
            Some(queue) => Err(EnqueueError::QueueFull {
                queue: queue.to_owned(),
                limit: self.limit(queue).unwrap_or_default(),
                taken,
            }),
        }
    }

    /// An error of this queue alone, or of all: in a Cluster the servers of the others may
    /// be well, whatever is wrong with this one.
    fn of_queue(&self, queue: &str, error: RedisError) -> EnqueueError {
        let alone = matches!(self.settings().servers, Servers::Cluster(_));
        match EnqueueError::from(error.clone()) {
            EnqueueError::Redis(source) => EnqueueError::Queue {
                queue: queue.to_owned(),
                source,
            },
            _ if alone => EnqueueError::Queue {
                queue: queue.to_owned(),
                source: error,
            },
            all => all,
        }
    }

    fn relay_some(&self, keys: &Partition, jobs: &[&Relayed]) -> Cmd {
        let packer = self.packer();
        let markers: Vec<String> = jobs.iter().map(|job| keys.once(job.id)).collect();
        let mut names = keys.with_streams(&[&keys.payloads, &keys.delayed, &keys.blocked]);
        names.extend(markers.iter().map(String::as_str));
        let mut cmd = scripts::call(&scripts::RELAY, &names);
        cmd.arg(whole_ms(self.settings().tuning.marker_ttl));
        match keys.limit {
            Some(limit) => cmd.arg(limit),
            None => cmd.arg(""),
        };
        for job in jobs {
            cmd.arg(job.id.to_string())
                .arg(&*packer.pack_encoded(&job.envelope));
            match job.run_at {
                Some(time) => cmd.arg(epoch_ms(time)),
                None => cmd.arg(""),
            };
            cmd.arg(whole_ms(job.again_after));
        }
        cmd
    }
}

/// Scripts for the queues of one server.
struct Write<'a> {
    connection: Connection,
    pipeline: Pipeline,
    /// The queue of each script, and its jobs.
    scripts: Vec<(&'a str, &'a [&'a Relayed])>,
}

impl Write<'_> {
    fn new(connection: Connection) -> Self {
        Self {
            connection,
            pipeline: Pipeline::new(),
            scripts: Vec::new(),
        }
    }
}

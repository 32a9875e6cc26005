use std::{collections::BTreeMap, ops::RangeInclusive, time::Duration};

use redis::{ConnectionAddr, ConnectionInfo};

use crate::{Error, Packer, Rate, Servers, Tls, envelope, job::is_name, partitions::MOST};

/// What Redis takes as an expiry, with room to spare: with 0 a script would stop
/// half way, and its repeat double the job.
const TIMES_TO_LIVE: RangeInclusive<Duration> =
    Duration::from_millis(1)..=Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// With less a loop would spin, and nothing across a network would come in time.
const SHORTEST: Duration = Duration::from_millis(10);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);

/// Where the queue is, and how long a silent worker counts as alive.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Address and credentials of Redis 7.0 or newer.
    pub redis: ConnectionInfo,
    /// TLS to a host that is given by its name or address; none to speak in the clear.
    pub tls: Option<Tls>,
    /// Who knows the server's address; but with [`Servers::One`] only the login of `redis` counts.
    pub servers: Servers,
    /// Prefix of every key; one per deployment.
    pub namespace: String,
    /// How long after its last heartbeat a worker's jobs may be taken over.
    pub lease: Duration,
    /// Most unfinished jobs (ready, running or delayed) of the queues that have a limit.
    ///
    /// A producer with these settings gets [`crate::EnqueueError::QueueFull`] above it.
    pub limits: BTreeMap<String, u64>,
    /// How many partitions queues have, 1 to 64, where they are named here: sets of keys that can
    /// be on several nodes of a Cluster.
    ///
    /// All workers and producers of a queue need the same number; the README says how to change
    /// it.
    pub partitions: BTreeMap<String, u16>,
    /// What is done to payloads: compression, encryption; nothing by default.
    pub packing: Packer,
    /// What rarely needs a change.
    pub tuning: Tuning,
    /// The newest envelope that is read and written; only tests set it back.
    pub(crate) newest_envelope: u8,
}

impl Settings {
    /// Settings with a lease of 6 s and the usual tuning.
    pub fn new(redis: ConnectionInfo, namespace: impl Into<String>) -> Self {
        Self {
            redis,
            tls: None,
            servers: Servers::One,
            namespace: namespace.into(),
            lease: Duration::from_secs(6),
            limits: BTreeMap::new(),
            partitions: BTreeMap::new(),
            packing: Packer::default(),
            tuning: Tuning::default(),
            newest_envelope: envelope::NEWEST,
        }
    }

    /// Checks every setting and the relations between them.
    ///
    /// # Errors
    /// [`Error::Settings`] with all that is wrong at once.
    pub fn check(&self) -> Result<(), Error> {
        let tuning = &self.tuning;
        let rules = [
            (
                is_name(&self.namespace),
                "namespace: use a-z, 0-9, '_', '-', '.'",
            ),
            (
                !matches!(self.redis.addr(), ConnectionAddr::TcpTls { .. }),
                "redis: an address without TLS, which `tls` is for",
            ),
            (
                self.tls.is_none() || !matches!(self.redis.addr(), ConnectionAddr::Unix(_)),
                "tls: not with a socket file",
            ),
            (
                self.servers.are_named(),
                "servers: at least one Sentinel or node of the Cluster",
            ),
            (
                self.redis.redis_settings().db() == 0
                    || !matches!(self.servers, Servers::Cluster(_)),
                "redis: a Cluster has no database but 0",
            ),
            (
                (Duration::from_millis(200)..=HOUR).contains(&self.lease),
                "lease: 200 ms to 1 h",
            ),
            (
                self.limits
                    .iter()
                    .all(|(queue, limit)| is_name(queue) && *limit >= 1),
                "limits: at least 1 job, of a queue with a name of a-z, 0-9, '_', '-', '.'",
            ),
            (
                self.partitions
                    .iter()
                    .all(|(queue, number)| is_name(queue) && (1..=MOST).contains(number)),
                "partitions: 1 to 64, of a queue with a name of a-z, 0-9, '_', '-', '.'",
            ),
            (
                (SHORTEST..self.lease).contains(&tuning.scan),
                "scan: at least 10 ms, and shorter than the lease",
            ),
            (
                (SHORTEST..self.lease).contains(&tuning.connect_timeout),
                "connect_timeout: at least 10 ms, and shorter than the lease",
            ),
            (
                (SHORTEST..=MINUTE).contains(&tuning.response_timeout),
                "response_timeout: 10 ms to 1 min",
            ),
            (
                (SHORTEST..=Duration::from_secs(1)).contains(&tuning.tick),
                "tick: 10 ms to 1 s",
            ),
            (
                (Duration::from_millis(1)..=MINUTE).contains(&tuning.block),
                "block: 1 ms, because 0 blocks for ever, to 1 min",
            ),
            (
                (Duration::from_millis(100)..=HOUR).contains(&tuning.reconcile),
                "reconcile: 100 ms to 1 h",
            ),
            (
                tuning.quarantine_at >= 2,
                "quarantine_at: at least 2, because 1 is every job",
            ),
            (
                tuning.quarantine_at <= tuning.poison_after,
                "quarantine_at must not be above poison_after",
            ),
            (
                (1..=4096).contains(&tuning.prefetch_max),
                "prefetch_max: 1 to 4096",
            ),
            (
                TIMES_TO_LIVE.contains(&tuning.marker_ttl),
                "marker_ttl: 1 ms to 10 years",
            ),
            (
                TIMES_TO_LIVE.contains(&tuning.unique_ttl),
                "unique_ttl: 1 ms to 10 years",
            ),
            (
                tuning.schedule_ttl >= Duration::from_secs(1).max(tuning.tick.saturating_mul(10)),
                "schedule_ttl: at least 1 s, and ten times tick",
            ),
            (
                TIMES_TO_LIVE.contains(&tuning.dead_max_age),
                "dead_max_age: 1 ms to 10 years",
            ),
            (tuning.dead_max_len >= 1, "dead_max_len: at least 1"),
        ];
        let wrong: Vec<String> = rules
            .iter()
            .filter(|(right, _)| !right)
            .map(|(_, rule)| (*rule).to_owned())
            .collect();
        if wrong.is_empty() {
            Ok(())
        } else {
            Err(Error::Settings(wrong))
        }
    }
}

/// Times and limits with defaults that suit most; the README has the table.
#[derive(Debug, Clone)]
pub struct Tuning {
    /// Limit for making a connection.
    pub connect_timeout: Duration,
    /// Limit for an answer of Redis, beyond the time a command blocks.
    pub response_timeout: Duration,
    /// How long one fetch waits in Redis for a job.
    pub block: Duration,
    /// How often delayed jobs are looked at.
    pub tick: Duration,
    /// How often dead workers' jobs are looked for.
    pub scan: Duration,
    /// How often a worker compares what it holds with what Redis says it holds.
    pub reconcile: Duration,
    /// Most jobs fetched ahead of free slots.
    pub prefetch_max: usize,
    /// Deliveries that make a job a suspect, of which a worker runs one at a time.
    pub quarantine_at: u32,
    /// A job delivered this often without an outcome becomes a dead letter.
    pub poison_after: u32,
    /// How long a relayed job is remembered beyond the time when it may be relayed again.
    pub marker_ttl: Duration,
    /// How long after its time a unique job that vanished may hold its key.
    pub unique_ttl: Duration,
    /// A schedule that no worker has told of for this long is gone: its code was removed.
    pub schedule_ttl: Duration,
    /// Dead letters older than this are trimmed, and counted.
    pub dead_max_age: Duration,
    /// Dead letters above this number are trimmed, oldest first, and counted.
    pub dead_max_len: u64,
    /// Refuse to run against a Redis that may evict keys, instead of logging an error.
    pub require_noeviction: bool,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(1),
            response_timeout: Duration::from_secs(3),
            block: Duration::from_secs(2),
            tick: Duration::from_millis(100),
            scan: Duration::from_secs(1),
            reconcile: Duration::from_secs(30),
            prefetch_max: 512,
            quarantine_at: 3,
            poison_after: 5,
            marker_ttl: Duration::from_secs(60 * 60),
            unique_ttl: Duration::from_secs(24 * 60 * 60),
            schedule_ttl: Duration::from_secs(10 * 60),
            dead_max_age: Duration::from_secs(14 * 24 * 60 * 60),
            dead_max_len: 100_000,
            require_noeviction: false,
        }
    }
}

/// How one worker process runs jobs.
#[derive(Debug, Clone)]
pub struct WorkerSettings {
    /// The queues it serves, in turn.
    pub queues: Vec<QueueSettings>,
    /// Jobs at once, over all queues.
    pub concurrency: usize,
    /// How long running jobs may go on after the shutdown signal.
    pub drain_timeout: Duration,
    /// Called with the span of each attempt and the job's trace context, before it runs. What it
    /// returns takes the place of that context for all that the attempt enqueues.
    pub on_span: Option<OnSpan>,
}

/// Makes a span part of a trace that is kept somewhere else, such as an exporter's.
pub type OnSpan = fn(span: &tracing::Span, traceparent: Option<&str>) -> Option<String>;

/// A queue that a worker serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueSettings {
    /// Its name, as in [`crate::Job::QUEUE`].
    pub name: String,
    /// Jobs of this queue at once in this process; `None`: as many as the worker runs.
    pub concurrency: Option<usize>,
    /// Most of its jobs at once in all workers together, which shall all have the same
    /// number. Not for a queue with several partitions.
    pub most_at_once: Option<u64>,
    /// Most of its jobs that all workers together start in a time; as `most_at_once`.
    pub rate: Option<Rate>,
}

impl QueueSettings {
    /// The queue, with at most this many of its jobs at once in this process.
    pub fn limited(name: impl Into<String>, concurrency: usize) -> Self {
        Self {
            concurrency: Some(concurrency),
            ..Self::from(&*name.into())
        }
    }
}

impl From<&str> for QueueSettings {
    fn from(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            concurrency: None,
            most_at_once: None,
            rate: None,
        }
    }
}

impl Default for WorkerSettings {
    fn default() -> Self {
        Self {
            queues: vec!["default".into()],
            concurrency: 16,
            drain_timeout: Duration::from_secs(20),
            on_span: None,
        }
    }
}

impl WorkerSettings {
    /// Checks that there is something to run, and something to run it.
    ///
    /// # Errors
    /// [`Error::Settings`] with all that is wrong at once.
    pub fn check(&self) -> Result<(), Error> {
        let mut wrong = Vec::new();
        if self.concurrency == 0 {
            wrong.push("concurrency: at least 1".to_owned());
        }
        if self.drain_timeout > 24 * HOUR {
            wrong.push("drain_timeout: at most 24 h".to_owned());
        }
        if self.queues.is_empty() {
            wrong.push("queues: at least one".to_owned());
        }
        for (at, queue) in self.queues.iter().enumerate() {
            let name = &queue.name;
            if !is_name(name) {
                wrong.push(format!("queue {name:?}: use a-z, 0-9, '_', '-', '.'"));
            }
            if self.queues[..at].iter().any(|other| other.name == *name) {
                wrong.push(format!("queue {name:?} stands twice"));
            }
            if queue.concurrency == Some(0) {
                wrong.push(format!("queue {name:?}: concurrency: at least 1"));
            }
            if queue.most_at_once == Some(0) {
                wrong.push(format!("queue {name:?}: most_at_once: at least 1"));
            }
            if queue.rate.is_some_and(|rate| !rate.is_possible()) {
                wrong.push(format!("queue {name:?}: {}", Rate::RULE));
            }
        }
        if wrong.is_empty() {
            Ok(())
        } else {
            Err(Error::Settings(wrong))
        }
    }
}

#[cfg(test)]
mod tests;

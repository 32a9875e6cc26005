use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::{BatchError, EntryId, JobId, LinkError, inspect::InvalidCursor};

/// What can go wrong between this crate and Redis.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Settings that contradict each other; each sentence names one.
    #[error("queue settings: {}", .0.join("; "))]
    Settings(Vec<String>),
    /// Redis evicts keys when its memory is full, so it would lose jobs.
    #[error("Redis has maxmemory-policy {policy}: a queue needs noeviction")]
    Eviction {
        /// The policy that Redis reported.
        policy: String,
    },
    /// Redis is away, or refused a command.
    #[error("Redis: {0}")]
    Redis(#[from] RedisError),
    /// A dead letter has no envelope that this release reads, so it cannot be a job again.
    #[error("dead letter {id}: {source}")]
    Letter {
        /// The letter.
        id: EntryId,
        /// What is wrong with its envelope.
        source: DecodeError,
    },
    /// What a job has left or said is of another type than was asked for.
    #[error("what the job has said is of another shape: {0}")]
    Shape(#[source] serde_json::Error),
    /// There is no such schedule; the queue's workers tell Redis of theirs.
    #[error("queue {queue} has no schedule {name:?}")]
    NoSchedule {
        /// The queue.
        queue: String,
        /// What was asked for.
        name: String,
    },
    /// A page was to begin where it cannot.
    #[error(transparent)]
    Cursor(#[from] InvalidCursor),
    /// Redis answered in a form that the crate does not know.
    #[error("unexpected reply from Redis to {0}")]
    Reply(&'static str),
}

impl Error {
    /// Whether Redis cannot take it now, rather than not like this.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        let Self::Redis(error) = self else {
            return false;
        };
        match Trouble::of(error) {
            Trouble::Connection | Trouble::Demoted | Trouble::Busy | Trouble::OutOfMemory => true,
            Trouble::NoGroup | Trouble::NoScript | Trouble::Other => false,
        }
    }
}

/// Why a job was not enqueued, or may not have been.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnqueueError {
    /// The payload is larger than [`crate::Envelope::MAX_PAYLOAD`].
    #[error("the payload of {size} bytes is larger than {limit}")]
    TooLarge {
        /// Size of the payload in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// No worker could run this envelope; the sentence says what would be right.
    #[error("not a job that can run: {0}")]
    Envelope(&'static str),
    /// A job cannot stand where it does in a chain.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// A job cannot be a member of a batch.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The job does not serialize to JSON.
    #[error("the job does not serialize: {0}")]
    Serialize(#[from] serde_json::Error),
    /// The queue has as many unfinished jobs as [`crate::Settings::limits`] lets it have.
    #[error("queue {queue} is full: it may have {limit} unfinished jobs")]
    QueueFull {
        /// The queue.
        queue: String,
        /// Its limit.
        limit: u64,
        /// The jobs of a call with many that were enqueued; the others were not.
        taken: Vec<JobId>,
    },
    /// Redis is at its memory limit; the job was refused.
    #[error("Redis is out of memory")]
    OutOfMemory,
    /// Redis is away, or its answer was lost: the job may have been enqueued.
    #[error("Redis is not available: {0}")]
    Unavailable(#[source] RedisError),
    /// Redis refused the command.
    #[error("Redis: {0}")]
    Redis(#[source] RedisError),
    /// Redis refused a relay's jobs of this queue; there may be nothing wrong with others.
    #[error("Redis, for queue {queue}: {source}")]
    Queue {
        /// The queue.
        queue: String,
        /// What Redis said.
        source: RedisError,
    },
}

impl From<RedisError> for EnqueueError {
    fn from(error: RedisError) -> Self {
        match Trouble::of(&error) {
            Trouble::OutOfMemory => Self::OutOfMemory,
            Trouble::Connection | Trouble::Demoted | Trouble::Busy => Self::Unavailable(error),
            Trouble::NoGroup | Trouble::NoScript | Trouble::Other => Self::Redis(error),
        }
    }
}

/// Why bytes are not an envelope.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// There are no bytes.
    #[error("empty envelope")]
    Empty,
    /// The first byte is 0, which no release has written or will.
    #[error("not an envelope")]
    Foreign,
    /// Written by a newer release; a worker of that release can read it.
    #[error("envelope of unknown version {0}")]
    Version(u8),
    /// The header is damaged.
    #[error("damaged envelope header: {0}")]
    Header(#[from] postcard::Error),
}

/// Why a worker ended other than by being told to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkerError {
    /// The worker's settings, or Redis' own, do not allow a safe run.
    #[error(transparent)]
    Queue(#[from] Error),
    /// The heartbeat's thread could not be started.
    #[error("cannot start the heartbeat's thread: {0}")]
    Heartbeat(#[source] std::io::Error),
    /// A part of the worker panicked; the rest was drained.
    #[error("a part of the worker died: {0}")]
    Part(String),
}

/// What an error of Redis asks its caller to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The connection is gone or silent: connect again.
    Connection,
    /// This server may no longer be written to, or another has the slot: connect again, perhaps
    /// elsewhere.
    Demoted,
    /// Loading its data, or a long script runs: wait.
    Busy,
    /// The stream or its group is gone: make it.
    NoGroup,
    /// The script is not loaded.
    NoScript,
    /// `maxmemory` is reached.
    OutOfMemory,
    /// Anything else.
    Other,
}

impl Trouble {
    pub(crate) fn of(error: &RedisError) -> Self {
        match error.kind() {
            ErrorKind::Io | ErrorKind::Parse | ErrorKind::AuthenticationFailed => Self::Connection,
            // A primary that is cut off from its Cluster says that this is down, while the
            // others may have made another one.
            ErrorKind::Server(
                ServerErrorKind::ReadOnly
                | ServerErrorKind::MasterDown
                | ServerErrorKind::Moved
                | ServerErrorKind::ClusterDown,
            ) => Self::Demoted,
            // Ask: a slot is on its way to another node, and not there yet.
            ErrorKind::Server(
                ServerErrorKind::BusyLoading | ServerErrorKind::TryAgain | ServerErrorKind::Ask,
            ) => Self::Busy,
            ErrorKind::Server(ServerErrorKind::NoScript) => Self::NoScript,
            _ => match error.code() {
                Some("NOGROUP" | "UNBLOCKED") => Self::NoGroup,
                Some("OOM") => Self::OutOfMemory,
                // What a primary answers that is cut off from its replicas.
                Some("NOREPLICAS") => Self::Demoted,
                Some("BUSY" | "MISCONF") => Self::Busy,
                _ => Self::Other,
            },
        }
    }
}

/// The error and its sources in one line, `a: b: c`.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let text = inner.to_string();
        // Many errors repeat their source in their own text.
        if !line.ends_with(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        source = inner.source();
    }
    line
}

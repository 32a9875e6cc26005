//! What happened, as each process wrote it down: the evidence that the checker judges.
//!
//! One line of JSON per record, appended with one `write`, so that it outlives a
//! SIGKILL of its writer. All clocks are this machine's.

mod places;

use std::collections::BTreeMap;

use queue::{JobId, Priority};
use serde::{Deserialize, Serialize};

pub(crate) use self::places::{DeadJob, Snapshot};

/// Microseconds since the Unix epoch.
pub(crate) type Micros = u64;

/// Number of a logical job, given by its producer before it is offered.
pub(crate) type Serial = u64;

/// One line of a process' log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// When.
    pub(crate) at: Micros,
    /// Who: `w2.3` is worker 2 in its third life, `p1.1` a producer, `conductor`.
    pub(crate) by: String,
    /// What.
    pub(crate) event: Event,
}

/// What can happen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Event {
    /// A producer is about to enqueue.
    Offer {
        serial: Serial,
        kind: Kind,
        route: Route,
        /// Not before this time, for a delayed job.
        due: Option<Micros>,
        /// Its key, for a unique job.
        unique: Option<String>,
        #[serde(default, skip_serializing_if = "Extras::is_none")]
        extras: Extras,
        #[serde(default)]
        ties: Ties,
    },
    /// The queue (or the commit) has said yes.
    Accepted { serial: Serial, id: JobId },
    /// This job, which held the key, has given its place to the one that was accepted.
    Replaced { serial: Serial, old: JobId },
    /// A unique job was passed over because this one holds its key.
    Duplicate { serial: Serial, of: JobId },
    /// The queue has said no; `certain` when that means that the job is not there.
    Refused {
        serial: Serial,
        certain: bool,
        error: String,
        /// For want of room: so many jobs were to go in together.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        full: Option<u64>,
    },
    /// A producer is about to cancel a job.
    Cancel { id: JobId },
    /// What it was told.
    Cancelled { id: JobId, answer: CancelAnswer },
    /// A producer is about to ask for a job of a schedule now.
    ///
    /// The number is the producer's own: answers come in any order.
    Ask { ask: u64, schedule: String },
    /// The id that the job will have, if the answer was one.
    Asked { ask: u64, id: Option<JobId> },
    /// A handler begins.
    Start {
        serial: Serial,
        id: JobId,
        attempt: u16,
        kind: Kind,
        /// Name and slot, for a scheduled job.
        slot: Option<(String, Micros)>,
        /// Version of the payload as it was enqueued, where the handler can tell.
        version: Option<u16>,
    },
    /// A handler has ended, or its future was dropped.
    End {
        serial: Serial,
        id: JobId,
        attempt: u16,
        how: How,
    },
    /// A worker or producer process is up; `release` is `new` or `old`.
    Up {
        pid: u32,
        release: Release,
        /// The keys that it can decrypt with.
        #[serde(default)]
        keys: Vec<u32>,
    },
    /// A process has ended by itself, with this exit code.
    Exited {
        process: String,
        code: Option<i32>,
        signal: Option<i32>,
    },
    /// The conductor does something to `target` (a process, `redis`, `postgres`).
    Fault {
        fault: Fault,
        target: String,
        /// How late answers come, for [`Fault::Delay`].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        late_ms: Option<u64>,
    },
    /// It is undone: continued, restarted, healed.
    Healed { fault: Fault, target: String },
    /// The queue has said that it is paused, during [`Fault::Pause`].
    Paused { queue: String },
    /// The queue is about to be resumed; when it has said that it is, the fault is healed.
    Resuming { queue: String },
    /// Where every job was at one instant.
    Snapshot(Box<Snapshot>),
    /// This machine did not run us in time; timing limits grow by as much.
    Stall { ms: u64 },
    /// No fault is begun any more; all are healed.
    Quiet,
}

/// What a job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    Plain,
    Long,
    Poison,
    Once,
    Done,
    Delayed,
    Unique,
    Bounded,
    Scheduled,
    Versioned,
    Unknown,
    Link,
    Member,
    Latest,
    Keyed,
    Gated,
}

impl Kind {
    /// The queue that jobs of this kind go to.
    pub(crate) const fn queue(self) -> &'static str {
        match self {
            Self::Bounded => "limited",
            Self::Gated => "gated",
            Self::Delayed | Self::Done | Self::Unique => "kept",
            Self::Link | Self::Member | Self::Latest => "kept",
            _ => "default",
        }
    }
}

/// What an offer has besides: with any of it, it has an envelope that the release before
/// cannot read.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Extras {
    pub(crate) level: Level,
    /// Which key its payload is encrypted with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<u32>,
    /// Its key, of whose jobs so many run at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) slot: Option<(String, u8)>,
    /// It belongs to a chain or a batch, and its envelope says so.
    pub(crate) tied: bool,
    /// Its key, and what it does to those that hold it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) latest: Option<(Mode, String)>,
}

impl Extras {
    pub(crate) fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// What a job does to the one that holds its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Mode {
    Replace,
    KeepLast,
    Debounce,
}

/// To which other jobs one belongs, by the serials that their producer gave them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Ties {
    /// The link of a chain before it.
    pub(crate) after: Option<Serial>,
    /// What follows its batch; that has its own serial here.
    pub(crate) batch: Option<Serial>,
}

/// How soon a job starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Level {
    High,
    #[default]
    Normal,
    Low,
}

impl Level {
    /// As the queue has it; what is usual is not said.
    pub(crate) fn priority(self) -> Option<Priority> {
        match self {
            Self::High => Some(Priority::High),
            Self::Normal => None,
            Self::Low => Some(Priority::Low),
        }
    }
}

/// What became of a request to cancel a job, as far as its producer knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CancelAnswer {
    Removed,
    Asked,
    Gone,
    /// An error, so anything.
    Nothing,
}

/// The way into the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Route {
    Direct,
    Outbox,
}

/// Which code a process stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Release {
    New,
    Old,
}

/// How a handler ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum How {
    /// It returned `Ok`.
    Ok,
    /// It asked for another attempt.
    Fail,
    /// It asked for none.
    Discard,
    /// It panicked.
    Panic,
    /// It obeyed its token, or was dropped: no outcome of its own.
    Cancelled,
}

/// What the conductor can do to a process or server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Fault {
    Kill,
    Stop,
    Term,
    /// Redis is killed and comes back with all it had acknowledged.
    RedisRestart,
    /// Redis is killed and comes back empty.
    RedisLoss,
    RedisPause,
    RedisOom,
    ScriptFlush,
    PostgresRestart,
    /// The process' connections to Redis are cut, and it may connect again.
    Cut,
    /// Cut, and refused for a while.
    Refuse,
    /// Answers are swallowed after the server has acted; then a cut.
    SwallowReplies,
    /// Bytes go nowhere, connections stay open.
    BlackHole,
    Delay,
    /// A queue is paused, and resumed.
    Pause,
    /// All connections to Redis are cut, and may be made again.
    Disconnect,
    /// A primary is killed, and its replica takes its place.
    Failover,
    /// A replica is killed and comes back.
    ReplicaRestart,
}

/// The state after all workers have ended.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Final {
    pub(crate) snapshot: Snapshot,
    /// Entries pending in the group, dangling ones too.
    pub(crate) pending: u64,
    /// Consumers of the group but for `~`.
    pub(crate) consumers: Vec<String>,
    /// Keys that should not be there, or should have a time to live, and why.
    pub(crate) residue: Vec<String>,
    /// Rows of `job_outbox`: id and state.
    pub(crate) outbox: Vec<(JobId, i16)>,
    /// Effect rows: job and serial, as often as they are there.
    pub(crate) effects: Vec<(JobId, Serial)>,
    pub(crate) seed: u64,
    pub(crate) lease_ms: u64,
    pub(crate) scan_ms: u64,
    pub(crate) poison_after: u32,
    /// Exit deadline after SIGTERM.
    pub(crate) drain_ms: u64,
    /// Most unfinished jobs of the queues that have a limit.
    #[serde(default)]
    pub(crate) limits: BTreeMap<String, u64>,
    /// What is let through of the queues that have a gate.
    #[serde(default)]
    pub(crate) gates: BTreeMap<String, Gate>,
    /// The schedules that workers of this release follow.
    #[serde(default)]
    pub(crate) schedules: Vec<Planned>,
}

/// What all workers together let through of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Gate {
    /// Runs at once.
    pub(crate) most: u64,
    /// Starts in a second, and how many of them may come at once.
    pub(crate) per_second: u32,
    pub(crate) burst: u32,
}

/// A schedule with slots at the multiples of its period.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Planned {
    pub(crate) name: String,
    pub(crate) every_ms: u64,
    /// Whether every slot has a job, however late; else the latest of a gap has one.
    pub(crate) all: bool,
}

//! What happened, as each process wrote it down: the evidence that the checker judges.
//!
//! One line of JSON per record, appended with one `write`, so that it outlives a
//! SIGKILL of its writer. All clocks are this machine's.

use std::collections::BTreeMap;

use queue::JobId;
use serde::{Deserialize, Serialize};

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
    },
    /// The queue (or the commit) has said yes.
    Accepted { serial: Serial, id: JobId },
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
    Up { pid: u32, release: Release },
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
    Snapshot(Snapshot),
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
}

impl Kind {
    /// The queue that jobs of this kind go to.
    pub(crate) const fn queue(self) -> &'static str {
        match self {
            Self::Bounded => "limited",
            Self::Delayed | Self::Done => "kept",
            _ => "default",
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

/// Every place where a job can be, at one instant for each queue.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Snapshot {
    /// Ready or running: entries of the stream, with the owner if there is one.
    pub(crate) stream: Vec<(JobId, Option<String>)>,
    pub(crate) delayed: Vec<JobId>,
    pub(crate) parked: Vec<JobId>,
    /// Payloads of the delayed and parked.
    pub(crate) payloads: Vec<JobId>,
    pub(crate) dead: Vec<DeadJob>,
    /// Unique locks: key and holder.
    pub(crate) locks: Vec<(String, JobId)>,
    /// Entries that were delivered more than once, and how often.
    #[serde(default)]
    pub(crate) delivered: Vec<(JobId, u64)>,
    /// Jobs of each queue that count against its limit.
    #[serde(default)]
    pub(crate) depths: BTreeMap<String, u64>,
    /// Requests to cancel that are remembered.
    #[serde(default)]
    pub(crate) requests: Vec<JobId>,
    /// How many jobs were cancelled, by the count of all queues.
    #[serde(default)]
    pub(crate) cancelled: u64,
    /// When it was asked for; `at` of the record is when the answer was there.
    pub(crate) asked: Micros,
}

/// A dead letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DeadJob {
    pub(crate) id: JobId,
    pub(crate) why: String,
    pub(crate) attempts: u32,
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
    /// The schedules that workers of this release follow.
    #[serde(default)]
    pub(crate) schedules: Vec<Planned>,
}

/// A schedule with slots at the multiples of its period.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Planned {
    pub(crate) name: String,
    pub(crate) every_ms: u64,
    /// Whether every slot has a job, however late; else the latest of a gap has one.
    pub(crate) all: bool,
}

impl Snapshot {
    /// Each job with each place where it is.
    pub(crate) fn places(&self) -> impl Iterator<Item = (JobId, &'static str)> {
        let stream = self.stream.iter().map(|(id, _)| (*id, "the stream"));
        let delayed = self.delayed.iter().map(|id| (*id, "the delayed"));
        let parked = self.parked.iter().map(|id| (*id, "the parked"));
        let dead = self.dead.iter();
        let dead = dead.map(|letter| (letter.id, "the dead letters"));
        stream.chain(delayed).chain(parked).chain(dead)
    }

    /// Where a job is, in words.
    pub(crate) fn place_of(&self, job: JobId) -> String {
        let mut places = Vec::new();
        for (_, owner) in self.stream.iter().filter(|(id, _)| *id == job) {
            places.push(match owner {
                Some(owner) => format!("the stream, owned by {owner}"),
                None => "the stream".to_owned(),
            });
        }
        let lists = [(&self.delayed, "the delayed"), (&self.parked, "the parked")];
        for (list, place) in lists {
            if list.contains(&job) {
                places.push(place.to_owned());
            }
        }
        for letter in self.dead.iter().filter(|letter| letter.id == job) {
            let DeadJob { why, attempts, .. } = letter;
            places.push(format!("the dead letters ({why}, {attempts})"));
        }
        if places.is_empty() {
            places.push("nothing".to_owned());
        }
        places.join(" and ")
    }
}

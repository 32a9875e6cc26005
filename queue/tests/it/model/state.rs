//! The queue as it should be: its streams, the jobs beside them, and who lives.

mod batches;
mod cancel;
mod gate;
mod keys;
mod leases;
mod seen;
mod settle;
mod slots;

use std::collections::{BTreeMap, BTreeSet};

use queue::Priority;

use self::batches::Batch;
pub(super) use self::{
    keys::Taken,
    seen::{Due, Entry, Lock, Pending, Seen},
};

/// Bits of an entry's place in its stream; those above say which stream.
const STREAM: u32 = 48;

/// Number of a job, in the order of their making.
pub(super) type Number = usize;

/// The consumer that owns what was handed back.
pub(super) const BACK: &str = "~";

/// What is known of a job for ever.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kind {
    pub(super) key: Option<u8>,
    pub(super) once: bool,
    /// Jobs of the key with slots that may run at once, if it has this key.
    pub(super) limit: Option<usize>,
    pub(super) priority: Priority,
    /// The job that follows it.
    pub(super) next: Option<Number>,
    /// What follows the batch of which it is a member.
    pub(super) batch: Option<Number>,
}

/// A job that is kept for the end of another one.
#[derive(Debug, Clone, Copy)]
struct Kept {
    of: Number,
    job: Number,
    later: bool,
}

/// The model.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) kinds: Vec<Kind>,
    attempts: Vec<u16>,
    /// By their place: the streams one after the other, the first first.
    entries: BTreeMap<u64, Entry>,
    next: u64,
    delayed: BTreeMap<Number, Due>,
    parked: BTreeSet<Number>,
    blocked: BTreeSet<Number>,
    /// Those that have a slot, and the places of their entries.
    slots: BTreeMap<Number, u64>,
    dead: Vec<Number>,
    locks: BTreeMap<u8, Lock>,
    /// By their key.
    kept: BTreeMap<u8, Kept>,
    /// By what follows them.
    batches: BTreeMap<Number, Batch>,
    /// Once-jobs that a relay passes over.
    marked: BTreeSet<Number>,
    alive: BTreeMap<String, bool>,
    /// The next slot of the schedule, once it is known.
    pub(super) slot: Option<u64>,
    /// The slot of it that was asked for.
    pub(super) asked: Option<u64>,
    /// Whether the stream has its group.
    pub(super) group: bool,
    /// Whether ticks say that the queue is paused.
    pub(super) paused: bool,
    /// Jobs that were not where they could be cancelled at once.
    pub(super) requests: BTreeSet<Number>,
    /// Names the data, once somebody has beaten.
    life: Option<u32>,
    lives: u32,
    /// Whose turn it is behind a gate.
    turn: usize,
    /// Somebody has beaten within half a lease.
    fresh: bool,
    grace: bool,
}

/// What a beat is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Dead,
    Renewed,
    DataLost,
}

impl State {
    pub(super) fn new() -> Self {
        Self {
            group: true,
            ..Self::default()
        }
    }

    pub(super) fn seen(&self) -> Seen {
        let places = self.entries.values().filter_map(|entry| entry.job);
        let places = places
            .chain(self.delayed.keys().copied())
            .chain(self.parked.iter().copied())
            .chain(self.blocked.iter().copied())
            .chain(self.dead.iter().copied());
        let mut attempts = BTreeMap::new();
        for job in places {
            let before = attempts.insert(job, self.attempts[job]);
            assert_eq!(before, None, "{job} is in two places of the model");
        }
        Seen {
            entries: self.entries.values().cloned().collect(),
            delayed: self.delayed.clone(),
            parked: self.parked.clone(),
            blocked: self.blocked.clone(),
            slots: self.valid_slots(),
            dead: self.dead.clone(),
            attempts,
            payloads: {
                let aside = self.delayed.keys().chain(&self.parked);
                aside.chain(&self.blocked).copied().collect()
            },
            locks: self.locks.clone(),
            alive: self.alive.clone(),
            slot: self.slot,
            asked: self.asked,
        }
    }

    /// Whether nothing is left to do.
    pub(super) fn is_idle(&self) -> bool {
        let aside = self.delayed.is_empty() && self.parked.is_empty() && self.blocked.is_empty();
        self.entries.is_empty() && aside
    }

    pub(super) fn make(&mut self, kind: Kind) -> Number {
        self.kinds.push(kind);
        self.attempts.push(1);
        self.kinds.len() - 1
    }

    /// The first job is to be followed by the other.
    pub(super) fn chain(&mut self, first: Number, next: Number) {
        self.kinds[first].next = Some(next);
    }

    pub(super) fn attempt(&self, job: Number) -> u16 {
        self.attempts[job]
    }

    pub(super) fn add(&mut self, job: Number) {
        let entry = Entry {
            job: Some(job),
            pending: None,
        };
        let stream = match self.kinds[job].priority {
            Priority::High => 0,
            Priority::Normal => 1,
            Priority::Low => 2,
        };
        self.entries.insert(stream << STREAM | self.next, entry);
        self.next += 1;
    }

    /// Jobs that are ready, running or delayed.
    pub(super) fn unfinished(&self) -> usize {
        let entries = self.entries.values();
        let entries = entries.filter(|entry| entry.job.is_some()).count();
        entries + self.delayed.len() + self.blocked.len()
    }

    pub(super) fn delay(&mut self, job: Number) {
        self.delayed.insert(job, Due::Later);
    }

    /// A relay; false for a job that is known.
    pub(super) fn relay(&mut self, job: Number, later: bool) -> bool {
        if self.marked.contains(&job) || self.seen().payloads.contains(&job) {
            return false;
        }
        self.marked.insert(job);
        self.attempts[job] = 1;
        if later {
            self.delay(job);
        } else {
            self.add(job);
        }
        true
    }

    pub(super) fn fetch(&mut self, by: &str, most: usize) -> Vec<(u64, Number)> {
        let mut fetched = Vec::new();
        for stream in 0..3 {
            fetched.extend(self.fetch_of(stream, by, most));
        }
        fetched
    }

    fn owns(&self, by: &str, at: u64) -> bool {
        let pending = self.entries.get(&at).and_then(|it| it.pending.as_ref());
        pending.is_some_and(|pending| pending.by == by)
    }

    /// Whether the entry is there with its body.
    pub(super) fn seen_at(&self, at: u64) -> bool {
        self.entries
            .get(&at)
            .is_some_and(|entry| entry.job.is_some())
    }

    /// Those that have a lease, whether or not it runs.
    pub(super) fn leases(&self) -> Vec<String> {
        self.alive.keys().cloned().collect()
    }

    /// A job is done, whoever says so.
    pub(super) fn done(&mut self, at: u64) {
        if let Some(entry) = self.entries.remove(&at)
            && let Some(job) = entry.job
        {
            if let Some(next) = self.kinds[job].next {
                self.add(next);
            }
            self.free(job);
        }
    }

    /// A worker ends between the two halves of "done".
    pub(super) fn half_done(&mut self, at: u64) {
        if let Some(entry) = self.entries.get_mut(&at) {
            entry.job = None;
        }
    }

    pub(super) fn dead(&self) -> &[Number] {
        &self.dead
    }

    /// Whether the letter is a job again, or who holds its key.
    pub(super) fn replay(&mut self, at: usize) -> Result<(), Number> {
        let job = self.dead[at];
        if let Some(holder) = self.holder(job).filter(|holder| *holder != job) {
            return Err(holder);
        }
        self.dead.remove(at);
        self.attempts[job] = 1;
        self.add(job);
        self.hold(job, false);
        Ok(())
    }

    pub(super) fn is_anywhere(&self, job: Number) -> bool {
        self.entries.values().any(|entry| entry.job == Some(job))
            || self.delayed.contains_key(&job)
            || self.parked.contains(&job)
            || self.blocked.contains(&job)
            || self.dead.contains(&job)
    }

    /// Somebody deletes a job that is there; false while a worker has it.
    pub(super) fn delete(&mut self, job: Number) -> bool {
        let mut entries = self.entries.iter();
        let entry = entries.find(|(_, entry)| entry.job == Some(job));
        if let Some((&at, entry)) = entry {
            let by = entry.pending.as_ref().map(|pending| pending.by.as_str());
            if by.is_some_and(|by| by != BACK) {
                return false;
            }
            self.entries.remove(&at);
        }
        self.delayed.remove(&job);
        self.parked.remove(&job);
        self.blocked.remove(&job);
        self.dead.retain(|letter| *letter != job);
        self.free(job);
        if self.kinds[job].once {
            self.marked.insert(job);
        }
        true
    }

    pub(super) fn come(&mut self, job: Number, since: u64) {
        self.delayed.insert(job, Due::Since(since));
    }

    pub(super) fn delayed(&self) -> Vec<Number> {
        self.delayed.keys().copied().collect()
    }

    pub(super) fn tick(&mut self, most: usize) -> usize {
        let due = self.delayed.iter().filter(|(_, due)| **due != Due::Later);
        let mut due: Vec<_> = due.map(|(job, due)| (*due, *job)).collect();
        due.sort_unstable();
        due.truncate(most);
        for (_, job) in &due {
            self.delayed.remove(job);
            self.add(*job);
        }
        due.len()
    }

    pub(super) fn unpark(&mut self, most: usize) -> usize {
        let jobs: Vec<_> = self.parked.iter().copied().take(most).collect();
        for job in &jobs {
            self.parked.remove(job);
            self.add(*job);
        }
        jobs.len()
    }

    /// Redis starts again, empty.
    pub(super) fn lose_data(&mut self) {
        *self = Self {
            kinds: std::mem::take(&mut self.kinds),
            attempts: std::mem::take(&mut self.attempts),
            next: self.next,
            lives: self.lives,
            ..Self::default()
        };
    }
}

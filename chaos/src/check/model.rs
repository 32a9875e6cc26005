//! A small model of the queue, with faults, that can break one of its rules on purpose.

mod worker;

use std::collections::BTreeMap;

use fastrand::Rng;

use super::story::{Story, Told};
use crate::history::{Fault, How, Kind, Route};

/// Length of a step of the model, in ms.
const STEP: u64 = 5;
/// Jobs are offered, and faults begin, before this time.
pub(super) const STORM: u64 = 20_000;
/// All is healed and done then.
const END: u64 = 60_000;
const LEASE: u64 = 2000;
const SCAN: u64 = 400;
pub(super) const WORKERS: usize = 3;
const SLOTS: usize = 8;

/// A rule that the model breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sabotage {
    Nothing,
    /// A finished entry stays in the stream now and then.
    KeepDone,
    /// A fetched entry is forgotten now and then.
    ForgetFetched,
    /// Leases that ended in an outage of Redis are taken at their word.
    NoOutageGuard,
    /// A worker in doubt goes on.
    NoDoubt,
    /// An entry of a worker that lives is taken over now and then.
    TakeFromTheLiving,
    /// Delayed jobs come a moment too early.
    Early,
    /// What is handed back counts as an attempt.
    CountHandBacks,
    /// Nobody looks for the jobs of the dead for a long time.
    SlowScan,
}

#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) at: u64,
    pub(super) lasts: u64,
    pub(super) fault: Fault,
    pub(super) worker: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Owner {
    Nobody,
    HandedBack,
    /// Slot and life; a new name is a new life too.
    Consumer(usize, u64),
}

struct Entry {
    job: usize,
    attempt: u16,
    owner: Owner,
}

struct Job {
    told: Told,
    fails: u16,
    ms: u64,
}

struct Running {
    entry: u64,
    job: usize,
    attempt: u16,
    until: u64,
}

/// An outcome that Redis has not confirmed.
struct Outcome {
    entry: u64,
    consumer: u64,
    how: How,
}

#[derive(Default)]
struct Worker {
    life: u64,
    consumer: u64,
    alive: bool,
    back_at: u64,
    frozen_until: u64,
    cut_until: u64,
    drains: bool,
    /// When the last beat was answered.
    beat: u64,
    next_beat: u64,
    next_scan: u64,
    doubts: bool,
    /// The data that its last beat found.
    data: u64,
    running: Vec<Running>,
    outcomes: Vec<Outcome>,
}

#[derive(Default)]
struct Redis {
    down_until: u64,
    entries: BTreeMap<u64, Entry>,
    /// Due time, job, attempt.
    delayed: Vec<(u64, usize, u16)>,
    /// Consumer to the end of its lease.
    leases: BTreeMap<(usize, u64), u64>,
    /// Names the data: another number when they were lost.
    data: u64,
    beat: u64,
    grace: u64,
}

pub(super) struct Model {
    story: Story,
    rng: Rng,
    sabotage: Sabotage,
    now: u64,
    next_entry: u64,
    jobs: Vec<Job>,
    redis: Redis,
    workers: Vec<Worker>,
}

impl Model {
    pub(super) fn new(seed: u64, sabotage: Sabotage) -> Self {
        Self {
            story: Story::new(),
            rng: Rng::with_seed(seed),
            sabotage,
            now: 0,
            next_entry: 0,
            jobs: Vec::new(),
            redis: Redis::default(),
            workers: (0..WORKERS)
                .map(|_| Worker {
                    life: 1,
                    alive: true,
                    ..Worker::default()
                })
                .collect(),
        }
    }

    fn label(&self, slot: usize) -> String {
        format!("w{}.{}", slot + 1, self.workers[slot].life)
    }

    fn reaches(&self, slot: usize) -> bool {
        self.now >= self.redis.down_until && self.now >= self.workers[slot].cut_until
    }

    /// Whether a rule that is broken now and then is broken now.
    fn slips(&mut self, sabotage: Sabotage) -> bool {
        self.sabotage == sabotage && self.rng.u8(..20) == 0
    }

    /// Plays the faults, and then silence until all is done.
    pub(super) fn play(mut self, steps: &[Step]) -> Story {
        let mut steps = steps.to_vec();
        steps.sort_by_key(|step| step.at);
        let mut steps = steps.into_iter().peekable();
        while self.now < END {
            while let Some(step) = steps.next_if(|step| step.at <= self.now) {
                self.inflict(&step);
            }
            if self.now < STORM && self.rng.u8(..20) == 0 {
                self.offer();
            }
            if self.now >= self.redis.down_until {
                self.promote();
                if self.rng.u8(..60) == 0 {
                    self.look();
                }
            }
            for slot in 0..WORKERS {
                self.work(slot);
            }
            self.now += STEP;
        }
        let now = self.now;
        self.story
            .write(now, "conductor", crate::history::Event::Quiet);
        for (_, entry) in std::mem::take(&mut self.redis.entries) {
            let id = self.jobs[entry.job].told.id;
            self.story.end.snapshot.stream.push((id, None));
        }
        self.story
    }

    fn inflict(&mut self, step: &Step) {
        let (now, until) = (self.now, self.now + step.lasts);
        if step.fault == Fault::RedisRestart || step.fault == Fault::RedisLoss {
            if now < self.redis.down_until {
                return;
            }
            self.redis.down_until = until;
            self.story.fault(now, until, step.fault, "redis");
            if step.fault == Fault::RedisLoss {
                let lost = std::mem::take(&mut self.redis);
                self.redis.down_until = lost.down_until;
                self.redis.data = lost.data + 1;
            }
            return;
        }
        let label = self.label(step.worker);
        let worker = &mut self.workers[step.worker];
        let busy = now < worker.frozen_until + 200 || now < worker.cut_until + 200;
        if !worker.alive || busy || worker.drains {
            return;
        }
        match step.fault {
            Fault::Kill => {
                worker.alive = false;
                worker.back_at = until + 200;
                worker.running.clear();
                worker.outcomes.clear();
                self.story.kill(now, &label);
            }
            Fault::Term => {
                worker.drains = true;
                worker.back_at = until;
                self.story.fault(now, now, Fault::Term, &label);
            }
            Fault::Stop => {
                worker.frozen_until = until;
                self.story.fault(now, until, Fault::Stop, &label);
            }
            _ => {
                worker.cut_until = until;
                self.story.fault(now, until, Fault::Refuse, &label);
            }
        }
    }

    fn offer(&mut self) {
        let kind = *self
            .rng
            .choice(&[
                Kind::Plain,
                Kind::Plain,
                Kind::Plain,
                Kind::Delayed,
                Kind::Long,
            ])
            .unwrap();
        let due = (kind == Kind::Delayed).then(|| self.now + self.rng.u64(600..3000));
        let told = self.story.offer(self.now, kind, |offered| {
            offered.due = due;
            offered.route = Route::Direct;
        });
        let job = self.jobs.len();
        self.jobs.push(Job {
            told,
            fails: if kind != Kind::Long && self.rng.u8(..10) == 0 {
                self.rng.u16(1..6)
            } else {
                0
            },
            ms: match kind {
                Kind::Long => 3 * LEASE,
                _ if self.rng.u8(..6) == 0 => self.rng.u64(60..2 * LEASE),
                _ => self.rng.u64(1..60),
            },
        });
        if self.now < self.redis.down_until {
            self.story.refused(self.now, &told, false);
            return;
        }
        match due {
            Some(due) if self.sabotage == Sabotage::Early => {
                self.redis.delayed.push((due - 20, job, 1));
            }
            Some(due) => self.redis.delayed.push((due, job, 1)),
            None => self.add(job, 1),
        }
        self.story.accepted(self.now, &told);
    }

    fn add(&mut self, job: usize, attempt: u16) {
        self.next_entry += 1;
        let owner = Owner::Nobody;
        self.redis.entries.insert(
            self.next_entry,
            Entry {
                job,
                attempt,
                owner,
            },
        );
    }

    fn promote(&mut self) {
        let now = self.now;
        let due: Vec<_> = self
            .redis
            .delayed
            .extract_if(.., |(due, ..)| *due <= now)
            .collect();
        for (_, job, attempt) in due {
            self.add(job, attempt);
        }
    }

    fn look(&mut self) {
        let ids = |job: usize| self.jobs[job].told.id;
        let owner = |owner: Owner| match owner {
            Owner::Nobody => None,
            Owner::HandedBack => Some("~".to_owned()),
            Owner::Consumer(slot, name) if name == self.workers[slot].consumer => {
                let pid = self.story.pid(&self.label(slot))?;
                Some(format!("host:{pid}:{name}"))
            }
            Owner::Consumer(_, name) => Some(format!("host:gone:{name}")),
        };
        let entries = self.redis.entries.values();
        let stream = entries
            .map(|entry| (ids(entry.job), owner(entry.owner)))
            .collect();
        let delayed: Vec<_> = self
            .redis
            .delayed
            .iter()
            .map(|(_, job, _)| ids(*job))
            .collect();
        let dead = self.story.end.snapshot.dead.clone();
        self.story.snapshot(self.now, |seen| {
            seen.stream = stream;
            seen.payloads.clone_from(&delayed);
            seen.delayed = delayed;
            seen.dead = dead;
        });
    }
}

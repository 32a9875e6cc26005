//! A small model of the queue, with faults, that can break one of its rules on purpose.

use std::collections::BTreeMap;

use fastrand::Rng;

use super::story::{Story, Told, letter};
use crate::history::{Fault, How, Kind, Release, Route};

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
        let stream = self
            .redis
            .entries
            .values()
            .map(|entry| (ids(entry.job), None))
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

    fn work(&mut self, slot: usize) {
        let now = self.now;
        let worker = &mut self.workers[slot];
        if !worker.alive {
            if now >= worker.back_at {
                worker.alive = true;
                worker.life += 1;
                worker.consumer += 1;
                worker.next_beat = now;
                worker.doubts = false;
                worker.beat = 0;
                let label = self.label(slot);
                self.story.up(now, &label, Release::New);
            }
            return;
        }
        if now < worker.frozen_until {
            return;
        }
        self.beat(slot);
        self.finish(slot);
        self.settle(slot);
        if self.workers[slot].drains {
            self.drain(slot);
        } else if self.workers[slot].beat > 0 && !self.workers[slot].doubts && self.reaches(slot) {
            self.scan(slot);
            self.fetch(slot);
        }
    }

    fn beat(&mut self, slot: usize) {
        let now = self.now;
        let reaches = self.reaches(slot);
        let worker = &mut self.workers[slot];
        if now >= worker.next_beat && reaches {
            worker.next_beat = now + LEASE / 4;
            let name = (slot, worker.consumer);
            let silent = self.redis.beat == 0 || now - self.redis.beat > LEASE / 2;
            // Who is not among the living was declared dead, unless these are other data.
            let lost = worker.beat > 0
                && worker.data == self.redis.data
                && !self.redis.leases.contains_key(&name);
            worker.data = self.redis.data;
            if silent {
                self.redis.grace = now + LEASE / 2;
            }
            self.redis.beat = now;
            if lost {
                worker.consumer += 1;
                self.cancel(slot, false);
            }
            let worker = &mut self.workers[slot];
            self.redis
                .leases
                .insert((slot, worker.consumer), now + LEASE);
            worker.beat = now;
            worker.doubts = false;
        } else if worker.beat > 0 && now - worker.beat >= LEASE / 5 * 4 && !worker.doubts {
            worker.doubts = true;
            if self.sabotage != Sabotage::NoDoubt {
                self.cancel(slot, true);
            }
        }
        if !reaches {
            let worker = &mut self.workers[slot];
            worker.next_beat = worker.next_beat.max(now + LEASE / 16);
        }
    }

    /// Ends what runs and looks at its token; hands it back if it is still ours.
    fn cancel(&mut self, slot: usize, in_doubt: bool) {
        let label = self.label(slot);
        let consumer = self.workers[slot].consumer;
        for run in std::mem::take(&mut self.workers[slot].running) {
            let told = self.jobs[run.job].told;
            if in_doubt && told.kind == Kind::Long {
                self.workers[slot].running.push(run);
                continue;
            }
            self.story
                .end(self.now, &label, &told, run.attempt, How::Cancelled);
            if in_doubt {
                let how = How::Cancelled;
                self.workers[slot].outcomes.push(Outcome {
                    entry: run.entry,
                    consumer,
                    how,
                });
            }
        }
    }

    fn finish(&mut self, slot: usize) {
        let (now, label) = (self.now, self.label(slot));
        let consumer = self.workers[slot].consumer;
        let ended: Vec<_> = self.workers[slot]
            .running
            .extract_if(.., |run| run.until <= now)
            .collect();
        for run in ended {
            let job = &self.jobs[run.job];
            let how = if run.attempt <= job.fails {
                How::Fail
            } else {
                How::Ok
            };
            self.story.end(now, &label, &job.told, run.attempt, how);
            self.workers[slot].outcomes.push(Outcome {
                entry: run.entry,
                consumer,
                how,
            });
        }
    }

    fn settle(&mut self, slot: usize) {
        if !self.reaches(slot) {
            return;
        }
        for outcome in std::mem::take(&mut self.workers[slot].outcomes) {
            let owner = Owner::Consumer(slot, outcome.consumer);
            let Some(entry) = self.redis.entries.get(&outcome.entry) else {
                continue;
            };
            let (job, attempt, owned) = (entry.job, entry.attempt, entry.owner == owner);
            match outcome.how {
                How::Ok if self.slips(Sabotage::KeepDone) => {
                    self.redis.entries.get_mut(&outcome.entry).unwrap().owner = Owner::HandedBack;
                }
                How::Ok => drop(self.redis.entries.remove(&outcome.entry)),
                How::Fail if owned => {
                    self.redis.entries.remove(&outcome.entry);
                    if attempt == 4 {
                        let letter = letter(&self.jobs[job].told, "attempts");
                        self.story.end.snapshot.dead.push(letter);
                    } else {
                        self.redis.delayed.push((self.now + 200, job, attempt + 1));
                    }
                }
                How::Cancelled if owned => {
                    let entry = self.redis.entries.get_mut(&outcome.entry).unwrap();
                    entry.owner = Owner::HandedBack;
                    entry.attempt += u16::from(self.sabotage == Sabotage::CountHandBacks);
                }
                _ => {}
            }
        }
    }

    fn drain(&mut self, slot: usize) {
        let worker = &mut self.workers[slot];
        let patience = worker.back_at.saturating_sub(self.now) == 0;
        if patience {
            // The drain's deadline: a long job is dropped too.
            let (label, consumer) = (self.label(slot), self.workers[slot].consumer);
            for run in std::mem::take(&mut self.workers[slot].running) {
                let told = self.jobs[run.job].told;
                self.story
                    .end(self.now, &label, &told, run.attempt, How::Cancelled);
                let how = How::Cancelled;
                self.workers[slot].outcomes.push(Outcome {
                    entry: run.entry,
                    consumer,
                    how,
                });
            }
        }
        self.settle(slot);
        let label = self.label(slot);
        let worker = &mut self.workers[slot];
        if worker.running.is_empty()
            && (worker.outcomes.is_empty() || self.now > worker.back_at + 3000)
        {
            self.redis.leases.remove(&(slot, worker.consumer));
            worker.outcomes.clear();
            worker.alive = false;
            worker.drains = false;
            worker.back_at = self.now + 300;
            self.story.exit(self.now, &label, Some(0));
        }
    }

    fn scan(&mut self, slot: usize) {
        let now = self.now;
        if now < self.workers[slot].next_scan {
            return;
        }
        let slow = self.sabotage == Sabotage::SlowScan;
        self.workers[slot].next_scan = now + if slow { 40 * SCAN } else { SCAN };
        let silent = now - self.redis.beat > LEASE / 2 || now < self.redis.grace;
        let guarded = silent && self.sabotage != Sabotage::NoOutageGuard;
        let steals = self.slips(Sabotage::TakeFromTheLiving);
        let me = Owner::Consumer(slot, self.workers[slot].consumer);
        let leases = &mut self.redis.leases;
        if !guarded {
            leases.retain(|name, until| {
                *name == (slot, self.workers[slot].consumer) || *until >= now
            });
        }
        for entry in self.redis.entries.values_mut() {
            let ended = match entry.owner {
                Owner::Consumer(of, name) => {
                    entry.owner != me && ((!guarded && !leases.contains_key(&(of, name))) || steals)
                }
                _ => false,
            };
            if ended {
                entry.owner = Owner::HandedBack;
            }
        }
    }

    fn fetch(&mut self, slot: usize) {
        let (now, label) = (self.now, self.label(slot));
        let consumer = self.workers[slot].consumer;
        // A few slots are always free, as the load of a run leaves them.
        let room = (SLOTS * 8).saturating_sub(self.workers[slot].running.len());
        let free = self.redis.entries.iter_mut();
        let free = free.filter(|(_, entry)| !matches!(entry.owner, Owner::Consumer(..)));
        let mut taken = Vec::new();
        for (id, entry) in free.take(room) {
            entry.owner = Owner::Consumer(slot, consumer);
            taken.push((*id, entry.job, entry.attempt));
        }
        for (entry, job, attempt) in taken {
            if self.slips(Sabotage::ForgetFetched) {
                self.redis.entries.remove(&entry);
                continue;
            }
            let told = self.jobs[job].told;
            self.story.start(now, &label, &told, attempt);
            let until = now + self.jobs[job].ms;
            self.workers[slot].running.push(Running {
                entry,
                job,
                attempt,
                until,
            });
        }
    }
}

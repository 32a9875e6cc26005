//! What the model's workers do at each step.

use super::{LEASE, Model, Outcome, Owner, Running, SCAN, SLOTS, Sabotage};
use crate::{
    check::story::letter,
    history::{How, Kind, Release},
};

impl Model {
    /// One step of one worker.
    pub(super) fn work(&mut self, slot: usize) {
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
        } else if !self.workers[slot].doubts && self.has_lease(slot) && self.reaches(slot) {
            self.scan(slot);
            self.fetch(slot);
        }
    }

    /// Whether Redis knows of the lease: it may have lost it with its data.
    fn has_lease(&self, slot: usize) -> bool {
        let name = (slot, self.workers[slot].consumer);
        self.workers[slot].beat > 0 && self.redis.leases.contains_key(&name)
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
                        let mut letter = letter(&self.jobs[job].told, "attempts");
                        letter.attempts = 4;
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

//! The history, put in order: by job, by process, by place.

use std::collections::BTreeMap;

use queue::JobId;

use super::faults::Faults;
pub(super) use super::job::{Answer, Cancel, Job, Offer, Run};
use crate::history::{
    DeadJob, Event, Fault, Final, Kind, Micros, Record, Release, Serial, Snapshot,
};

/// Everything that the invariants look at.
pub(super) struct Evidence<'a> {
    pub(super) end: &'a Final,
    pub(super) faults: Faults,
    pub(super) offers: BTreeMap<Serial, Offer>,
    pub(super) jobs: BTreeMap<JobId, Job>,
    /// With the time of the answer.
    pub(super) snapshots: Vec<(Micros, &'a Snapshot)>,
    /// In the order of their beginnings.
    pub(super) pauses: Vec<Pause>,
    /// Requests for a job of a schedule, in their order.
    pub(super) asks: Vec<Ask>,
    /// Jobs that have given their place to others: when that was asked for, and answered.
    pub(super) replaced: BTreeMap<JobId, Vec<(Micros, Micros)>>,
    pub(super) processes: BTreeMap<&'a str, Process<'a>>,
    /// Letters that are there at the end; Redis can lose them too.
    pub(super) dead: BTreeMap<JobId, Vec<&'a DeadJob>>,
    /// Every letter that was ever seen, with the time when it first was.
    pub(super) letters: BTreeMap<JobId, (Micros, &'a DeadJob)>,
    /// When each job was last seen in Redis: when that snapshot was asked for.
    pub(super) last_seen: BTreeMap<JobId, Micros>,
    /// When the last fault was healed.
    pub(super) quiet: Micros,
    /// The last record.
    pub(super) last: Micros,
}

/// A pause that the queue has acknowledged.
#[derive(Debug, Clone)]
pub(super) struct Pause {
    pub(super) queue: String,
    pub(super) from: Micros,
    /// When its end was asked for, and when that was acknowledged.
    pub(super) to: Micros,
    pub(super) resumed: Micros,
}

/// A request for a job of a schedule, and what was answered when.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    pub(super) at: Micros,
    pub(super) by: String,
    /// Which of the producer's it is.
    pub(super) number: u64,
    pub(super) schedule: String,
    pub(super) answer: Option<(Micros, Option<JobId>)>,
}

/// One life of a worker or producer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Process<'a> {
    pub(super) up: Micros,
    pub(super) pid: u32,
    pub(super) release: Release,
    pub(super) keys: &'a [u32],
}

impl<'a> Evidence<'a> {
    /// `records` in the order of time.
    pub(super) fn new(records: &'a [Record], end: &'a Final) -> Self {
        let mut evidence = Self {
            end,
            faults: Faults::new(records, end),
            offers: BTreeMap::new(),
            jobs: BTreeMap::new(),
            snapshots: Vec::new(),
            pauses: Vec::new(),
            asks: Vec::new(),
            replaced: BTreeMap::new(),
            processes: BTreeMap::new(),
            dead: BTreeMap::new(),
            letters: BTreeMap::new(),
            last_seen: BTreeMap::new(),
            quiet: Micros::MAX,
            last: records.last().map_or(0, |record| record.at),
        };
        for letter in &end.snapshot.dead {
            evidence.dead.entry(letter.id).or_default().push(letter);
        }
        for record in records {
            evidence.take(record);
        }
        for letter in &end.snapshot.dead {
            let last = (evidence.last, letter);
            evidence.letters.entry(letter.id).or_insert(last);
        }
        let offers = &evidence.offers;
        for job in evidence.jobs.values_mut() {
            job.offer = offers.get(&job.serial).cloned();
            if let Some(offer) = &job.offer {
                job.kind = offer.kind;
            }
        }
        evidence
    }

    fn take(&mut self, record: &'a Record) {
        let at = record.at;
        match &record.event {
            Event::Offer {
                serial,
                kind,
                route,
                due,
                unique,
                extras,
                ties,
            } => {
                let offer = Offer {
                    at,
                    by: record.by.clone(),
                    kind: *kind,
                    route: *route,
                    due: *due,
                    unique: unique.clone(),
                    extras: extras.clone(),
                    ties: *ties,
                    answer: Answer::None,
                    answered: None,
                };
                self.offers.insert(*serial, offer);
            }
            Event::Accepted { serial, id } => {
                self.answer(*serial, at, Answer::Accepted(*id));
                self.job(*id, *serial, Kind::Plain);
            }
            Event::Replaced { serial, old } => {
                let since = self.offers.get(serial).map_or(at, |offer| offer.at);
                self.replaced.entry(*old).or_default().push((since, at));
            }
            Event::Duplicate { serial, of } => self.answer(*serial, at, Answer::Duplicate(*of)),
            Event::Refused {
                serial,
                certain,
                full,
                ..
            } => {
                let (certain, full) = (*certain, *full);
                self.answer(*serial, at, Answer::Refused { certain, full });
            }
            Event::Cancel { id } => {
                if let Some(job) = self.jobs.get_mut(id) {
                    job.cancel = Some(Cancel { at, answer: None });
                }
            }
            Event::Cancelled { id, answer } => {
                let job = self.jobs.get_mut(id);
                if let Some(cancel) = job.and_then(|job| job.cancel.as_mut()) {
                    cancel.answer = Some((at, *answer));
                }
            }
            Event::Ask { ask, schedule } => self.asks.push(Ask {
                at,
                by: record.by.clone(),
                number: *ask,
                schedule: schedule.clone(),
                answer: None,
            }),
            Event::Asked { ask, id } => {
                let mut asks = self.asks.iter_mut();
                let of = |one: &&mut Ask| one.by == record.by && one.number == *ask;
                if let Some(ask) = asks.find(of) {
                    ask.answer = Some((at, *id));
                }
            }
            Event::Paused { queue } => self.pauses.push(Pause {
                queue: queue.clone(),
                from: at,
                to: Micros::MAX,
                resumed: Micros::MAX,
            }),
            Event::Resuming { queue } => {
                if let Some(pause) = self.pause(queue) {
                    pause.to = at;
                }
            }
            Event::Healed {
                fault: Fault::Pause,
                target,
            } => {
                if let Some(pause) = self.pause(target) {
                    pause.resumed = at;
                }
            }
            Event::Start {
                serial,
                id,
                attempt,
                kind,
                slot,
                version,
            } => self.job(*id, *serial, *kind).runs.push(Run {
                by: record.by.clone(),
                at,
                attempt: *attempt,
                kind: *kind,
                slot: slot.clone(),
                version: *version,
                end: None,
            }),
            Event::End {
                id, attempt, how, ..
            } => {
                let runs = self.jobs.get_mut(id).map(|job| job.runs.iter_mut());
                let run = runs.into_iter().flatten().find(|run| {
                    run.by == record.by && run.attempt == *attempt && run.end.is_none()
                });
                if let Some(run) = run {
                    run.end = Some((at, *how));
                }
            }
            Event::Up { pid, release, keys } => {
                let process = Process {
                    up: at,
                    pid: *pid,
                    release: *release,
                    keys,
                };
                self.processes.entry(&record.by).or_insert(process);
            }
            Event::Snapshot(snapshot) => {
                for letter in &snapshot.dead {
                    self.letters.entry(letter.id).or_insert((at, letter));
                }
                for (id, _) in snapshot.places() {
                    self.last_seen.insert(id, snapshot.asked);
                }
                self.snapshots.push((at, snapshot));
            }
            Event::Quiet => self.quiet = at,
            Event::Exited { .. }
            | Event::Fault { .. }
            | Event::Healed { .. }
            | Event::Stall { .. } => {}
        }
    }

    /// The pause of this queue that goes on.
    fn pause(&mut self, queue: &str) -> Option<&mut Pause> {
        let mut pauses = self.pauses.iter_mut().rev();
        let last = pauses.find(|pause| pause.queue == queue);
        last.filter(|pause| pause.resumed == Micros::MAX)
    }

    fn answer(&mut self, serial: Serial, at: Micros, answer: Answer) {
        if let Some(offer) = self.offers.get_mut(&serial) {
            offer.answer = answer;
            offer.answered = Some(at);
        }
    }

    fn job(&mut self, id: JobId, serial: Serial, kind: Kind) -> &mut Job {
        self.jobs.entry(id).or_insert_with(|| Job {
            id,
            serial,
            kind,
            offer: None,
            cancel: None,
            runs: Vec::new(),
        })
    }

    /// When a run was over: by its end, or by the death of its process.
    pub(super) fn run_until(&self, run: &Run) -> Micros {
        let died = self.faults.death(&run.by).map(|death| death.at.max(run.at));
        let ended = run.end.map(|(at, _)| at);
        ended.or(died).unwrap_or(Micros::MAX)
    }

    /// Whether a job may have been lost with Redis' data: it was offered before the end of
    /// a loss, not done before it, and never seen in Redis after it.
    ///
    /// Or a failover came so soon after that the new primary never had it. Jobs with a token
    /// in the outbox come back, so no loss excuses them.
    pub(super) fn may_be_lost(&self, job: &Job) -> bool {
        let finished = job.done_at().unwrap_or(Micros::MAX);
        let seen = self.last_seen.get(&job.id).copied().unwrap_or(0);
        let mut losses = self.faults.losses(job.since(), finished);
        let lost = losses.any(|loss| seen <= loss.to);
        !job.has_token() && (lost || self.was_undone(job, self.last))
    }

    /// From when on a job may have given its place to another: one that was told so, or one
    /// with its key that was told nothing.
    pub(super) fn replaced_from(&self, job: &Job) -> Micros {
        let told = self.replaced.get(&job.id).into_iter().flatten();
        let told = told.map(|(since, _)| *since);
        let offer = job.offer.as_ref();
        let latest = offer.and_then(|offer| offer.extras.latest.as_ref());
        // Who takes the place of one that waits for another attempt takes that of the one too
        // which was kept for its end.
        let with_it = self.replaced.iter().filter_map(|(old, times)| {
            let old = self.jobs.get(old)?.offer.as_ref()?;
            let (since, answered) = *times.first()?;
            let kept = latest.is_some()
                && old.extras.latest.as_ref() == latest
                && offer.is_some_and(|offer| old.at < offer.at && offer.at <= answered);
            kept.then_some(since)
        });
        let untold = self.offers.values().filter(|other| {
            let silent = matches!(
                other.answer,
                Answer::None | Answer::Refused { certain: false, .. }
            );
            latest.is_some() && silent && other.extras.latest.as_ref() == latest
        });
        let untold = untold.map(|other| other.at);
        told.chain(with_it)
            .chain(untold)
            .min()
            .unwrap_or(Micros::MAX)
    }

    /// Whether a failover may have taken with it, until some moment, that a job was enqueued.
    pub(super) fn was_undone(&self, job: &Job, until: Micros) -> bool {
        self.faults.undone(job.enqueued(), until)
    }

    /// Ids of all jobs that were surely accepted.
    pub(super) fn accepted(&self) -> impl Iterator<Item = &Job> {
        self.jobs.values().filter(|job| job.is_accepted())
    }

    /// Names of all workers.
    pub(super) fn workers(&self) -> impl Iterator<Item = (&'a str, &Process<'a>)> {
        let processes = self.processes.iter();
        processes
            .filter(|(label, _)| label.starts_with('w'))
            .map(|(label, process)| (*label, process))
    }
}

/// Every run with its job.
pub(super) fn runs<'a>(evidence: &'a Evidence) -> impl Iterator<Item = (&'a Job, &'a Run)> {
    let jobs = evidence.jobs.values();
    jobs.flat_map(|job| job.runs.iter().map(move |run| (job, run)))
}

//! Redis and the model, side by side: what producers, time and faults do.

use std::collections::{BTreeSet, HashMap};

use queue::{
    Envelope, JobId, Priority,
    redis::{Value, from_redis_value},
};

use super::{
    LATER, LEASE, Op, WORKERS,
    delivered::Delivery,
    state::{Kind, Number, State},
};
use crate::{
    broker::{Broker, Call, SCHEDULE, job, limited, unique},
    harness::*,
};

/// A process, as far as its name.
#[derive(Default)]
pub(super) struct Worker {
    pub(super) name: String,
    /// What its last beat was told, and what that is in the model.
    pub(super) life: (String, Option<u32>),
}

/// Redis and the model, side by side.
pub(super) struct Both {
    pub(super) broker: Broker,
    pub(super) state: State,
    pub(super) jobs: Vec<Envelope>,
    pub(super) numbers: HashMap<JobId, Number>,
    pub(super) workers: [Worker; WORKERS],
    pub(super) deliveries: Vec<Delivery>,
    /// What follows each batch there was.
    pub(super) batches: Vec<Number>,
    names: usize,
    /// Counts the times that have come.
    pub(super) times: u64,
}

/// A slot of the next centuries, in ms.
const FAR: u64 = 9_000_000_000_000;

pub(super) fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap()
}

/// One of these, if there is any.
pub(super) fn pick<T>(list: &[T], at: u8) -> Option<&T> {
    list.get(usize::from(at) % list.len().max(1))
}

impl Both {
    pub(super) async fn new(fixture: &Fixture) -> Self {
        let mut both = Self {
            broker: Broker::new(fixture, LEASE).await,
            state: State::new(),
            jobs: Vec::new(),
            numbers: HashMap::new(),
            workers: Default::default(),
            deliveries: Vec::new(),
            batches: Vec::new(),
            names: 0,
            times: 0,
        };
        for by in 0..WORKERS {
            both.boot(by);
        }
        both
    }

    /// Another process takes the place of a worker.
    pub(super) fn boot(&mut self, by: usize) {
        self.names += 1;
        // Names are not in the order of their age.
        let name = format!("{}{}", ["c", "a", "b"][self.names % 3], self.names);
        let life = (String::new(), None);
        self.workers[by] = Worker { name, life };
    }

    pub(super) fn make(&mut self, envelope: Envelope) -> Number {
        let number = self.state.make(Kind {
            key: envelope.unique.map(|hash| hash[0]),
            once: envelope.once,
            priority: envelope.priority,
            next: None,
            batch: None,
            limit: envelope.slot.map(|slot| usize::from(slot.limit.get())),
        });
        self.numbers.insert(envelope.id, number);
        self.jobs.push(envelope);
        number
    }

    /// With a priority that the one before has not.
    pub(super) fn some(&self, job: Envelope) -> Envelope {
        let all = [Priority::Normal, Priority::High, Priority::Low];
        let priority = all[self.jobs.len() % all.len()];
        Envelope { priority, ..job }
    }

    /// The job as it is after so many attempts.
    pub(super) fn envelope(&self, job: Number, attempt: u16) -> Envelope {
        Envelope {
            attempt,
            ..self.jobs[job].clone()
        }
    }

    /// Runs a script; none where the group is missing, which must be.
    pub(super) async fn run(&mut self, call: &Call) -> Option<Value> {
        match self.broker.run(call).await {
            Ok(answer) => Some(answer),
            Err(error) => {
                let missing = error.code() == Some("NOGROUP") && !self.state.group;
                assert!(missing, "{}: {error}", call.script);
                None
            }
        }
    }

    /// Runs a script that answers with a number; 0 where the group is missing.
    pub(super) async fn number(&mut self, call: &Call) -> usize {
        let answer = self.run(call).await;
        answer.map_or(0, |answer| from_redis_value(answer).unwrap())
    }

    pub(super) async fn step(&mut self, op: Op) {
        match op {
            Op::Enqueue
            | Op::EnqueueLater
            | Op::EnqueueBounded(_)
            | Op::EnqueueUnique { .. }
            | Op::EnqueueLimited(_)
            | Op::Relay { .. }
            | Op::RelayAgain(_)
            | Op::Replay(_) => self.produce(op).await,
            Op::EnqueueChain { later } => self.enqueue_chain(later).await,
            Op::EnqueueBatch { members, seals } => self.enqueue_batch(members, seals).await,
            Op::Replace { key, later, keeps } => self.replace(key, later, keeps).await,
            Op::EnqueueInto(at) => self.enqueue_into(at).await,
            Op::Seal(at) => self.seal(at).await,
            Op::Fire { jobs, late } => self.fire(jobs, late).await,
            Op::Ask => self.ask_slot().await,
            Op::FireAsked { late } => self.fire_asked(late).await,
            Op::Done(at)
            | Op::HalfDone(at)
            | Op::Retry(at)
            | Op::Park(at)
            | Op::Bury(at)
            | Op::HandBack(at)
            | Op::Stop(at) => self.settle(&op, at).await,
            Op::Need(at) => self.need(at).await,
            Op::Fetch(by, most) => self.fetch(by, most).await,
            Op::FetchThrough(by, most, at_once) => self.fetch_through(by, most, at_once).await,
            Op::ReclaimThrough(by, most, at_once) => {
                self.reclaim(by, most, 1, Some(at_once)).await;
            }
            Op::Reclaim(by, most, suspects) => self.reclaim(by, most, suspects, None).await,
            Op::Beat(by) => self.beat(by).await,
            Op::Delete(at) => self.delete(at).await,
            Op::Cancel(at) => self.cancel(at).await,
            Op::Unpark(most) => {
                let call = self.broker.unpark(most, "task", 1);
                assert_eq!(self.number(&call).await, self.state.unpark(most));
            }
            Op::Tick(most) => {
                let call = self.broker.tick(most);
                let Some(Value::Array(answer)) = self.run(&call).await else {
                    panic!("no answer")
                };
                let moved = i64::try_from(self.state.tick(most)).unwrap();
                assert_eq!(answer[0], Value::Int(moved));
                assert_eq!(answer[5], Value::Int(i64::from(self.state.paused)));
                // Those of a minute ago are forgotten, and no test takes as long.
                let told: Vec<(String, u64)> = from_redis_value(answer[6].clone()).unwrap();
                assert!(told.is_sorted_by(|one, next| one.1 < next.1), "{told:?}");
                let told = told
                    .iter()
                    .map(|(id, _)| self.numbers[&id.parse().unwrap()]);
                assert_eq!(told.collect::<BTreeSet<_>>(), self.state.requests);
            }
            Op::Leave(by) => {
                let call = self.broker.leave(&self.workers[by].name);
                self.number(&call).await;
                self.state.leave(&self.workers[by].name);
                self.boot(by);
            }
            Op::Crash(by) => self.boot(by),
            _ => self.pass(op).await,
        }
        let seen = self.observe().await;
        assert_eq!(seen, self.state.seen(), "Redis on the left");
    }

    async fn produce(&mut self, op: Op) {
        match op {
            Op::Enqueue => {
                let job = self.some(job());
                self.broker.add(&job).await;
                let job = self.make(job);
                self.state.add(job);
            }
            Op::EnqueueLimited(most) => {
                let job = self.some(limited(most));
                self.broker.add(&job).await;
                let job = self.make(job);
                self.state.add(job);
            }
            Op::EnqueueLater => {
                let job = self.some(job());
                let call = self.broker.schedule(&job, "in", LATER);
                self.run(&call).await;
                let job = self.make(job);
                self.state.delay(job);
            }
            Op::EnqueueBounded(limit) => {
                let jobs = [self.some(job()), job()];
                let call = self.broker.bounded(limit, &[&jobs[0], &jobs[1]]);
                let takes = self.state.unfinished() + jobs.len() <= limit;
                assert_eq!(self.number(&call).await == 1, takes);
                for job in jobs.into_iter().filter(|_| takes) {
                    let job = self.make(job);
                    self.state.add(job);
                }
            }
            Op::EnqueueUnique { key, later } => {
                let job = self.some(unique(key));
                let (mode, ms) = if later { ("in", LATER) } else { ("now", 0) };
                let call = self.broker.unique(&job, mode, ms);
                let answer: Option<String> =
                    from_redis_value(self.run(&call).await.unwrap()).unwrap();
                let job = self.make(job);
                let holder = self.state.lock(job);
                assert_eq!(
                    answer,
                    holder.map(|holder| self.jobs[holder].id.to_string())
                );
                match (holder, later) {
                    (Some(_), _) => {}
                    (None, false) => self.state.add(job),
                    (None, true) => self.state.delay(job),
                }
            }
            Op::Relay { later } => {
                let job = self.make(self.some(job()).once());
                self.relay(job, later).await;
            }
            Op::RelayAgain(at) => {
                let once: Vec<_> = (0..self.jobs.len())
                    .filter(|job| self.state.kinds[*job].once)
                    .collect();
                if let Some(job) = pick(&once, at) {
                    self.relay(*job, false).await;
                }
            }
            Op::Replay(at) => {
                let Some(&job) = pick(self.state.dead(), at) else {
                    return;
                };
                let at = self.state.dead().iter().position(|other| *other == job);
                let letters = self.broker.letters().await;
                let letter = &letters[at.unwrap()];
                let call = self.broker.replay(letter, &self.envelope(job, 1));
                let answer = self.run(&call).await.unwrap();
                if self.state.requests.contains(&job) {
                    assert_eq!(answer, Value::Int(-1));
                    return;
                }
                match self.state.replay(at.unwrap()) {
                    Ok(()) => assert_eq!(answer, Value::Int(1)),
                    Err(holder) => {
                        let id: String = from_redis_value(answer).unwrap();
                        assert_eq!(id, self.jobs[holder].id.to_string());
                    }
                }
            }
            other => panic!("{other:?} brings no job"),
        }
    }

    async fn cancel(&mut self, at: u8) {
        let all: Vec<_> = (0..self.jobs.len()).collect();
        let Some(&job) = pick(&all, at) else { return };
        let envelope = self.jobs[job].clone();
        let place = match self.broker.entry_for(&envelope).await {
            Some(entry) => entry,
            None if self.state.seen().blocked.contains(&job) => "blocked".to_owned(),
            None if self.state.seen().payloads.contains(&job) => "aside".to_owned(),
            None => String::new(),
        };
        let call = self.broker.cancel(&envelope, &place, "");
        let answer = self.run(&call).await.unwrap();
        assert_eq!(answer, Value::Int(self.state.cancel(job, "")));
    }

    async fn relay(&mut self, job: Number, later: bool) {
        let far = u64::try_from(self.broker.now().await).unwrap() + LATER;
        let call = self.broker.relay(&self.jobs[job], later.then_some(far));
        let taken = self.number(&call).await == 1;
        assert_eq!(taken, self.state.relay(job, later));
    }

    /// What time and faults do.
    async fn pass(&mut self, op: Op) {
        match op {
            Op::Come(at) => {
                let Some(&job) = pick(&self.state.delayed(), at) else {
                    return;
                };
                self.times += 1;
                let id = self.jobs[job].id.to_string();
                self.broker.come(&id, self.times).await;
                self.state.come(job, self.times);
            }
            Op::LeaseEnds(by) => {
                if self.state.end_lease(&self.workers[by].name) {
                    self.broker.expire(&self.workers[by].name).await;
                }
            }
            Op::Silence => {
                self.broker.last_beat(LEASE).await;
                self.state.fall_silent();
            }
            Op::GraceEnds => {
                self.broker.end_grace().await;
                self.state.end_grace();
            }
            Op::Enroll => {
                self.times += 1;
                let slot = FAR + self.times;
                let [name, rule] = SCHEDULE;
                let call = self.broker.enroll(name, rule, signed(slot), "");
                self.run(&call).await;
                // A rule that stays keeps its slot.
                self.state.slot.get_or_insert(slot);
            }
            Op::LockExpires(key) => {
                self.broker.unlock(&unique(key)).await;
                self.state.expire(key);
            }
            Op::Pause(paused) => {
                self.broker.pause(paused).await;
                self.state.paused = paused;
            }
            Op::LoseData => {
                self.broker.lose_data().await;
                self.state.lose_data();
            }
            other => panic!("{other:?} is somebody's"),
        }
    }

    /// One worker is left, and does all there is.
    pub(super) async fn finish(&mut self) {
        if self.state.asked.is_some() {
            self.step(Op::FireAsked { late: false }).await;
        }
        for by in 0..WORKERS {
            self.step(Op::LeaseEnds(by)).await;
            self.step(Op::Crash(by)).await;
        }
        let names: Vec<_> = self.state.leases();
        for name in names {
            if self.state.end_lease(&name) {
                self.broker.expire(&name).await;
            }
        }
        self.step(Op::Fetch(0, 1)).await;
        // A suspect is taken at a time, and those with no end are none.
        for _ in 0..1000 {
            self.step(Op::Beat(0)).await;
            self.step(Op::GraceEnds).await;
            self.step(Op::Reclaim(0, 100, 1)).await;
            while !self.state.delayed().is_empty() {
                self.step(Op::Come(0)).await;
                self.step(Op::Tick(1)).await;
            }
            self.step(Op::Unpark(100)).await;
            self.step(Op::Fetch(0, 100)).await;
            let mine = self.state.held_by(&self.workers[0].name);
            for at in mine {
                let found = self.deliveries.iter().rposition(|it| it.at == at);
                self.deliveries.swap(0, found.unwrap());
                self.step(Op::Need(0)).await;
                self.step(Op::Done(0)).await;
            }
            if self.state.is_idle() && self.state.leases().len() == 1 {
                break;
            }
        }
        // What has no entries any more is forgotten.
        self.step(Op::Reclaim(0, 1, 0)).await;
        self.step(Op::Leave(0)).await;
        assert!(self.state.is_idle(), "not all can be finished");
    }
}

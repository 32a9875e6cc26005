//! Random sequences of everything that workers, producers and faults do to a
//! queue, through the real scripts, beside a small model: after each step each job
//! is in the same one place in both. In the end all can still be finished.

mod observe;
mod state;

use std::collections::HashMap;

use proptest::prelude::*;
use queue::{
    Envelope, JobId,
    redis::{RedisError, Value, from_redis_value},
};

use self::state::{Number, State, Verdict};
use crate::{
    broker::{Broker, Call, job, taken, unique},
    harness::*,
};

/// In ms; nothing ends by itself while a test runs.
const LEASE: i64 = 3_600_000;
/// A delay that does not end either.
const LATER: u64 = 3_600_000;
/// Keys of unique jobs.
const KEYS: u8 = 2;
const WORKERS: usize = 3;

/// A step. Workers go by their number, what has been delivered to anyone and is
/// picked by any number: also what was settled long ago, or belongs to others now.
#[derive(Debug, Clone)]
enum Op {
    Enqueue,
    EnqueueLater,
    EnqueueUnique {
        key: u8,
        later: bool,
    },
    Relay {
        later: bool,
    },
    RelayAgain(u8),
    Fetch(usize, usize),
    Done(u8),
    HalfDone(u8),
    Retry(u8),
    Park(u8),
    Bury(u8),
    HandBack(u8),
    Replay(u8),
    Unpark(usize),
    Tick(usize),
    /// The time of a delayed job comes.
    Come(u8),
    Beat(usize),
    LeaseEnds(usize),
    /// No beat reaches Redis for long.
    Silence,
    GraceEnds,
    Reclaim(usize, usize, usize),
    Leave(usize),
    Crash(usize),
    LockExpires(u8),
    LoseData,
}

fn op() -> impl Strategy<Value = Op> {
    let worker = 0..WORKERS;
    let some = 1..4usize;
    prop_oneof![
        8 => Just(Op::Enqueue),
        3 => Just(Op::EnqueueLater),
        6 => (0..KEYS, any::<bool>()).prop_map(|(key, later)| Op::EnqueueUnique { key, later }),
        3 => any::<bool>().prop_map(|later| Op::Relay { later }),
        2 => any::<u8>().prop_map(Op::RelayAgain),
        14 => (worker.clone(), some.clone()).prop_map(|(by, most)| Op::Fetch(by, most)),
        8 => any::<u8>().prop_map(Op::Done),
        2 => any::<u8>().prop_map(Op::HalfDone),
        8 => any::<u8>().prop_map(Op::Retry),
        5 => any::<u8>().prop_map(Op::Park),
        5 => any::<u8>().prop_map(Op::Bury),
        5 => any::<u8>().prop_map(Op::HandBack),
        3 => any::<u8>().prop_map(Op::Replay),
        3 => some.clone().prop_map(Op::Unpark),
        4 => some.clone().prop_map(Op::Tick),
        4 => any::<u8>().prop_map(Op::Come),
        8 => worker.clone().prop_map(Op::Beat),
        5 => worker.clone().prop_map(Op::LeaseEnds),
        1 => Just(Op::Silence),
        4 => Just(Op::GraceEnds),
        8 => (worker.clone(), some, 0..2usize)
            .prop_map(|(by, most, suspects)| Op::Reclaim(by, most, suspects)),
        2 => worker.clone().prop_map(Op::Leave),
        2 => worker.prop_map(Op::Crash),
        1 => (0..KEYS).prop_map(Op::LockExpires),
        1 => Just(Op::LoseData),
    ]
}

/// A process, as far as its name.
#[derive(Default)]
struct Worker {
    name: String,
    /// What its last beat was told, and what that is in the model.
    life: (String, Option<u32>),
}

/// An entry that was delivered once.
struct Delivery {
    by: String,
    entry: String,
    at: u64,
    job: Number,
}

/// Redis and the model, side by side.
struct Both {
    broker: Broker,
    state: State,
    jobs: Vec<Envelope>,
    numbers: HashMap<JobId, Number>,
    workers: [Worker; WORKERS],
    deliveries: Vec<Delivery>,
    names: usize,
    /// Counts the times that have come.
    times: u64,
}

/// One of these, if there is any.
fn pick<T>(list: &[T], at: u8) -> Option<&T> {
    list.get(usize::from(at) % list.len().max(1))
}

impl Both {
    async fn new(fixture: &Fixture) -> Self {
        let mut both = Self {
            broker: Broker::new(fixture, LEASE).await,
            state: State::new(),
            jobs: Vec::new(),
            numbers: HashMap::new(),
            workers: Default::default(),
            deliveries: Vec::new(),
            names: 0,
            times: 0,
        };
        for by in 0..WORKERS {
            both.boot(by);
        }
        both
    }

    /// Another process takes the place of a worker.
    fn boot(&mut self, by: usize) {
        self.names += 1;
        // Names are not in the order of their age.
        let name = format!("{}{}", ["c", "a", "b"][self.names % 3], self.names);
        let life = (String::new(), None);
        self.workers[by] = Worker { name, life };
    }

    fn make(&mut self, envelope: Envelope) -> Number {
        let key = envelope.unique.map(|hash| hash[0]);
        let number = self.state.make(key, envelope.once);
        self.numbers.insert(envelope.id, number);
        self.jobs.push(envelope);
        number
    }

    /// The job as it is after so many attempts.
    fn envelope(&self, job: Number, attempt: u16) -> Envelope {
        Envelope {
            attempt,
            ..self.jobs[job].clone()
        }
    }

    /// Runs a script; none where the group is missing, which must be.
    async fn run(&mut self, call: &Call) -> Option<Value> {
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
    async fn number(&mut self, call: &Call) -> usize {
        let answer = self.run(call).await;
        answer.map_or(0, |answer| from_redis_value(answer).unwrap())
    }

    async fn step(&mut self, op: Op) {
        match op {
            Op::Enqueue
            | Op::EnqueueLater
            | Op::EnqueueUnique { .. }
            | Op::Relay { .. }
            | Op::RelayAgain(_)
            | Op::Replay(_) => self.produce(op).await,
            Op::Done(at)
            | Op::HalfDone(at)
            | Op::Retry(at)
            | Op::Park(at)
            | Op::Bury(at)
            | Op::HandBack(at) => self.settle(&op, at).await,
            Op::Fetch(by, most) => self.fetch(by, most).await,
            Op::Reclaim(by, most, suspects) => self.reclaim(by, most, suspects).await,
            Op::Beat(by) => self.beat(by).await,
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
                let job = job();
                self.broker.add(&job).await;
                let job = self.make(job);
                self.state.add(job);
            }
            Op::EnqueueLater => {
                let job = job();
                let call = self.broker.schedule(&job, "in", LATER);
                self.run(&call).await;
                let job = self.make(job);
                self.state.delay(job);
            }
            Op::EnqueueUnique { key, later } => {
                let job = unique(key);
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
                let job = self.make(job().once());
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

    async fn relay(&mut self, job: Number, later: bool) {
        let far = u64::try_from(self.broker.now().await).unwrap() + LATER;
        let call = self.broker.relay(&self.jobs[job], later.then_some(far));
        let taken = self.number(&call).await == 1;
        assert_eq!(taken, self.state.relay(job, later));
    }

    async fn settle(&mut self, op: &Op, at: u8) {
        let Some(delivery) = pick(&self.deliveries, at) else {
            return;
        };
        let (by, entry) = (delivery.by.clone(), delivery.entry.clone());
        let (at, job) = (delivery.at, delivery.job);
        let now = self.envelope(job, self.state.attempt(job));
        let (call, expected) = match op {
            Op::Done(_) if now.unique.is_some() => {
                let there = self.state.seen_at(at);
                self.state.done(at);
                (self.broker.finish(&entry, &now), there)
            }
            Op::Done(_) | Op::HalfDone(_) => {
                self.broker.delete(&entry).await;
                // Of a unique job this is one script.
                if matches!(op, Op::Done(_)) {
                    if self.state.group {
                        self.broker.acknowledge(&entry).await;
                    }
                    self.state.done(at);
                } else if now.unique.is_none() {
                    self.state.half_done(at);
                }
                return;
            }
            Op::Retry(_) => {
                let next = self.envelope(job, now.attempt + 1);
                let call = self.broker.retry(&by, &entry, &next, LATER);
                (call, self.state.retry(&by, at, job))
            }
            Op::Park(_) => {
                let call = self.broker.park(&by, &entry, &now);
                (call, self.state.park(&by, at, job))
            }
            Op::Bury(_) => {
                let call = self.broker.dead(&by, &entry, &now);
                (call, self.state.bury(&by, at, job))
            }
            _ => {
                let call = self.broker.hand_back(&by, std::slice::from_ref(&entry));
                (call, self.state.hand_back(&by, at))
            }
        };
        assert_eq!(self.number(&call).await == 1, expected, "{op:?}");
    }

    async fn fetch(&mut self, by: usize, most: usize) {
        let by = self.workers[by].name.clone();
        if !self.state.group {
            let error: RedisError = self.broker.fetch(&by, most).await.unwrap_err();
            assert_eq!(error.code(), Some("NOGROUP"));
            self.broker.make_group().await;
            self.state.group = true;
        }
        let fetched = self.broker.fetch(&by, most).await.unwrap();
        let expected = self.state.fetch(&by, most);
        let numbers: Vec<_> = fetched
            .iter()
            .map(|(_, job)| self.numbers[&job.id])
            .collect();
        let jobs: Vec<_> = expected.iter().map(|(_, job)| *job).collect();
        assert_eq!(numbers, jobs, "fetched in order");
        for ((entry, _), (at, job)) in fetched.into_iter().zip(expected) {
            let by = by.clone();
            self.deliveries.push(Delivery { by, entry, at, job });
        }
    }

    async fn reclaim(&mut self, by: usize, most: usize, suspects: usize) {
        if self.workers[by].life.1.is_none() {
            // No worker takes anything before its first beat.
            return;
        }
        let by = self.workers[by].name.clone();
        let call = self.broker.reclaim(&by, most, suspects);
        let rows = taken(self.run(&call).await.unwrap());
        let expected = self.state.reclaim(&by, most, suspects);
        let numbers: Vec<_> = rows
            .iter()
            .map(|(_, id, deliveries)| (self.numbers[id], *deliveries))
            .collect();
        let jobs: Vec<_> = expected.iter().map(|row| (row.1, row.2)).collect();
        assert_eq!(numbers, jobs, "taken over in order");
        for ((entry, ..), (at, job, _)) in rows.into_iter().zip(expected) {
            let by = by.clone();
            self.deliveries.push(Delivery { by, entry, at, job });
        }
    }

    async fn beat(&mut self, by: usize) {
        let worker = &self.workers[by];
        let call = self.broker.beat(&worker.name, &worker.life.0);
        let (verdict, _, life): (u8, u64, String) =
            from_redis_value(self.run(&call).await.unwrap()).unwrap();
        let worker = &mut self.workers[by];
        let (expected, known) = self.state.beat(&worker.name, worker.life.1);
        let verdicts = [Verdict::Dead, Verdict::Renewed, Verdict::DataLost];
        assert_eq!(verdicts[usize::from(verdict)], expected);
        worker.life = (life, known);
        if expected == Verdict::Dead {
            self.boot(by);
        }
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
            Op::LockExpires(key) => {
                self.broker.unlock(&unique(key)).await;
                self.state.expire(key);
            }
            Op::LoseData => {
                self.broker.lose_data().await;
                self.state.lose_data();
            }
            other => panic!("{other:?} is somebody's"),
        }
    }

    /// One worker is left, and does all there is.
    async fn finish(&mut self) {
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

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 48,
        max_shrink_iters: 400,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_scripts_do_what_the_model_does(ops in prop::collection::vec(op(), 1..120)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let fixture = Fixture::new().await;
            let mut both = Both::new(&fixture).await;
            for op in ops {
                both.step(op).await;
            }
            both.finish().await;
            drop(both);
            fixture.end().await;
        });
    }
}

//! What workers do with what was delivered to them, and who deletes it meanwhile.

use queue::redis::{RedisError, Value, from_redis_value};

use super::{
    LATER, Op,
    both::{Both, pick},
    state::{Number, Verdict},
};
use crate::broker::taken;

/// An entry that was delivered once.
pub(super) struct Delivery {
    by: String,
    entry: String,
    /// Its place in the model.
    pub(super) at: u64,
    job: Number,
}

impl Both {
    pub(super) async fn settle(&mut self, op: &Op, at: u8) {
        let Some(delivery) = pick(&self.deliveries, at) else {
            return;
        };
        let (by, entry) = (delivery.by.clone(), delivery.entry.clone());
        let (at, job) = (delivery.at, delivery.job);
        let now = self.envelope(job, self.state.attempt(job));
        let (call, expected) = match op {
            Op::Done(_) if now.unique.is_some() && !now.replaceable => {
                let there = self.state.seen_at(at);
                self.state.done(at);
                (self.broker.finish(&entry, &now), there)
            }
            Op::Done(_)
                if now.next.is_some()
                    || now.batch.is_some()
                    || now.replaceable
                    || now.slot.is_some() =>
            {
                let there = self.state.seen_at(at);
                self.state.done(at);
                (self.broker.complete(&entry, &now), there)
            }
            // Of these this is one script, which has no half.
            Op::HalfDone(_)
                if now.unique.is_some()
                    || now.next.is_some()
                    || now.batch.is_some()
                    || now.slot.is_some() =>
            {
                return;
            }
            Op::HalfDone(_) => {
                self.broker.delete(&now, &entry).await;
                return self.state.half_done(at);
            }
            Op::Done(_) => {
                self.broker.delete(&now, &entry).await;
                self.broker.acknowledge(&now, &entry).await;
                return self.state.done(at);
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
            Op::Stop(_) => {
                let call = self.broker.cancel(&now, &entry, &by);
                let answer = self.run(&call).await.unwrap();
                let expected = self.state.stop(&by, at, job);
                return assert_eq!(answer, Value::Int(expected), "{op:?}");
            }
            _ => {
                let entries = std::slice::from_ref(&entry);
                let call = self.broker.hand_back(&by, &now, entries);
                (call, self.state.hand_back(&by, at))
            }
        };
        assert_eq!(self.number(&call).await == 1, expected, "{op:?}");
    }

    /// A worker asks for the slot of a job, before it runs it.
    pub(super) async fn need(&mut self, at: u8) {
        let Some(delivery) = pick(&self.deliveries, at) else {
            return;
        };
        let (by, entry) = (delivery.by.clone(), delivery.entry.clone());
        let (at, job) = (delivery.at, delivery.job);
        if self.jobs[job].slot.is_none() {
            return;
        }
        let now = self.envelope(job, self.state.attempt(job));
        let call = self.broker.slot(&by, &entry, &now);
        let Some(answer) = self.run(&call).await else {
            return;
        };
        assert_eq!(answer, Value::Int(self.state.ask(&by, at, job)));
    }

    pub(super) async fn delete(&mut self, at: u8) {
        let Some(job) = self
            .jobs
            .len()
            .checked_sub(1)
            .map(|last| usize::from(at) % (last + 1))
        else {
            return;
        };
        let envelope = self.jobs[job].clone();
        let Some((index, kind, member)) = self.broker.place_of(&envelope).await else {
            assert!(!self.state.is_anywhere(job), "{job} is nowhere in Redis");
            return;
        };
        let call = self.broker.delete_job(index, kind, &member, &envelope);
        let answer = self.run(&call).await.unwrap();
        if self.state.delete(job) {
            assert_eq!(answer, Value::Int(1));
            let again = self.run(&call).await.unwrap();
            assert_eq!(again, Value::Int(0), "it is gone");
        } else {
            assert_eq!(answer, Value::Int(-1), "a worker has it");
        }
    }

    pub(super) async fn fetch(&mut self, by: usize, most: usize) {
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

    pub(super) async fn fetch_through(&mut self, by: usize, most: usize, at_once: usize) {
        let by = self.workers[by].name.clone();
        let call = self.broker.fetch_through(&by, most, at_once);
        let Some(answer) = self.run(&call).await else {
            self.broker.make_group().await;
            self.state.group = true;
            return;
        };
        let Value::Array(mut parts) = answer else {
            panic!("no answer")
        };
        let rows = taken(parts.swap_remove(0));
        let expected = self.state.fetch_through(&by, most, at_once);
        let numbers: Vec<_> = rows.iter().map(|(_, id, _)| self.numbers[id]).collect();
        let jobs: Vec<_> = expected.iter().map(|(_, job)| *job).collect();
        assert_eq!(numbers, jobs, "fetched in turn");
        for ((entry, ..), (at, job)) in rows.into_iter().zip(expected) {
            let by = by.clone();
            self.deliveries.push(Delivery { by, entry, at, job });
        }
    }

    /// Through a gate, it takes up so many in hand.
    pub(super) async fn reclaim(
        &mut self,
        by: usize,
        most: usize,
        suspects: usize,
        at_once: Option<usize>,
    ) {
        if self.workers[by].life.1.is_none() {
            // No worker takes anything before its first beat.
            return;
        }
        let by = self.workers[by].name.clone();
        let call = match at_once {
            None => self.broker.reclaim(&by, most, suspects),
            Some(at_once) => self.broker.reclaim_through(&by, most, at_once),
        };
        let rows = taken(self.run(&call).await.unwrap());
        let expected = self.state.reclaim(&by, most, suspects, at_once);
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

    pub(super) async fn beat(&mut self, by: usize) {
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
}

//! Jobs that follow others, in Redis and in the model.

use queue::{BatchId, Envelope, JobId, redis::Value};

use super::{
    LATER,
    both::{Both, pick},
    state::Number,
};
use crate::broker::job;

impl Both {
    pub(super) async fn enqueue_chain(&mut self, later: bool) {
        let last = self.some(job());
        let first = Envelope {
            next: Some(last.encode()),
            ..self.some(job())
        };
        if later {
            let call = self.broker.schedule(&first, "in", LATER);
            self.run(&call).await;
        } else {
            self.broker.add(&first).await;
        }
        let (first, last) = (self.make(first), self.make(last));
        self.state.chain(first, last);
        match later {
            true => self.state.delay(first),
            false => self.state.add(first),
        }
    }

    fn batch_of(&self, follows: Number) -> BatchId {
        self.jobs[follows].follows.unwrap()
    }

    fn member_of(&self, follows: Number) -> Envelope {
        Envelope {
            batch: Some(self.batch_of(follows)),
            ..self.some(job())
        }
    }

    pub(super) async fn enqueue_batch(&mut self, members: usize, seals: bool) {
        let follows = self.make(Envelope {
            follows: Some(JobId::new().into()),
            ..self.some(job())
        });
        self.batches.push(follows);
        let members: Vec<_> = (0..members).map(|_| self.member_of(follows)).collect();
        let seal = seals.then(|| &self.jobs[follows]);
        let jobs: Vec<_> = members.iter().collect();
        let call = self
            .broker
            .batch(self.batch_of(follows), true, "", &jobs, seal);
        assert_eq!(self.number(&call).await, 1);
        self.state.open(follows);
        for member in members {
            let member = self.make(member);
            self.state.join(follows, member);
        }
        if seals {
            self.state.seal(follows);
        }
    }

    pub(super) async fn enqueue_into(&mut self, at: u8) {
        let Some(&follows) = pick(&self.batches, at) else {
            return;
        };
        let member = self.member_of(follows);
        let batch = self.batch_of(follows);
        let call = self.broker.batch(batch, false, "", &[&member], None);
        let takes = self.state.takes(follows);
        let answer = self.run(&call).await.unwrap();
        assert_eq!(answer, Value::Int(if takes { 1 } else { -1 }));
        if takes {
            let member = self.make(member);
            self.state.join(follows, member);
        }
    }

    pub(super) async fn seal(&mut self, at: u8) {
        let Some(&follows) = pick(&self.batches, at) else {
            return;
        };
        let batch = self.state.batch(follows);
        if batch.is_some_and(|batch| batch.sealed) {
            return;
        }
        let known = batch.is_some();
        let seal = Some(&self.jobs[follows]);
        let call = self
            .broker
            .batch(self.batch_of(follows), false, "", &[], seal);
        let answer = self.run(&call).await.unwrap();
        assert_eq!(answer, Value::Int(if known { 1 } else { -1 }));
        if known {
            self.state.seal(follows);
        }
    }
}

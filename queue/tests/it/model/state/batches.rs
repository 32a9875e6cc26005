//! Batches: each is known by the job that follows it.

use std::collections::BTreeSet;

use super::{Number, State};

/// A batch that is known.
#[derive(Debug, Default)]
pub(in crate::model) struct Batch {
    /// Those that have not ended.
    members: BTreeSet<Number>,
    pub(in crate::model) sealed: bool,
}

impl Batch {
    fn is_over(&self) -> bool {
        self.sealed && self.members.is_empty()
    }
}

impl State {
    pub(in crate::model) fn open(&mut self, follows: Number) {
        self.batches.insert(follows, Batch::default());
    }

    pub(in crate::model) fn batch(&self, follows: Number) -> Option<&Batch> {
        self.batches.get(&follows)
    }

    /// Whether a batch takes another member.
    pub(in crate::model) fn takes(&self, follows: Number) -> bool {
        let batch = self.batches.get(&follows);
        batch.is_some_and(|batch| !batch.is_over())
    }

    pub(in crate::model) fn join(&mut self, follows: Number, job: Number) {
        self.batches.entry(follows).or_default().members.insert(job);
        self.kinds[job].batch = Some(follows);
        self.add(job);
    }

    pub(in crate::model) fn seal(&mut self, follows: Number) {
        let batch = self.batches.entry(follows).or_default();
        batch.sealed = true;
        if batch.is_over() {
            self.add(follows);
        }
    }

    /// A member has ended.
    pub(super) fn leave_batch(&mut self, job: Number) {
        let Some(follows) = self.kinds[job].batch else {
            return;
        };
        let Some(batch) = self.batches.get_mut(&follows) else {
            return;
        };
        if batch.members.remove(&job) && batch.is_over() {
            self.add(follows);
        }
    }
}

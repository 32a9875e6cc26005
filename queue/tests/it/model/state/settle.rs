//! What becomes of an entry that a worker has.

use super::{BACK, Number, State};

impl State {
    /// Another attempt, later; false when the consumer does not own the entry.
    pub(in crate::model) fn retry(&mut self, by: &str, at: u64, job: Number) -> bool {
        if !self.owns(by, at) {
            return false;
        }
        self.entries.remove(&at);
        self.attempts[job] += 1;
        self.delay(job);
        self.free_slot(job);
        if self.holder(job).is_none_or(|holder| holder == job) {
            self.hold(job, false);
        }
        true
    }

    pub(in crate::model) fn park(&mut self, by: &str, at: u64, job: Number) -> bool {
        if !self.owns(by, at) {
            return false;
        }
        self.entries.remove(&at);
        self.parked.insert(job);
        self.free_slot(job);
        if self.holder(job).is_none_or(|holder| holder == job) {
            self.hold(job, true);
        }
        true
    }

    pub(in crate::model) fn bury(&mut self, by: &str, at: u64, job: Number) -> bool {
        if !self.owns(by, at) {
            return false;
        }
        self.entries.remove(&at);
        self.dead.push(job);
        self.free(job);
        if self.kinds[job].once {
            self.marked.insert(job);
        }
        true
    }

    pub(in crate::model) fn hand_back(&mut self, by: &str, at: u64) -> bool {
        if !self.owns(by, at) {
            return false;
        }
        let Some(entry) = self.entries.get_mut(&at) else {
            return false;
        };
        if entry.job.is_none() {
            // Whoever claims what is deleted drops it.
            self.entries.remove(&at);
        } else if let Some(pending) = &mut entry.pending {
            pending.deliveries -= 1;
            BACK.clone_into(&mut pending.by);
        }
        true
    }
}

//! Slots of the one key that has any.

use std::collections::BTreeSet;

use super::{Number, State};

impl State {
    /// Slots of jobs whose entries are there.
    pub(in crate::model) fn valid_slots(&self) -> BTreeSet<Number> {
        let slots = self.slots.iter();
        let there = |job: Number, at: u64| {
            let entry = self.entries.get(&at);
            entry.is_some_and(|entry| entry.job == Some(job))
        };
        let valid = slots.filter(|&(&job, &at)| there(job, at));
        valid.map(|(job, _)| *job).collect()
    }

    /// A worker asks for the slot of a job; what the script answers.
    pub(in crate::model) fn ask(&mut self, by: &str, at: u64, job: Number) -> i64 {
        if !self.owns(by, at) {
            return -1;
        }
        if self.slots.get(&job) == Some(&at) {
            return 1;
        }
        let is_first = self.blocked.first().is_none_or(|first| *first > job);
        if is_first && self.has_room(job) {
            self.slots.insert(job, at);
            return 1;
        }
        self.entries.remove(&at);
        self.blocked.insert(job);
        self.let_in();
        0
    }

    /// A job has ended, or goes aside: its slot is the next one's.
    pub(super) fn free_slot(&mut self, job: Number) {
        if self.kinds[job].limit.is_some() {
            self.slots.remove(&job);
            self.let_in();
        }
    }

    fn has_room(&self, job: Number) -> bool {
        let limit = self.kinds[job].limit.unwrap();
        self.valid_slots().len() < limit
    }

    fn let_in(&mut self) {
        while let Some(&first) = self.blocked.first() {
            if !self.has_room(first) {
                return;
            }
            self.blocked.remove(&first);
            self.add(first);
            let mut entries = self.entries.iter();
            let entry = entries.find(|(_, entry)| entry.job == Some(first));
            self.slots.insert(first, *entry.unwrap().0);
        }
    }
}

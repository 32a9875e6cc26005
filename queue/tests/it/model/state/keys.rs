//! Keys of unique jobs: who holds one, and who is to have it next.

use super::{BACK, Kept, Lock, Number, State};

/// What a job has got that wanted another one's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::model) enum Taken {
    Place,
    Nothing,
    /// It is kept, and one that was before is not any more.
    Kept(Option<Number>),
}

impl State {
    /// Takes a key; the holder, when there is one.
    pub(in crate::model) fn lock(&mut self, job: Number) -> Option<Number> {
        let key = self.kinds[job].key?;
        if let Some(lock) = self.locks.get_mut(&key) {
            let waits = self.parked.contains(&lock.job) || self.delayed.contains_key(&lock.job);
            lock.endless &= waits;
            return Some(lock.job);
        }
        self.kept.remove(&key);
        self.hold(job, false);
        None
    }

    pub(super) fn hold(&mut self, job: Number, endless: bool) {
        if let Some(key) = self.kinds[job].key {
            self.locks.insert(key, Lock { job, endless });
        }
    }

    pub(super) fn holder(&self, job: Number) -> Option<Number> {
        let key = self.kinds[job].key?;
        self.locks.get(&key).map(|lock| lock.job)
    }

    /// What the job holds goes, because it has ended.
    pub(super) fn free(&mut self, job: Number) {
        let holds = self.holder(job).is_none_or(|holder| holder == job);
        if holds {
            self.locks.retain(|_, lock| lock.job != job);
        }
        let key = self.kinds[job].key;
        if let Some(key) = key.filter(|key| self.kept.get(key).is_some_and(|kept| kept.of == job))
            && let Some(next) = self.kept.remove(&key)
        {
            match next.later {
                true => self.delay(next.job),
                false => self.add(next.job),
            }
            if holds {
                self.hold(next.job, false);
            }
        }
        self.leave_batch(job);
        self.free_slot(job);
    }

    /// The safety expiry of a key.
    pub(in crate::model) fn expire(&mut self, key: u8) {
        self.locks.remove(&key);
    }

    /// A job is to have the place of the one that holds its key.
    pub(in crate::model) fn replace(
        &mut self,
        old: Number,
        new: Number,
        later: bool,
        keeps: bool,
    ) -> Taken {
        let mut entries = self.entries.iter();
        let entry = entries.find(|(_, entry)| entry.job == Some(old));
        let key = self.kinds[new].key.unwrap();
        if let Some((&at, entry)) = entry {
            let by = entry.pending.as_ref().map(|pending| pending.by.as_str());
            if by.is_some_and(|by| by != BACK) {
                if !keeps {
                    return Taken::Nothing;
                }
                let (of, job) = (old, new);
                let before = self.kept.insert(key, Kept { of, job, later });
                return Taken::Kept(before.map(|before| before.job));
            }
            self.entries.remove(&at);
        }
        self.delayed.remove(&old);
        self.parked.remove(&old);
        self.kept.remove(&key);
        match later {
            true => self.delay(new),
            false => self.add(new),
        }
        self.hold(new, false);
        Taken::Place
    }
}

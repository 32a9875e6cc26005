//! Who lives, and who takes over from whom.

use std::collections::BTreeSet;

use super::{BACK, Number, STREAM, State, Verdict};

/// Deliveries from which a job is a suspect, and above which it is poison.
const SUSPECT: std::ops::RangeInclusive<u32> = 3..=5;

impl State {
    pub(in crate::model) fn beat(&mut self, by: &str, told: Option<u32>) -> (Verdict, Option<u32>) {
        let mut verdict = Verdict::Renewed;
        if told.is_some() && !self.alive.contains_key(by) {
            if told == self.life {
                return (Verdict::Dead, self.life);
            }
            verdict = Verdict::DataLost;
        }
        if self.life.is_none() {
            self.lives += 1;
            self.life = Some(self.lives);
        }
        self.grace |= !self.fresh;
        self.fresh = true;
        self.alive.insert(by.to_owned(), true);
        (verdict, self.life)
    }

    /// Whether the consumer had a lease that could end.
    pub(in crate::model) fn end_lease(&mut self, by: &str) -> bool {
        match self.alive.get_mut(by) {
            Some(runs) => {
                *runs = false;
                true
            }
            None => false,
        }
    }

    /// Nobody has beaten for half a lease.
    pub(in crate::model) fn fall_silent(&mut self) {
        self.fresh = false;
    }

    pub(in crate::model) fn end_grace(&mut self) {
        self.grace = false;
    }

    /// Takes over; the entries' places, their jobs and their deliveries.
    pub(in crate::model) fn reclaim(
        &mut self,
        me: &str,
        room: usize,
        mut suspects: usize,
        at_once: Option<usize>,
    ) -> Vec<(u64, Number, u32)> {
        let mut taken = Vec::new();
        if !self.group || !self.alive.contains_key(me) {
            return taken;
        }
        let (all, back) = self.in_hand();
        let mut free = at_once.map_or(usize::MAX, |most| most.saturating_sub(all - back));
        let guarded = !self.fresh || self.grace;
        let streams = (0..3u64).flat_map(|stream| {
            let owners = self.owners(stream).into_iter();
            owners.map(move |name| (stream, name))
        });
        for (stream, name) in streams.collect::<Vec<_>>() {
            let mut ended = name == BACK;
            if !ended && name != me && !guarded {
                ended = self.alive.get(&name) != Some(&true);
            }
            if !ended {
                continue;
            }
            if name != BACK {
                self.alive.remove(&name);
            }
            // Fewer than one script looks at.
            let held = self.held_by(&name).into_iter();
            for at in held.filter(|at| at >> STREAM == stream) {
                let entry = self.entries.get_mut(&at).unwrap();
                let pending = entry.pending.as_mut().unwrap();
                let deliveries = pending.deliveries + 1;
                let doubtful = SUSPECT.contains(&deliveries);
                let held = name == BACK && free == 0;
                if taken.len() >= room || held || (doubtful && suspects == 0) {
                    continue;
                }
                let Some(job) = entry.job else {
                    self.entries.remove(&at);
                    continue;
                };
                me.clone_into(&mut pending.by);
                pending.deliveries = deliveries;
                suspects -= usize::from(doubtful);
                free -= usize::from(name == BACK);
                taken.push((at, job, deliveries));
            }
        }
        if !guarded {
            self.alive.retain(|name, runs| *runs || name == me);
        }
        taken
    }

    /// Those that own entries of a stream, in the order in which Redis tells them.
    fn owners(&self, stream: u64) -> BTreeSet<String> {
        let entries = self.entries.range(stream << STREAM..(stream + 1) << STREAM);
        let pending = entries.filter_map(|(_, it)| it.pending.as_ref());
        pending.map(|pending| pending.by.clone()).collect()
    }

    pub(in crate::model) fn held_by(&self, name: &str) -> Vec<u64> {
        let mine = self.entries.keys().copied();
        mine.filter(|at| self.owns(name, *at)).collect()
    }

    pub(in crate::model) fn leave(&mut self, by: &str) {
        self.alive.remove(by);
    }
}

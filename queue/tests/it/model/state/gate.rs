//! A gate, which lets so many jobs be in hand.

use super::{BACK, Number, Pending, STREAM, State};

/// Streams in the order in which they have their turns: high, normal, low.
const TURNS: [usize; 7] = [0, 1, 0, 2, 0, 1, 0];

impl State {
    /// Entries in hand, and those between two workers among them.
    pub(super) fn in_hand(&self) -> (usize, usize) {
        let pending = self.entries.values().filter_map(|it| it.pending.as_ref());
        let all = pending.clone().count();
        (all, pending.filter(|pending| pending.by == BACK).count())
    }

    pub(in crate::model) fn fetch_through(
        &mut self,
        by: &str,
        most: usize,
        at_once: usize,
    ) -> Vec<(u64, Number)> {
        let room = most.min(at_once.saturating_sub(self.in_hand().0));
        let mut shares = [0; 3];
        for at in self.turn..self.turn + room {
            shares[TURNS[at % TURNS.len()]] += 1;
        }
        let mut fetched = Vec::new();
        for (stream, share) in shares.into_iter().enumerate() {
            fetched.extend(self.fetch_of(stream, by, share));
        }
        for stream in 0..3 {
            let rest = room - fetched.len();
            fetched.extend(self.fetch_of(stream, by, rest));
        }
        if !fetched.is_empty() {
            self.turn = (self.turn + fetched.len()) % TURNS.len();
        }
        fetched
    }

    pub(super) fn fetch_of(&mut self, stream: usize, by: &str, most: usize) -> Vec<(u64, Number)> {
        let stream = u64::try_from(stream).unwrap();
        let all = stream << STREAM..(stream + 1) << STREAM;
        let new = self.entries.range_mut(all);
        let new = new.filter(|(_, entry)| entry.pending.is_none()).take(most);
        new.filter_map(|(&at, entry)| {
            entry.pending = Some(Pending {
                by: by.to_owned(),
                deliveries: 1,
            });
            Some((at, entry.job?))
        })
        .collect()
    }
}

//! A queue that is spread over several sets of keys, so that in a Cluster several nodes do
//! its work.
//!
//! The first partition has the keys of the queue itself, `{ns:queue}`, the others
//! `{ns:queue:1}` and so on: no queue's name has a `:`. Each is whole in itself: jobs do not
//! move from one to another, and what is done to the queue is done to each.

use std::sync::Arc;

use crate::{JobId, Slot, UniqueHash, queue::Partition};

/// Most partitions of a queue: each costs a worker a connection, a heartbeat and a tick.
pub(crate) const MOST: u16 = 64;

/// Partitions in turn, for calls with many jobs: a write goes to one of them as a whole.
pub(crate) struct Turn {
    partitions: Vec<Arc<Partition>>,
    next: usize,
    /// Jobs for each, before it is the first one's turn again.
    share: usize,
}

impl Turn {
    /// Begins anywhere, because others begin too.
    pub(crate) fn new(partitions: Vec<Arc<Partition>>, jobs: usize) -> Self {
        Self {
            next: fastrand::usize(..partitions.len()),
            share: jobs.div_ceil(partitions.len()),
            partitions,
        }
    }

    pub(crate) fn next(&mut self) -> Arc<Partition> {
        self.next = (self.next + 1) % self.partitions.len();
        Arc::clone(&self.partitions[self.next])
    }

    /// How many of the jobs that are left the next write may have.
    pub(crate) fn share(&self, left: usize) -> usize {
        self.share.min(left)
    }
}

/// The queue of a partition's name.
pub(crate) fn queue_of(name: &str) -> &str {
    name.split_once(':').map_or(name, |(queue, _)| queue)
}

/// The key of the jobs that must meet this one at one place: that of its slot, or else its
/// own. One that has both meets only those of its own key that have its slot's, too.
pub(crate) fn meeting(unique: Option<UniqueHash>, slot: Option<Slot>) -> Option<[u8; 16]> {
    slot.map(|slot| slot.key).or(unique)
}

/// What spreads a job: the key of those that it must meet, or else the random half of its id.
pub(crate) fn bits_of(id: JobId, key: Option<[u8; 16]>) -> u64 {
    match key {
        Some([a, b, c, d, e, f, g, h, ..]) => u64::from_be_bytes([a, b, c, d, e, f, g, h]),
        None => id.as_uuid().as_u64_pair().1,
    }
}

/// Jump consistent hash (Lamping and Veach, arXiv 1406.2294): where there are more partitions
/// than before, keys move to the new ones alone, and no more than must.
pub(crate) fn jump(mut key: u64, partitions: usize) -> usize {
    if partitions == 1 {
        return 0;
    }
    let (mut at, mut next) = (0, 0);
    while next < partitions {
        at = next;
        key = key.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(1);
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "numbers below 2^32, and what is too large ends the loop"
        )]
        let leap = ((at + 1) as f64 * ((1_u64 << 31) as f64 / ((key >> 33) + 1) as f64)) as usize;
        next = leap;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_are_spread_evenly_and_move_to_new_partitions_alone() {
        let ids: Vec<u64> = (0..4000).map(|_| bits_of(JobId::new(), None)).collect();
        for partitions in [1, 2, 3, 8, 64] {
            let mut jobs = vec![0; partitions];
            for &bits in &ids {
                let before = jump(bits, partitions);
                let after = jump(bits, partitions + 1);
                assert!(after == before || after == partitions);
                jobs[before] += 1;
            }
            let even = ids.len() / partitions;
            assert!(jobs.iter().all(|jobs| *jobs > even / 3), "{jobs:?}");
        }
    }

    #[test]
    fn jobs_with_one_key_meet_in_one_partition() {
        let key = Some([7; 16]);
        assert_eq!(bits_of(JobId::new(), key), bits_of(JobId::new(), key));
        assert_eq!(queue_of("mail:12"), "mail");
        assert_eq!(queue_of("mail"), "mail");
    }
}

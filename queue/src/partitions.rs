//! A queue that is spread over several sets of keys, so that in a Cluster several nodes do
//! its work.
//!
//! The first partition has the keys of the queue itself, `{ns:queue}`, the others
//! `{ns:queue:1}` and so on: no queue's name has a `:`. Each is whole in itself: jobs do not
//! move from one to another, and what is done to the queue is done to each.

use std::{
    ops::Deref,
    sync::{Arc, PoisonError},
};

use crate::{JobId, Queue, UniqueHash, connection::Connection, keys::Keys};

/// Most partitions of a queue: each costs a worker a connection, a heartbeat and a tick.
pub(crate) const MOST: u16 = 64;

/// Where one partition of a queue is: its keys, and a connection to the server that has them.
pub(crate) struct Partition {
    /// As people call it: the queue, or `queue:1`.
    pub(crate) name: String,
    pub(crate) keys: Arc<Keys>,
    pub(crate) connection: Connection,
    /// Most unfinished jobs here, of a queue with a limit.
    pub(crate) limit: Option<u64>,
    /// The other partitions, where this is the first of several.
    others: Vec<Arc<Self>>,
}

impl Deref for Partition {
    type Target = Keys;

    fn deref(&self) -> &Keys {
        &self.keys
    }
}

impl Queue {
    /// How many partitions the queue has, by the settings: 1 if they do not name it.
    #[must_use]
    pub fn partitions(&self, queue: &str) -> u16 {
        let partitions = &self.settings().partitions;
        partitions.get(queue).copied().unwrap_or(1)
    }

    /// The first partition of a queue, or the one of this name: `queue:1`.
    pub(crate) fn partition(&self, name: &str) -> Arc<Partition> {
        let known = self.known();
        let read = known.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(partition) = read.get(name) {
            return Arc::clone(partition);
        }
        drop(read);
        let partition = Arc::new(self.new_partition(name));
        let mut known = known.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(known.entry(name.to_owned()).or_insert(partition))
    }

    pub(crate) fn new_partition(&self, name: &str) -> Partition {
        let queue = queue_of(name);
        let partitions = self.partitions(queue);
        let others = if queue == name { 1..partitions } else { 1..1 };
        let keyed = name.strip_suffix(":0").unwrap_or(name);
        let keys = Arc::new(Keys::new(&self.settings().namespace, keyed));
        let limit = self.limit(queue);
        Partition {
            name: name.to_owned(),
            connection: self.connect_to(&keys.meta),
            keys,
            limit: limit.map(|limit| limit.div_ceil(u64::from(partitions))),
            others: others
                .map(|number| self.partition(&format!("{queue}:{number}")))
                .collect(),
        }
    }

    /// All partitions of a queue, or the one of this name.
    pub(crate) fn all_partitions(&self, queue: &str) -> Vec<Arc<Partition>> {
        let first = self.partition(queue);
        let others = first.others.clone();
        std::iter::once(first).chain(others).collect()
    }

    /// The partition of a queue in which a job is enqueued that is spread by these bits.
    pub(crate) fn place(&self, queue: &str, bits: u64) -> Arc<Partition> {
        let first = self.partition(queue);
        match jump(bits, first.others.len() + 1) {
            0 => first,
            other => Arc::clone(&first.others[other - 1]),
        }
    }
}

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

/// What spreads a job: its key, which all jobs that it keeps apart must meet at one place, or
/// else the random half of its id.
pub(crate) fn bits_of(id: JobId, unique: Option<UniqueHash>) -> u64 {
    match unique {
        Some([a, b, c, d, e, f, g, h, ..]) => u64::from_be_bytes([a, b, c, d, e, f, g, h]),
        None => id.as_uuid().as_u64_pair().1,
    }
}

/// Jump consistent hash (Lamping and Veach, arXiv 1406.2294): where there are more partitions
/// than before, keys move to the new ones alone, and no more than must.
fn jump(mut key: u64, partitions: usize) -> usize {
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

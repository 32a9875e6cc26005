//! Limits for each key: of the jobs of one customer, say, so many at once.
//!
//! A slot belongs to a job, not to a worker. The one that is about to run the job asks
//! for it (`lua/slot.lua`), and whatever ends the job, or sets it aside, frees it in the
//! same script (`lua/include/release.lua`), which lets the next one in.

use std::num::{NonZeroU8, NonZeroU16};

use crate::{JobId, Slot, envelope::unique_hash, keys::Keys};

/// How many jobs with a key run at once; see [`crate::Options::slot`].
///
/// The key is one for all kinds of jobs in a queue, and for all workers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyLimit {
    key: String,
    most: NonZeroU8,
}

impl KeyLimit {
    /// One job at a time.
    pub fn one(key: impl Into<String>) -> Self {
        Self::new(key, NonZeroU8::MIN)
    }

    /// So many at once; a script looks through as many slots, so there are no more than 255.
    ///
    /// Each job goes by its own limit when it starts. Where they differ, one with a small
    /// limit waits until so few run, those behind it wait too, and may then run beside it.
    pub fn new(key: impl Into<String>, most: NonZeroU8) -> Self {
        let key = key.into();
        Self { key, most }
    }

    pub(crate) fn slot(&self, queue: &str) -> Slot {
        Slot {
            key: unique_hash(queue, &self.key),
            limit: NonZeroU16::from(self.most),
        }
    }
}

/// The keys of a slot, as `lua/include/slots.lua` has them.
pub(crate) fn keys(keys: &Keys, slot: Slot) -> Vec<String> {
    let mut named = vec![
        keys.slots(slot.key),
        keys.blocked.clone(),
        keys.payloads.clone(),
    ];
    named.extend(keys.streams.iter().cloned());
    named
}

/// A member of the index of jobs that wait for a slot: it can be told from the envelope.
pub(crate) fn waiter(slot: Slot, job: JobId) -> String {
    let Slot { key, limit } = slot;
    format!("{:032x} {job} {limit}", u128::from_be_bytes(key))
}

/// The job and its slot; none for a text that is no such member.
pub(crate) fn read_waiter(member: &str) -> Option<(JobId, Slot)> {
    let mut words = member.split(' ');
    let (key, job, limit) = (words.next()?, words.next()?, words.next()?);
    if key.len() != 32 || words.next().is_some() {
        return None;
    }
    let slot = Slot {
        key: u128::from_str_radix(key, 16).ok()?.to_be_bytes(),
        limit: limit.parse().ok()?,
    };
    Some((job.parse().ok()?, slot))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_is_read_as_it_is_written() {
        let slot = KeyLimit::new("customer-7", NonZeroU8::MAX).slot("mail");
        let job = JobId::new();
        assert_eq!(read_waiter(&waiter(slot, job)), Some((job, slot)));
        assert_eq!(read_waiter("task 1 0192"), None);
    }

    #[test]
    fn a_key_is_one_for_all_kinds_of_a_queue() {
        let one = KeyLimit::one("customer-7");
        assert_eq!(one.slot("mail").key, one.slot("mail").key);
        assert_ne!(one.slot("mail").key, one.slot("bills").key);
    }
}

//! What a job holds besides its place in the queue, and what goes when it ends.

use crate::{Slot, UniqueHash, envelope::Extras, keys::Keys, slot};

/// Names for scripts: `lua/include/release.lua` has the letters and what is done with them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Holds {
    /// The key of a unique job.
    pub(crate) unique: Option<UniqueHash>,
    /// The slot of a job whose key has a limit; it may be waiting for it still.
    pub(crate) slot: Option<Slot>,
}

impl Holds {
    pub(crate) fn new(extras: &Extras<'_>) -> Self {
        Self {
            unique: extras.unique,
            slot: extras.slot,
        }
    }

    /// The letters, and the keys that belong to them.
    pub(crate) fn named(&self, keys: &Keys) -> (String, Vec<String>) {
        let (mut letters, mut named) = (String::new(), Vec::new());
        if let Some(unique) = self.unique {
            letters.push('u');
            named.push(keys.lock(unique));
        }
        if let Some(slot) = self.slot {
            letters.push('k');
            named.extend(slot::keys(keys, slot));
        }
        (letters, named)
    }
}

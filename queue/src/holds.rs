//! What a job holds besides its place in the queue, and what goes when it ends.

use uuid::Uuid;

use crate::{Slot, UniqueHash, envelope::Extras, keys::Keys, slot};

/// Names for scripts: `lua/include/release.lua` has the letters and what is done with them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Holds {
    /// The key of a unique job.
    pub(crate) unique: Option<UniqueHash>,
    /// Another job may be kept for its end, and gets that key then.
    pub(crate) replaceable: bool,
    /// The batch of which it is a member.
    pub(crate) batch: Option<Uuid>,
    /// The slot of a job whose key has a limit; it may be waiting for it still.
    pub(crate) slot: Option<Slot>,
}

impl Holds {
    pub(crate) fn new(extras: &Extras<'_>) -> Self {
        Self {
            unique: extras.unique,
            replaceable: extras.replaceable,
            batch: extras.batch,
            slot: extras.slot,
        }
    }

    /// Those of a job that holds a key and nothing else.
    pub(crate) fn of_key(unique: UniqueHash) -> Self {
        Self {
            unique: Some(unique),
            ..Self::default()
        }
    }

    /// The letters, and the keys that belong to them.
    pub(crate) fn named(&self, keys: &Keys) -> (String, Vec<String>) {
        let (mut letters, mut named) = (String::new(), Vec::new());
        if let Some(unique) = self.unique {
            letters.push(if self.replaceable { 'r' } else { 'u' });
            named.push(keys.lock(unique));
            if self.replaceable {
                named.push(keys.kept(unique));
                named.extend_from_slice(&keys.streams);
            }
        }
        if let Some(batch) = self.batch {
            letters.push('b');
            named.extend([keys.members(batch), keys.batch(batch)]);
            named.extend_from_slice(&keys.streams);
        }
        if let Some(slot) = self.slot {
            letters.push('k');
            named.extend(slot::keys(keys, slot));
        }
        (letters, named)
    }
}

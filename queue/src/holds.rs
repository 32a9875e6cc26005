//! What a job holds besides its place in the queue, and what goes when it ends.

use uuid::Uuid;

use crate::{Slot, UniqueHash, envelope::Extras, keys::Keys, slot};

/// Names for scripts: `lua/include/release.lua` has the letters and what is done with them.
///
/// Most jobs hold nothing, and go from hand to hand with it: so it is no more than a pointer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Holds(Option<Box<Held>>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Held {
    /// The key of a unique job.
    unique: Option<UniqueHash>,
    /// Another job may be kept for its end, and gets that key then.
    replaceable: bool,
    /// The batch of which it is a member.
    batch: Option<Uuid>,
    /// The slot of a job whose key has a limit; it may be waiting for it still.
    slot: Option<Slot>,
}

impl Holds {
    pub(crate) fn new(extras: &Extras<'_>) -> Self {
        let any = extras.unique.is_some() || extras.batch.is_some() || extras.slot.is_some();
        Self(any.then(|| {
            Box::new(Held {
                unique: extras.unique,
                replaceable: extras.replaceable,
                batch: extras.batch,
                slot: extras.slot,
            })
        }))
    }

    /// Those of a job that holds a key and nothing else.
    pub(crate) fn of_key(unique: UniqueHash) -> Self {
        Self::new(&Extras {
            unique: Some(unique),
            ..Extras::default()
        })
    }

    /// The letters, and the keys that belong to them.
    pub(crate) fn named(&self, keys: &Keys) -> (String, Vec<String>) {
        let (mut letters, mut named) = (String::new(), Vec::new());
        let Some(held) = &self.0 else {
            return (letters, named);
        };
        if let Some(unique) = held.unique {
            letters.push(if held.replaceable { 'r' } else { 'u' });
            named.push(keys.lock(unique));
            if held.replaceable {
                named.push(keys.kept(unique));
                named.extend_from_slice(&keys.streams);
                named.extend([keys.delayed.clone(), keys.payloads.clone()]);
            }
        }
        if let Some(batch) = held.batch {
            letters.push('b');
            named.extend([keys.members(batch), keys.batch(batch)]);
            named.extend_from_slice(&keys.streams);
        }
        if let Some(slot) = held.slot {
            letters.push('k');
            named.extend(slot::keys(keys, slot));
        }
        (letters, named)
    }
}

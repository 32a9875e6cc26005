//! What of the queue can be seen from outside.

use std::collections::{BTreeMap, BTreeSet};

use super::Number;

/// Who owns an entry, and how often it was delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::model) struct Pending {
    pub(in crate::model) by: String,
    pub(in crate::model) deliveries: u32,
}

/// An entry of the stream, or what is left of one in the list of pending entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::model) struct Entry {
    /// None, when it was deleted and not acknowledged.
    pub(in crate::model) job: Option<Number>,
    pub(in crate::model) pending: Option<Pending>,
}

/// When a delayed job is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::model) enum Due {
    /// In the past; the smaller, the longer.
    Since(u64),
    Later,
}

/// Who holds a key, and whether without an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::model) struct Lock {
    pub(in crate::model) job: Number,
    pub(in crate::model) endless: bool,
}

/// Everything that can be seen in Redis.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::model) struct Seen {
    /// In their order.
    pub(in crate::model) entries: Vec<Entry>,
    pub(in crate::model) delayed: BTreeMap<Number, Due>,
    pub(in crate::model) parked: BTreeSet<Number>,
    /// Those that wait for a slot, in their order.
    pub(in crate::model) blocked: BTreeSet<Number>,
    /// Those that have a slot.
    pub(in crate::model) slots: BTreeSet<Number>,
    /// In their order.
    pub(in crate::model) dead: Vec<Number>,
    /// Attempt of each job that is anywhere.
    pub(in crate::model) attempts: BTreeMap<Number, u16>,
    /// Jobs whose payload is beside the stream.
    pub(in crate::model) payloads: BTreeSet<Number>,
    pub(in crate::model) locks: BTreeMap<u8, Lock>,
    /// Consumers with a lease, and whether it still runs.
    pub(in crate::model) alive: BTreeMap<String, bool>,
    /// The next slot of the schedule.
    pub(in crate::model) slot: Option<u64>,
    /// The slot of it that was asked for.
    pub(in crate::model) asked: Option<u64>,
}

//! Where jobs are, as the conductor saw it.

use std::collections::{BTreeMap, BTreeSet};

use queue::JobId;
use serde::{Deserialize, Serialize};

use super::Micros;
use crate::brief::{partitions_of, queue_of};

/// Every place where a job can be, at one instant for each queue.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Snapshot {
    /// Ready or running: entries of the stream, with the owner if there is one.
    pub(crate) stream: Vec<(JobId, Option<String>)>,
    pub(crate) delayed: Vec<JobId>,
    pub(crate) parked: Vec<JobId>,
    /// Waiting for a slot of their key.
    #[serde(default)]
    pub(crate) blocked: Vec<JobId>,
    /// Kept until the one that holds their key has ended.
    #[serde(default)]
    pub(crate) kept: Vec<JobId>,
    /// Payloads of the delayed and parked.
    pub(crate) payloads: Vec<JobId>,
    pub(crate) dead: Vec<DeadJob>,
    /// Unique locks: key and holder.
    pub(crate) locks: Vec<(String, JobId)>,
    /// Entries that were delivered more than once, and how often.
    #[serde(default)]
    pub(crate) delivered: Vec<(JobId, u64)>,
    /// Jobs of each queue that count against its limit.
    #[serde(default)]
    pub(crate) depths: BTreeMap<String, u64>,
    /// Requests to cancel that are remembered.
    #[serde(default)]
    pub(crate) requests: Vec<JobId>,
    /// How many jobs were cancelled, by the count of all queues.
    #[serde(default)]
    pub(crate) cancelled: u64,
    /// The jobs of each partition, of queues that have several.
    #[serde(default)]
    pub(crate) partitions: BTreeMap<String, Vec<JobId>>,
    /// Those whose payload nobody can read without a key.
    #[serde(default)]
    pub(crate) sealed: BTreeSet<JobId>,
    /// When it was asked for; `at` of the record is when the answer was there.
    pub(crate) asked: Micros,
}

/// A dead letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DeadJob {
    pub(crate) id: JobId,
    pub(crate) why: String,
    pub(crate) attempts: u32,
}

impl Snapshot {
    /// Each job with each place where it is.
    pub(crate) fn places(&self) -> impl Iterator<Item = (JobId, &'static str)> {
        let stream = self.stream.iter().map(|(id, _)| (*id, "the stream"));
        let delayed = self.delayed.iter().map(|id| (*id, "the delayed"));
        let parked = self.parked.iter().map(|id| (*id, "the parked"));
        let kept = self.kept.iter().map(|id| (*id, "the kept"));
        let dead = self.dead.iter();
        let dead = dead.map(|letter| (letter.id, "the dead letters"));
        let blocked = self.blocked.iter().map(|id| (*id, "the blocked"));
        let waiting = delayed.chain(parked).chain(kept).chain(blocked);
        stream.chain(waiting).chain(dead)
    }

    /// Adds what another partition of some queue has.
    pub(crate) fn add(&mut self, partition: &str, other: Self) {
        if partitions_of(queue_of(partition)).count() > 1 {
            let jobs = other.places().map(|(id, _)| id).collect();
            self.partitions.insert(partition.to_owned(), jobs);
        }
        self.stream.extend(other.stream);
        self.delayed.extend(other.delayed);
        self.parked.extend(other.parked);
        self.kept.extend(other.kept);
        self.blocked.extend(other.blocked);
        self.payloads.extend(other.payloads);
        self.dead.extend(other.dead);
        self.locks.extend(other.locks);
        self.delivered.extend(other.delivered);
        self.depths.extend(other.depths);
        self.requests.extend(other.requests);
        self.sealed.extend(other.sealed);
        self.cancelled += other.cancelled;
    }

    /// Where a job is, in words.
    pub(crate) fn place_of(&self, job: JobId) -> String {
        let mut places = Vec::new();
        for (_, owner) in self.stream.iter().filter(|(id, _)| *id == job) {
            places.push(match owner {
                Some(owner) => format!("the stream, owned by {owner}"),
                None => "the stream".to_owned(),
            });
        }
        let lists = [
            (&self.delayed, "the delayed"),
            (&self.parked, "the parked"),
            (&self.kept, "the kept"),
            (&self.blocked, "the blocked"),
        ];
        for (list, place) in lists {
            if list.contains(&job) {
                places.push(place.to_owned());
            }
        }
        for letter in self.dead.iter().filter(|letter| letter.id == job) {
            let DeadJob { why, attempts, .. } = letter;
            places.push(format!("the dead letters ({why}, {attempts})"));
        }
        if places.is_empty() {
            places.push("nothing".to_owned());
        }
        places.join(" and ")
    }
}

use std::{fmt, str::FromStr, time::Duration};

use crate::{
    EntryId, Envelope, JobId, Priority, Slot, Unknown, letters::DeadLetter, queue::Partition,
};

/// Where a job can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Waiting for a worker, oldest first.
    Ready,
    /// In the hands of a worker, or between two; oldest first.
    InHand,
    /// Waiting for its time, the next first.
    Delayed,
    /// Waiting for a worker that knows it, those of one kind together.
    Parked,
    /// Waiting for a slot of its key, those of one key together, the next first.
    Blocked,
    /// A dead letter, newest first.
    Dead,
}

impl State {
    /// All of them, in the order of a job's life.
    pub const ALL: [Self; 6] = [
        Self::Ready,
        Self::InHand,
        Self::Delayed,
        Self::Parked,
        Self::Blocked,
        Self::Dead,
    ];

    /// The state in one word: `ready`, `in-hand`, `delayed`, `parked`,
    /// `blocked`, `dead`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::InHand => "in-hand",
            Self::Delayed => "delayed",
            Self::Parked => "parked",
            Self::Blocked => "blocked",
            Self::Dead => "dead",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A text is not the name of a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no state of a job: there are ready, in-hand, delayed, parked, blocked and dead")]
pub struct UnknownState;

impl FromStr for State {
    type Err = UnknownState;

    fn from_str(s: &str) -> Result<Self, UnknownState> {
        let mut all = Self::ALL.into_iter();
        all.find(|state| state.name() == s).ok_or(UnknownState)
    }
}

/// A job, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// The partition that it is in: the queue, or `queue:1`; where a queue is named, either will
    /// do.
    pub queue: String,
    /// Its id; none where this release cannot read the envelope.
    pub id: Option<JobId>,
    /// Where it is.
    pub place: Place,
    /// The job; [`Envelope::decode`] reads it.
    pub envelope: Vec<u8>,
}

/// Where a job is, and what is known of it there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Waiting for a worker.
    Ready {
        /// Its entry, which tells since when: [`EntryId::ms`].
        entry: EntryId,
        /// The priority of its stream, which is the job's but where an older release moved it.
        priority: Priority,
    },
    /// In the hands of a worker: it runs, was fetched ahead, or waits for confirmation.
    InHand {
        /// Its entry.
        entry: EntryId,
        /// The priority of its stream, which is the job's but where an older release moved it.
        priority: Priority,
        /// The worker; none between two, after it was handed back.
        consumer: Option<String>,
        /// Since it was delivered, or handed back.
        since: Duration,
        /// How often it was delivered to a worker that kept it.
        deliveries: u32,
    },
    /// Waiting for its time.
    Delayed {
        /// The time, in ms of the Unix epoch by the server's clock.
        due_ms: u64,
    },
    /// Waiting for a worker that knows it.
    Parked {
        /// What the others did not know.
        reason: Unknown,
    },
    /// Waiting for a slot of its key.
    Blocked {
        /// The hash of the key, and how many of its jobs may run at once.
        slot: Slot,
    },
    /// A dead letter.
    Dead {
        /// Its place among the letters, for [`crate::Queue::replay`]; the time of death.
        letter: EntryId,
        /// See [`DeadLetter::why`].
        why: String,
        /// The last error with its sources.
        error: String,
        /// Attempts, or deliveries where no attempt ended.
        attempts: u32,
    },
}

impl Place {
    /// The state that this is.
    #[must_use]
    pub fn state(&self) -> State {
        match self {
            Self::Ready { .. } => State::Ready,
            Self::InHand { .. } => State::InHand,
            Self::Delayed { .. } => State::Delayed,
            Self::Parked { .. } => State::Parked,
            Self::Blocked { .. } => State::Blocked,
            Self::Dead { .. } => State::Dead,
        }
    }
}

impl Located {
    pub(super) fn new(partition: &Partition, place: Place, envelope: Vec<u8>) -> Self {
        Self::at(partition.name.clone(), place, envelope)
    }

    fn at(queue: String, place: Place, envelope: Vec<u8>) -> Self {
        Self {
            queue,
            id: Envelope::decode(&envelope).ok().map(|job| job.id),
            place,
            envelope,
        }
    }
}

impl From<DeadLetter> for Located {
    fn from(letter: DeadLetter) -> Self {
        let place = Place::Dead {
            letter: letter.id,
            why: letter.why,
            error: letter.error,
            attempts: letter.attempts,
        };
        Self::at(letter.queue, place, letter.envelope)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_print_as_they_are_read() {
        for state in State::ALL {
            assert_eq!(state.to_string().parse(), Ok(state));
        }
        assert_eq!("running".parse::<State>(), Err(UnknownState));
    }
}

use std::time::{Duration, SystemTime};

use crate::{JobId, KeyLimit, Priority};

/// When a job runs, and with which others it does not: see [`crate::Queue::enqueue_with`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// When to run it.
    pub run: Run,
    /// The key that it must hold to be enqueued, among the jobs of its kind and queue.
    pub unique: Option<String>,
    /// How soon it starts; none: as its kind says, [`crate::Job::PRIORITY`].
    pub priority: Option<Priority>,
    /// How many jobs with the same key run at once, and which key that is: the others wait.
    pub slot: Option<KeyLimit>,
}

/// When to run a job, by the server's clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Run {
    /// As soon as a worker is free.
    #[default]
    Now,
    /// After this time.
    In(Duration),
    /// At this time; one that has passed is now.
    At(SystemTime),
}

/// Whether a job was enqueued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enqueued {
    /// It was, under this id.
    New(JobId),
    /// It was not: this job holds its key, and is neither done nor dead.
    Duplicate(JobId),
}

impl Enqueued {
    /// The job that will do the work: the new one, or the one that holds the key.
    #[must_use]
    pub fn id(self) -> JobId {
        match self {
            Self::New(id) | Self::Duplicate(id) => id,
        }
    }
}

use std::time::{Duration, SystemTime};

use crate::{
    JobId, KeyLimit, Priority,
    envelope::{epoch_ms, whole_ms},
};

/// When a job runs, and with which others it does not: see [`crate::Queue::enqueue_with`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// When to run it.
    pub run: Run,
    /// The key that it must hold to be enqueued, among the jobs of its kind and queue.
    pub unique: Option<String>,
    /// What to do where another job holds the key.
    pub mode: UniqueMode,
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

impl Run {
    /// In the words of the scripts: `now`, `in` so many ms, or `at` that many of the epoch.
    pub(crate) fn words(self) -> (&'static str, u64) {
        match self {
            Self::Now => ("now", 0),
            Self::In(delay) => ("in", whole_ms(delay)),
            Self::At(time) => ("at", epoch_ms(time)),
        }
    }
}

/// What to do with a unique job while another one holds its key.
///
/// All jobs with a key should have the same mode. The README has a table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum UniqueMode {
    /// It is not enqueued.
    #[default]
    Skip,
    /// It takes the other's place while that waits. While a worker has that in hand it is not
    /// enqueued.
    Replace,
    /// It takes the other's place while that waits. While a worker has that in hand it is
    /// kept, in the place of one that was kept before, until the other has ended, and then
    /// until its own time has come.
    KeepLast,
}

impl Options {
    /// To run the last of many jobs with a key, when none has come for this long.
    ///
    /// It is [`UniqueMode::KeepLast`] with a delay, which each job begins anew, also while
    /// a worker has one of them in hand.
    #[must_use]
    pub fn debounced(key: impl Into<String>, quiet: Duration) -> Self {
        Self {
            run: Run::In(quiet),
            unique: Some(key.into()),
            mode: UniqueMode::KeepLast,
            ..Self::default()
        }
    }
}

/// Whether a job was enqueued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enqueued {
    /// It was, under this id; it may be kept until the job that holds its key has ended.
    New(JobId),
    /// It was, in the place of one that waited, and is gone.
    Replaced {
        /// The job that is gone.
        old: JobId,
        /// The job that was enqueued.
        new: JobId,
    },
    /// It was not: this job holds its key, and is neither done nor dead.
    Duplicate(JobId),
}

impl Enqueued {
    /// The job that will do the work: the new one, or the one that holds the key.
    #[must_use]
    pub fn id(self) -> JobId {
        match self {
            Self::New(id) | Self::Duplicate(id) | Self::Replaced { new: id, .. } => id,
        }
    }
}

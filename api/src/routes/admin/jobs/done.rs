use std::fmt;

use serde::Deserialize;

/// The query of a page that an action leads back to.
#[derive(Deserialize)]
pub(super) struct After {
    #[serde(default)]
    done: String,
}

impl After {
    /// What to say of it; nothing of a word that is none of these.
    pub(super) fn notice(&self) -> Option<&'static str> {
        let mut all = Done::ALL.into_iter();
        all.find(|done| done.word() == self.done).map(Done::text)
    }
}

/// What was done: a word in an address, never a text, or anybody could write on the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Done {
    Retried,
    RetriedAll,
    Deleted,
    Cancelled,
    AskedToEnd,
    Paused,
    Resumed,
    AskedFor,
}

impl Done {
    const ALL: [Self; 8] = [
        Self::Retried,
        Self::RetriedAll,
        Self::Deleted,
        Self::Cancelled,
        Self::AskedToEnd,
        Self::Paused,
        Self::Resumed,
        Self::AskedFor,
    ];

    fn word(self) -> &'static str {
        match self {
            Self::Retried => "retried",
            Self::RetriedAll => "retried-all",
            Self::Deleted => "deleted",
            Self::Cancelled => "cancelled",
            Self::AskedToEnd => "asked-to-end",
            Self::Paused => "paused",
            Self::Resumed => "resumed",
            Self::AskedFor => "asked-for",
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Retried => "The job is ready again, with all of its attempts.",
            Self::RetriedAll => {
                "The dead letters are ready again. What is still here is a job that cannot be read, \
                 was to be cancelled, or whose key another job holds."
            }
            Self::Deleted => "The job is deleted.",
            Self::Cancelled => "The job is cancelled.",
            Self::AskedToEnd => {
                "A worker has the job, or is about to: it is told to stop, and drops it a second \
                 later."
            }
            Self::Paused => {
                "The queue is paused: what runs goes on to its end, and nothing starts."
            }
            Self::Resumed => "Workers start the queue's jobs again.",
            Self::AskedFor => "The first worker that has the schedule makes the job.",
        }
    }
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

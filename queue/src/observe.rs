//! What an application can be told of each attempt, for its metrics.

use std::time::Duration;

/// An attempt at a job.
#[derive(Debug, Clone, Copy)]
pub struct Attempt<'a> {
    /// The queue that the job came from.
    pub queue: &'a str,
    /// The job's kind, as [`crate::Job::NAME`].
    pub kind: &'static str,
    /// Which of the job's attempts it is, from 1.
    pub number: u16,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The job is done.
    Done,
    /// It failed, and another attempt follows.
    Retried,
    /// It failed, and the job is a dead letter.
    Dead,
    /// Somebody wanted the job to end.
    Cancelled,
    /// The worker stopped before the job did: another takes it.
    HandedBack,
    /// The worker had lost its lease: another may have the job already.
    Lost,
}

impl Ended {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Done,
        Self::Retried,
        Self::Dead,
        Self::Cancelled,
        Self::HandedBack,
        Self::Lost,
    ];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Retried => "retried",
            Self::Dead => "dead",
            Self::Cancelled => "cancelled",
            Self::HandedBack => "handed_back",
            Self::Lost => "lost",
        }
    }
}

/// Is told of each attempt that a worker makes.
///
/// It is called by the task that runs the job, and the next one waits for it: it should do no more
/// than count. A panic of it is logged.
pub trait Observer: Send + Sync {
    /// A handler is about to run.
    fn began(&self, attempt: Attempt<'_>);

    /// It has run for so long. Redis does not know of it yet, and may take it for another end when
    /// the worker dies now.
    fn ended(&self, attempt: Attempt<'_>, how: Ended, took: Duration);
}

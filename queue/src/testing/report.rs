use std::fmt;

use super::Outcome;
use crate::{Counts, JobId, Unknown};

/// What became of the jobs that [`run_until_empty`](super::run_until_empty) ran.
///
/// It prints as a list of the jobs and their attempts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The jobs, in the order in which their first attempts ended.
    pub jobs: Vec<Ran>,
    /// Jobs that are still in the queues, and of this run alone what is dead or cancelled.
    pub left: Counts,
    /// Why jobs are parked, once for each kind: mostly its handler is not registered.
    pub parked: Vec<Unknown>,
}

/// A job that ran.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ran {
    /// Its id.
    pub id: JobId,
    /// Its [`Job::NAME`](crate::Job::NAME).
    pub name: String,
    /// The queue that it was in.
    pub queue: String,
    /// How each attempt of this run ended; there is at least one.
    pub attempts: Vec<Outcome>,
}

impl Report {
    /// How many jobs are done.
    #[must_use]
    pub fn done(&self) -> usize {
        let ends = self.jobs.iter().map(Ran::outcome);
        ends.filter(|end| **end == Outcome::Done).count()
    }

    /// The job of this id, if it ran.
    #[must_use]
    pub fn job(&self, id: JobId) -> Option<&Ran> {
        self.jobs.iter().find(|ran| ran.id == id)
    }

    /// Whether all that ran is done, and nothing was parked, buried or cancelled unrun.
    #[must_use]
    pub fn all_done(&self) -> bool {
        let others = self.left.parked + self.left.blocked + self.left.dead + self.left.cancelled;
        self.done() == self.jobs.len() && others == 0
    }

    /// Checks that all is done, after a failure or none.
    ///
    /// # Panics
    /// When [`Report::all_done`] does not hold, with the report.
    #[track_caller]
    pub fn assert_all_done(&self) {
        assert!(self.all_done(), "not all jobs are done\n{self}");
    }
}

impl Ran {
    /// How the last attempt ended.
    ///
    /// # Panics
    /// When its attempts have been taken out.
    #[must_use]
    pub fn outcome(&self) -> &Outcome {
        let last = self.attempts.last();
        last.expect("a job that ran has an attempt")
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ran in &self.jobs {
            write!(f, "{ran}")?;
        }
        for reason in &self.parked {
            writeln!(f, "parked: {reason}")?;
        }
        let Counts {
            ready,
            in_hand,
            delayed,
            parked,
            blocked,
            dead,
            cancelled,
            ..
        } = self.left;
        write!(
            f,
            "left: {ready} ready, {in_hand} in hand, {delayed} delayed, {parked} parked, \
             {blocked} blocked, {dead} dead, {cancelled} cancelled"
        )
    }
}

impl fmt::Display for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} {} in {}", self.name, self.id, self.queue)?;
        for attempt in &self.attempts {
            writeln!(f, "  {attempt}")?;
        }
        Ok(())
    }
}

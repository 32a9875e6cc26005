use std::{collections::HashMap, future::Future, time::SystemTime};

use futures_util::{FutureExt, future::BoxFuture};

use crate::{Error, Job, JobContext, JobError, Schedule, job::is_name, schedule::Plan};

type Run<C> = dyn Fn(&[u8], JobContext<C>) -> Result<BoxFuture<'static, Outcome>, serde_json::Error>
    + Send
    + Sync;

/// What a handler returns.
pub(crate) type Outcome = Result<(), JobError>;

/// One kind of job and what runs it.
pub(crate) struct Kind<C> {
    pub(crate) name: &'static str,
    pub(crate) version: u16,
    pub(crate) backoff: fn(u16) -> std::time::Duration,
    pub(crate) run: Box<Run<C>>,
}

/// The kinds of jobs that a worker knows: one visible list.
///
/// `C` is the application's context, handed to each handler: usually an `Arc`.
pub struct Registry<C> {
    /// By name, then by version.
    kinds: HashMap<&'static str, HashMap<u16, Kind<C>>>,
    pub(crate) schedules: Vec<Plan>,
    /// What is wrong with the schedules.
    mistakes: Vec<String>,
}

impl<C> Default for Registry<C> {
    fn default() -> Self {
        Self {
            kinds: HashMap::new(),
            schedules: Vec::new(),
            mistakes: Vec::new(),
        }
    }
}

impl<C: Send + 'static> Registry<C> {
    /// A registry without kinds.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a kind of job with its handler; each version of a name is a kind.
    ///
    /// # Panics
    /// When name and version are registered already: two jobs would share one payload.
    #[must_use]
    pub fn register<J, F, Fut>(mut self, handler: F) -> Self
    where
        J: Job,
        F: Fn(J, JobContext<C>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), JobError>> + Send + 'static,
    {
        const {
            assert!(is_name(J::NAME), "Job::NAME: use a-z, 0-9, '_', '-', '.'");
        }
        let run: Box<Run<C>> = Box::new(move |payload, context| {
            let job: J = serde_json::from_slice(payload)?;
            Ok(handler(job, context).boxed())
        });
        let kind = Kind {
            name: J::NAME,
            version: J::VERSION,
            backoff: J::backoff,
            run,
        };
        let other = self
            .kinds
            .entry(J::NAME)
            .or_default()
            .insert(J::VERSION, kind);
        assert!(
            other.is_none(),
            "job {} of version {} is registered twice",
            J::NAME,
            J::VERSION
        );
        self
    }

    /// Adds jobs that come by themselves; `job` makes the one of a slot, given its time.
    ///
    /// They go to the job's queue, and workers that serve it see to it; `job` has no
    /// context, because it says what to do, and the handler does it. It should not
    /// block. A slot for which it panics, or makes too large a job, is passed over.
    ///
    /// Mistakes in the schedule, and a job without a handler, are told by
    /// [`Registry::check`].
    #[must_use]
    pub fn schedule<J, F>(mut self, schedule: Schedule, job: F) -> Self
    where
        J: Job,
        F: Fn(SystemTime) -> J + Send + Sync + 'static,
    {
        match Plan::new(schedule, job) {
            Ok(plan) if self.schedules.iter().any(|other| other.name == plan.name) => {
                let mistake = format!("schedule {:?} stands twice", plan.name);
                self.mistakes.push(mistake);
            }
            Ok(plan) => self.schedules.push(plan),
            Err(mistakes) => self.mistakes.extend(mistakes),
        }
        self
    }

    /// Checks the schedules, as a worker does at start; an application's test can too.
    ///
    /// # Errors
    /// [`Error::Settings`] with all that is wrong at once.
    pub fn check(&self) -> Result<(), Error> {
        let mut mistakes = self.mistakes.clone();
        for Plan { name, kind, .. } in &self.schedules {
            let (job, version) = kind;
            if self.find(job, *version).is_none() {
                // It would fire jobs only to park them.
                mistakes.push(format!(
                    "schedule {name:?}: register a handler for {job} of version {version}"
                ));
            }
        }
        if mistakes.is_empty() {
            Ok(())
        } else {
            Err(Error::Settings(mistakes))
        }
    }

    /// The names of all kinds, sorted.
    #[must_use]
    pub fn names(&self) -> Vec<&'static str> {
        let mut names: Vec<_> = self.kinds.keys().copied().collect();
        names.sort_unstable();
        names
    }

    pub(crate) fn find(&self, name: &str, version: u16) -> Option<&Kind<C>> {
        self.kinds.get(name)?.get(&version)
    }

    pub(crate) fn kinds(&self) -> impl Iterator<Item = &Kind<C>> {
        self.kinds.values().flat_map(HashMap::values)
    }
}

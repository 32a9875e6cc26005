use std::{collections::HashMap, future::Future};

use foldhash::fast::RandomState;
use futures_util::{FutureExt, future::BoxFuture};

use crate::{Job, JobContext, JobError, job::is_name};

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
    kinds: HashMap<&'static str, HashMap<u16, Kind<C>, RandomState>, RandomState>,
}

impl<C> Default for Registry<C> {
    fn default() -> Self {
        Self {
            kinds: HashMap::default(),
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

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    error::Error as StdError,
    ops::RangeInclusive,
    sync::Arc,
    time::{Duration, SystemTime},
};

use foldhash::fast::RandomState;
use futures_util::{FutureExt, future::BoxFuture};
use serde_json::error::Category;

use crate::{Error, Job, JobContext, JobError, Observer, Schedule, job::is_name, schedule::Plan};

/// Takes the payload's version, the payload and the context.
type Handle<C> =
    dyn Fn(u16, &[u8], JobContext<C>) -> Result<BoxFuture<'static, Outcome>, Misfit> + Send + Sync;

/// What a handler returns.
pub(crate) type Outcome = Result<(), JobError>;

/// Why a payload is not of the job that its envelope names.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Misfit {
    #[error("the payload does not fit the job: {0}")]
    Shape(#[from] serde_json::Error),
    /// Of a secret payload, of which serde's own words quote a part.
    #[error("the payload does not fit the job: {category:?} at line {line}, column {column}")]
    Secret {
        category: Category,
        line: usize,
        column: usize,
    },
    #[error("the payload cannot be lifted from version {from}: {source}")]
    Upcast {
        from: u16,
        source: Box<dyn StdError + Send + Sync>,
    },
}

impl Misfit {
    /// Without a part of the payload.
    pub(crate) fn of_secret(self) -> Self {
        match self {
            Self::Shape(error) => Self::Secret {
                category: error.classify(),
                line: error.line(),
                column: error.column(),
            },
            other => other,
        }
    }
}

/// One kind of job and what runs it.
pub(crate) struct Kind<C> {
    pub(crate) name: &'static str,
    /// The queue that its jobs go to.
    pub(crate) queue: &'static str,
    /// The payload versions that it takes.
    pub(crate) versions: RangeInclusive<u16>,
    pub(crate) backoff: fn(u16) -> Duration,
    pub(crate) run: Box<Handle<C>>,
}

/// The kinds of jobs that a worker knows: one visible list.
///
/// `C` is the application's context, handed to each handler: usually an `Arc`.
pub struct Registry<C> {
    /// By name; their versions do not overlap.
    kinds: HashMap<&'static str, Vec<Kind<C>>, RandomState>,
    pub(crate) schedules: Vec<Plan>,
    /// What is wrong with the schedules.
    mistakes: Vec<String>,
    /// Is told of each attempt.
    pub(crate) observer: Option<Arc<dyn Observer>>,
    /// Is told how each attempt ended.
    #[cfg(feature = "testing")]
    pub(crate) watch: Option<crate::testing::Watch>,
}

impl<C> Default for Registry<C> {
    fn default() -> Self {
        Self {
            kinds: HashMap::default(),
            schedules: Vec::new(),
            mistakes: Vec::new(),
            observer: None,
            #[cfg(feature = "testing")]
            watch: None,
        }
    }
}

impl<C: Send + 'static> Registry<C> {
    /// A registry without kinds.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a kind of job with its handler, for the versions of its payload from
    /// [`Job::OLDEST_VERSION`] to [`Job::VERSION`].
    ///
    /// # Panics
    /// When a version of this name is registered already: two jobs would share one
    /// payload.
    #[must_use]
    pub fn register<J, F, Fut>(mut self, handler: F) -> Self
    where
        J: Job,
        F: Fn(J, JobContext<C>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), JobError>> + Send + 'static,
    {
        const {
            assert!(is_name(J::NAME), "Job::NAME: use a-z, 0-9, '_', '-', '.'");
            assert!(
                J::OLDEST_VERSION <= J::VERSION,
                "Job::OLDEST_VERSION must not be above Job::VERSION"
            );
        }
        let versions = J::OLDEST_VERSION..=J::VERSION;
        let kinds = self.kinds.entry(J::NAME).or_default();
        for other in &*kinds {
            let (ours, theirs) = (&versions, &other.versions);
            assert!(
                ours.end() < theirs.start() || theirs.end() < ours.start(),
                "job {} is registered twice: for versions {ours:?} and {theirs:?}",
                J::NAME,
            );
        }
        kinds.push(Kind {
            name: J::NAME,
            queue: J::QUEUE,
            versions,
            backoff: J::backoff,
            run: Box::new(move |version, payload, context| {
                let job = read::<J>(version, payload)?;
                Ok(handler(job, context).boxed())
            }),
        });
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

    /// Has `observer` told of each attempt; one that was given before is told no more.
    #[must_use]
    pub fn observe(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = Some(observer);
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

    /// The queue that the jobs of each kind go to, by the kind's name.
    #[must_use]
    pub fn queue_of_each(&self) -> BTreeMap<&'static str, &'static str> {
        self.kinds().map(|kind| (kind.name, kind.queue)).collect()
    }

    /// The queues that its jobs go to, sorted: those that a worker with it should serve.
    #[must_use]
    pub fn queues(&self) -> Vec<&'static str> {
        let queues: BTreeSet<_> = self.kinds().map(|kind| kind.queue).collect();
        queues.into_iter().collect()
    }

    pub(crate) fn find(&self, name: &str, version: u16) -> Option<&Kind<C>> {
        let mut kinds = self.kinds.get(name)?.iter();
        kinds.find(|kind| kind.versions.contains(&version))
    }

    pub(crate) fn kinds(&self) -> impl Iterator<Item = &Kind<C>> {
        self.kinds.values().flatten()
    }
}

/// Reads a payload; only one of an older version pays for the way over a tree.
pub(crate) fn read<J: Job>(version: u16, payload: &[u8]) -> Result<J, Misfit> {
    if version == J::VERSION {
        return Ok(serde_json::from_slice(payload)?);
    }
    let mut tree = serde_json::from_slice(payload)?;
    for from in version..J::VERSION {
        tree = J::upcast(from, tree).map_err(|source| Misfit::Upcast { from, source })?;
    }
    Ok(serde_json::from_value(tree)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::{Deserialize, Serialize};
    use serde_json::Value;

    /// Version 3; each version adds a field.
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Move {
        x: i32,
        y: i32,
        z: i32,
    }

    impl Job for Move {
        const NAME: &'static str = "move";
        const VERSION: u16 = 3;
        const OLDEST_VERSION: u16 = 1;

        fn upcast(from: u16, mut payload: Value) -> Result<Value, Box<dyn StdError + Send + Sync>> {
            let fields = payload.as_object_mut().ok_or("not an object")?;
            let field = if from == 1 { "y" } else { "z" };
            fields.insert(field.to_owned(), from.into());
            Ok(payload)
        }
    }

    #[derive(Serialize, Deserialize)]
    struct Older;

    impl Job for Older {
        const NAME: &'static str = "move";
        const VERSION: u16 = 2;
    }

    #[test]
    fn a_payload_is_lifted_version_by_version() {
        let payloads = [
            (1, r#"{"x":9}"#, (9, 1, 2)),
            (2, r#"{"x":9,"y":8}"#, (9, 8, 2)),
            (3, r#"{"x":9,"y":8,"z":7}"#, (9, 8, 7)),
        ];
        for (version, payload, (x, y, z)) in payloads {
            let job: Move = read(version, payload.as_bytes()).unwrap();
            assert_eq!(job, Move { x, y, z });
        }
    }

    #[test]
    fn what_cannot_be_lifted_says_why() {
        let error = read::<Move>(1, b"7").unwrap_err();
        let text = "the payload cannot be lifted from version 1: not an object";
        assert_eq!(error.to_string(), text);
        let error = read::<Move>(1, b"{}").unwrap_err();
        assert!(matches!(error, Misfit::Shape(_)), "{error}");
        let error = Older::upcast(1, Value::Null).unwrap_err();
        assert_eq!(error.to_string(), "move has no upcast from version 1");
    }

    async fn nothing<J>(_: J, _: JobContext<()>) -> Outcome {
        Ok(())
    }

    #[derive(Serialize, Deserialize)]
    struct Mail;

    impl Job for Mail {
        const NAME: &'static str = "mail";
        const QUEUE: &'static str = "another";
    }

    #[test]
    fn each_queue_is_told_once() {
        let registry = Registry::new()
            .register::<Move, _, _>(nothing)
            .register::<Mail, _, _>(nothing);
        assert_eq!(registry.names(), ["mail", "move"]);
        assert_eq!(registry.queues(), ["another", "default"]);
        let expected = [("mail", "another"), ("move", "default")];
        assert_eq!(registry.queue_of_each(), expected.into());
    }

    #[test]
    fn each_version_has_one_handler() {
        let registry = Registry::new().register::<Move, _, _>(nothing);
        for version in 1..=3 {
            assert!(registry.find("move", version).is_some());
        }
        assert!(registry.find("move", 0).is_none());
        assert!(registry.find("move", 4).is_none());
    }

    #[test]
    #[should_panic(expected = "job move is registered twice: for versions 2..=2 and 1..=3")]
    fn overlapping_versions_are_refused() {
        let registry = Registry::new().register::<Move, _, _>(nothing);
        drop(registry.register::<Older, _, _>(nothing));
    }
}

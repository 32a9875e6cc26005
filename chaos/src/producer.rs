//! A producer process: offers jobs to the queue, directly and through the outbox,
//! and writes down what it was answered.

mod groups;

use std::{
    collections::BTreeMap,
    num::NonZeroU8,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use anyhow::Result;
use queue::{
    Cancelled, EnqueueError, Enqueued, Job, JobId, KeyLimit, Options, Queue, Run, UniqueMode,
};
use sqlx::PgPool;
use tokio::{sync::Semaphore, task::JoinSet};

use crate::{
    brief::Brief,
    history::{CancelAnswer, Event, Extras, Kind, Mode, Release, Route, Serial, Ties},
    jobs::{
        Bounded, Delayed, Done, Gated, Keyed, Latest, Long, Once, Plain, Poison, Scheduled, Task,
        Unique, Unknown, Versioned, VersionedV1,
    },
    journal::{Journal, micros},
    offers::{Draw, Offer},
    process, stall,
};

/// Offers under way at once; more wait, as they would in a service.
const IN_FLIGHT: usize = 64;
/// How long offers under way may take to end after SIGTERM.
const LAST_ANSWERS: Duration = Duration::from_secs(6);

/// Offers jobs until SIGTERM.
pub(crate) async fn run(brief: Brief) -> Result<()> {
    let shutdown = process::on_sigterm()?;
    let journal = brief.journal()?;
    let _stalls = stall::watch(journal.clone());
    journal.write(Event::Up {
        pid: std::process::id(),
        release: brief.release,
        keys: brief.keys(),
    });
    let mut sealing = BTreeMap::new();
    for key in brief.keys() {
        let queue = Queue::connect(brief.sealing(Some(key))?).await?;
        sealing.insert(key, queue);
    }
    let producer = Arc::new(Producer {
        journal,
        queue: Queue::connect(brief.queue()?).await?,
        sealing,
        pool: brief.database(8)?,
        release: brief.release,
        asks: AtomicU64::new(0),
    });
    let mut draw = Draw::new(&brief);
    let places = Arc::new(Semaphore::new(IN_FLIGHT));
    let mut offers = JoinSet::new();
    loop {
        let gap = draw.gap();
        let place = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            place = async {
                tokio::time::sleep(gap).await;
                Arc::clone(&places).acquire_owned().await
            } => place?,
        };
        let producer = Arc::clone(&producer);
        if let Some(schedule) = draw.ask() {
            offers.spawn(async move {
                producer.ask(schedule).await;
                drop(place);
            });
        } else if let Some(group) = draw.group() {
            offers.spawn(async move {
                let cancel = group.cancel;
                let made = producer.make_group(group).await;
                drop(place);
                producer.cancel_later(made, cancel).await;
            });
        } else if let Some((kind, tasks)) = draw.burst() {
            offers.spawn(async move {
                match kind {
                    Kind::Bounded => producer.make_many(kind, tasks, Bounded).await,
                    _ => producer.make_many(kind, tasks, Plain).await,
                }
                drop(place);
            });
        } else {
            let offer = draw.offer();
            offers.spawn(async move {
                let cancel = offer.cancel;
                let made = producer.make(offer).await;
                drop(place);
                producer.cancel_later(made, cancel).await;
            });
        }
        while offers.try_join_next().is_some() {}
    }
    // What has no answer by then stays unanswered in the history.
    let _ = tokio::time::timeout(LAST_ANSWERS, async {
        while offers.join_next().await.is_some() {}
    })
    .await;
    Ok(())
}

struct Producer {
    journal: Journal,
    queue: Queue,
    /// By the key that payloads are encrypted with.
    sealing: BTreeMap<u32, Queue>,
    pool: PgPool,
    release: Release,
    /// How often it has asked for a job of a schedule.
    asks: AtomicU64,
}

/// Where an offer goes, and when it is to run.
struct Way {
    route: Route,
    run_at: Option<SystemTime>,
    unique: Option<String>,
    extras: Extras,
    rolled_back: bool,
}

/// After which the last of several jobs with a key runs.
const QUIET: Duration = Duration::from_millis(700);

impl Way {
    fn options(&self) -> Options {
        let options = Options {
            run: self.run_at.map_or(Run::Now, Run::At),
            unique: self.unique.clone(),
            ..Options::default()
        };
        let options = match &self.extras.latest {
            None => options,
            Some((Mode::Debounce, key)) => Options::debounced(key, QUIET),
            Some((mode, key)) => Options {
                unique: Some(key.clone()),
                mode: match mode {
                    Mode::Replace => UniqueMode::Replace,
                    _ => UniqueMode::KeepLast,
                },
                ..options
            },
        };
        Options {
            priority: self.extras.level.priority(),
            slot: self.extras.slot.as_ref().map(|(key, most)| {
                let most = NonZeroU8::new(*most).unwrap_or(NonZeroU8::MIN);
                KeyLimit::new(key, most)
            }),
            ..options
        }
    }
}

/// Why an offer has no job.
struct Refusal {
    /// The job surely is not there; otherwise it may be.
    certain: bool,
    error: String,
    /// There was no room for so many.
    full: Option<u64>,
}

impl Refusal {
    fn of(error: &EnqueueError, jobs: u64) -> Self {
        Self {
            certain: !matches!(error, EnqueueError::Unavailable(_)),
            error: error.to_string(),
            full: matches!(error, EnqueueError::QueueFull { .. }).then_some(jobs),
        }
    }
}

impl Producer {
    /// Its queue and its id, if it was accepted.
    async fn make(&self, offer: Offer) -> Option<(&'static str, JobId)> {
        let (kind, task) = (offer.kind, offer.task);
        let serial = task.serial;
        let way = Way {
            route: offer.route,
            run_at: offer.delay.map(in_whole_ms),
            unique: offer.unique,
            extras: offer.extras,
            rolled_back: offer.rolled_back,
        };
        self.journal.write(Event::Offer {
            serial,
            kind,
            route: way.route,
            due: way.run_at.map(micros),
            unique: way.unique.clone(),
            extras: way.extras.clone(),
            ties: Ties::default(),
        });
        let answer = match kind {
            Kind::Long => self.send(&Long(task), &way).await,
            Kind::Poison => self.send(&Poison(task), &way).await,
            Kind::Once => self.send(&Once(task), &way).await,
            Kind::Delayed => self.send(&Delayed(task), &way).await,
            Kind::Versioned if self.release == Release::Old => {
                self.send(&VersionedV1(task), &way).await
            }
            Kind::Versioned => {
                let written = Versioned::VERSION;
                self.send(&Versioned { task, written }, &way).await
            }
            Kind::Done => self.send(&Done(task), &way).await,
            Kind::Unique => self.send(&Unique(task), &way).await,
            Kind::Unknown => self.send(&Unknown(task), &way).await,
            Kind::Bounded => self.send(&Bounded(task), &way).await,
            Kind::Keyed => self.send(&Keyed(task), &way).await,
            Kind::Gated => self.send(&Gated(task), &way).await,
            Kind::Latest => self.send(&Latest(task), &way).await,
            _ => self.send(&Plain(task), &way).await,
        };
        let made = match &answer {
            Ok(Enqueued::New(id) | Enqueued::Replaced { new: id, .. }) => Some((kind.queue(), *id)),
            _ => None,
        };
        self.answered(serial, answer);
        made
    }

    /// Asks for a job of a schedule, beside those of its rule.
    async fn ask(&self, schedule: &str) {
        let ask = self.asks.fetch_add(1, Ordering::Relaxed);
        self.journal.write(Event::Ask {
            ask,
            schedule: schedule.to_owned(),
        });
        let answer = self.queue.run_schedule(Scheduled::QUEUE, schedule).await;
        let id = answer.ok();
        self.journal.write(Event::Asked { ask, id });
    }

    /// Cancels a job that was made, if it shall be, so long after that.
    async fn cancel_later(&self, made: Option<(&str, JobId)>, cancel: Option<Duration>) {
        if let (Some(after), Some((queue, id))) = (cancel, made) {
            tokio::time::sleep(after).await;
            self.cancel(queue, id).await;
        }
    }

    async fn cancel(&self, queue: &str, id: JobId) {
        self.journal.write(Event::Cancel { id });
        let answer = match self.queue.cancel(queue, id).await {
            Ok(Cancelled::Removed) => CancelAnswer::Removed,
            Ok(Cancelled::Asked) => CancelAnswer::Asked,
            Ok(Cancelled::Gone) => CancelAnswer::Gone,
            Err(_) => CancelAnswer::Nothing,
        };
        self.journal.write(Event::Cancelled { id, answer });
    }

    async fn make_many<J: Job>(&self, kind: Kind, tasks: Vec<Task>, job: fn(Task) -> J) {
        let serials: Vec<Serial> = tasks.iter().map(|task| task.serial).collect();
        for &serial in &serials {
            self.journal.write(Event::Offer {
                serial,
                kind,
                route: Route::Direct,
                due: None,
                unique: None,
                extras: Extras::default(),
                ties: Ties::default(),
            });
        }
        let jobs: Vec<J> = tasks.into_iter().map(job).collect();
        match self.queue.enqueue_many(&jobs).await {
            Ok(ids) => {
                for (serial, id) in serials.into_iter().zip(ids) {
                    self.answered(serial, Ok(Enqueued::New(id)));
                }
            }
            // All in one write: it is smaller than the limit.
            Err(error @ EnqueueError::QueueFull { .. }) => {
                for &serial in &serials {
                    self.answered(serial, Err(Refusal::of(&error, serials.len() as u64)));
                }
            }
            // Some of them may be there, whatever the error says of the first that is not.
            Err(error) => {
                for serial in serials {
                    let certain = false;
                    let refusal = Refusal::of(&error, 0);
                    self.answered(serial, Err(Refusal { certain, ..refusal }));
                }
            }
        }
    }

    fn answered(&self, serial: Serial, answer: Result<Enqueued, Refusal>) {
        if let Ok(Enqueued::Replaced { old, .. }) = answer {
            self.journal.write(Event::Replaced { serial, old });
        }
        self.journal.write(match answer {
            Ok(Enqueued::New(id) | Enqueued::Replaced { new: id, .. }) => {
                Event::Accepted { serial, id }
            }
            Ok(Enqueued::Duplicate(of)) => Event::Duplicate { serial, of },
            Err(Refusal {
                certain,
                error,
                full,
            }) => Event::Refused {
                serial,
                certain,
                error,
                full,
            },
        });
    }

    async fn send<J: Job>(&self, job: &J, way: &Way) -> Result<Enqueued, Refusal> {
        if way.route == Route::Outbox {
            return self.commit(job, way).await.map(Enqueued::New);
        }
        let options = way.options();
        let sealing = way.extras.key.and_then(|key| self.sealing.get(&key));
        let queue = sealing.unwrap_or(&self.queue);
        let sent = queue.enqueue_with(job, &options).await;
        sent.map_err(|error| Refusal::of(&error, 1))
    }

    async fn commit<J: Job>(&self, job: &J, way: &Way) -> Result<JobId, Refusal> {
        let refused = |error: &dyn std::fmt::Display| Refusal {
            certain: true,
            error: error.to_string(),
            full: None,
        };
        let mut tx = self.pool.begin().await.map_err(|error| refused(&error))?;
        let options = outbox::Options {
            run_at: way.run_at,
            delivery: match J::NAME {
                Once::NAME => outbox::Delivery::Once,
                _ => outbox::Delivery::AtLeastOnce,
            },
            ..outbox::Options::default()
        };
        let id = outbox::enqueue_with(&mut tx, job, options)
            .await
            .map_err(|error| refused(&error))?;
        if way.rolled_back {
            let _ = tx.rollback().await;
            return Err(refused(&"rolled back"));
        }
        match tx.commit().await {
            Ok(()) => Ok(id),
            // The answer to the commit may be what was lost.
            Err(error) => Err(Refusal {
                certain: false,
                error: error.to_string(),
                full: None,
            }),
        }
    }
}

/// This long from now, in whole milliseconds, as the queue has it.
fn in_whole_ms(delay: Duration) -> SystemTime {
    let ms = micros(SystemTime::now() + delay) / 1000;
    SystemTime::UNIX_EPOCH + Duration::from_millis(ms)
}

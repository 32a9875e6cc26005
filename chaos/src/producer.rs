//! A producer process: offers jobs to the queue, directly and through the outbox,
//! and writes down what it was answered.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::Result;
use queue::{EnqueueError, Enqueued, Job, JobId, Options, Queue, Run};
use sqlx::PgPool;
use tokio::{sync::Semaphore, task::JoinSet};

use crate::{
    brief::Brief,
    history::{Event, Kind, Release, Route, Serial},
    jobs::{Delayed, Done, Long, Once, Plain, Poison, Unique, Unknown, Versioned, VersionedV1},
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
    });
    let producer = Arc::new(Producer {
        journal,
        queue: Queue::connect(brief.queue()?).await?,
        pool: brief.database(8)?,
        release: brief.release,
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
        let burst = draw.burst();
        if burst.is_empty() {
            let offer = draw.offer();
            offers.spawn(async move {
                producer.make(offer).await;
                drop(place);
            });
        } else {
            offers.spawn(async move {
                producer.make_many(burst).await;
                drop(place);
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
    pool: PgPool,
    release: Release,
}

/// Where an offer goes, and when it is to run.
struct Way {
    route: Route,
    run_at: Option<SystemTime>,
    unique: Option<String>,
    rolled_back: bool,
}

/// Why an offer has no job.
struct Refusal {
    /// The job surely is not there; otherwise it may be.
    certain: bool,
    error: String,
}

impl Producer {
    async fn make(&self, offer: Offer) {
        let (kind, task) = (offer.kind, offer.task);
        let serial = task.serial;
        let way = Way {
            route: offer.route,
            run_at: offer.delay.map(in_whole_ms),
            unique: offer.unique,
            rolled_back: offer.rolled_back,
        };
        self.journal.write(Event::Offer {
            serial,
            kind,
            route: way.route,
            due: way.run_at.map(micros),
            unique: way.unique.clone(),
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
            _ => self.send(&Plain(task), &way).await,
        };
        self.answered(serial, answer);
    }

    async fn make_many(&self, jobs: Vec<Plain>) {
        for Plain(task) in &jobs {
            self.journal.write(Event::Offer {
                serial: task.serial,
                kind: Kind::Plain,
                route: Route::Direct,
                due: None,
                unique: None,
            });
        }
        let serials = jobs.iter().map(|Plain(task)| task.serial);
        match self.queue.enqueue_many(&jobs).await {
            Ok(ids) => {
                for (serial, id) in serials.zip(ids) {
                    self.answered(serial, Ok(Enqueued::New(id)));
                }
            }
            // Some of them may be there, whatever the error says of the first that is not.
            Err(error) => {
                for serial in serials {
                    let error = error.to_string();
                    let certain = false;
                    self.answered(serial, Err(Refusal { certain, error }));
                }
            }
        }
    }

    fn answered(&self, serial: Serial, answer: Result<Enqueued, Refusal>) {
        self.journal.write(match answer {
            Ok(Enqueued::New(id) | Enqueued::Replaced { new: id, .. }) => {
                Event::Accepted { serial, id }
            }
            Ok(Enqueued::Duplicate(of)) => Event::Duplicate { serial, of },
            Err(Refusal { certain, error }) => Event::Refused {
                serial,
                certain,
                error,
            },
        });
    }

    async fn send<J: Job>(&self, job: &J, way: &Way) -> Result<Enqueued, Refusal> {
        if way.route == Route::Outbox {
            return self.commit(job, way).await.map(Enqueued::New);
        }
        let options = Options {
            run: way.run_at.map_or(Run::Now, Run::At),
            unique: way.unique.clone(),
        };
        let sent = self.queue.enqueue_with(job, &options).await;
        sent.map_err(|error| Refusal {
            certain: !matches!(error, EnqueueError::Unavailable(_)),
            error: error.to_string(),
        })
    }

    async fn commit<J: Job>(&self, job: &J, way: &Way) -> Result<JobId, Refusal> {
        let refused = |error: &dyn std::fmt::Display| Refusal {
            certain: true,
            error: error.to_string(),
        };
        let mut tx = self.pool.begin().await.map_err(|error| refused(&error))?;
        let options = outbox::Options {
            run_at: way.run_at,
            delivery: match J::NAME {
                Once::NAME => outbox::Delivery::Once,
                _ => outbox::Delivery::AtLeastOnce,
            },
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
            }),
        }
    }
}

/// This long from now, in whole milliseconds, as the queue has it.
fn in_whole_ms(delay: Duration) -> SystemTime {
    let ms = micros(SystemTime::now() + delay) / 1000;
    SystemTime::UNIX_EPOCH + Duration::from_millis(ms)
}

//! A producer process: offers jobs to the queue, directly and through the outbox,
//! and writes down what it was answered.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::Result;
use fastrand::Rng;
use queue::{EnqueueError, Enqueued, Job, JobId, Options, Queue, Run};
use sqlx::PgPool;
use tokio::{sync::Semaphore, task::JoinSet};

use crate::{
    brief::Brief,
    history::{Event, Kind, Release, Route, Serial},
    jobs::{
        Delayed, Done, Failing, Long, Once, Plain, Poison, Task, Unique, Unknown, Versioned,
        VersionedV1,
    },
    journal::{Journal, micros},
    process,
};

/// Mean time between two offers of this release's producer; the older one takes three times that.
const GAP: Duration = Duration::from_millis(12);
/// Offers under way at once; more wait, as they would in a service.
const IN_FLIGHT: usize = 64;
/// Of unique jobs: few, so that they meet.
const KEYS: u8 = 8;
/// How long offers under way may take to end after SIGTERM.
const LAST_ANSWERS: Duration = Duration::from_secs(6);

/// An offer as drawn, before it is made.
struct Offer {
    kind: Kind,
    route: Route,
    task: Task,
    /// Not before this long from now.
    delay: Option<Duration>,
    unique: Option<String>,
    /// The transaction is rolled back, so the job must never be seen.
    rolled_back: bool,
}

/// Offers jobs until SIGTERM.
pub(crate) async fn run(brief: Brief) -> Result<()> {
    let shutdown = process::on_sigterm()?;
    let journal = brief.journal()?;
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
    let mut draw = Draw {
        rng: Rng::with_seed(brief.seed ^ (brief.slot << 48) ^ (brief.life << 56)),
        release: brief.release,
        lease: brief.lease,
        // Small enough for every reader of JSON.
        next: (brief.slot << 44) | (brief.life << 28),
    };
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
        let offer = draw.offer();
        let producer = Arc::clone(&producer);
        offers.spawn(async move {
            producer.make(offer).await;
            drop(place);
        });
        while offers.try_join_next().is_some() {}
    }
    // What has no answer by then stays unanswered in the history.
    let _ = tokio::time::timeout(LAST_ANSWERS, async {
        while offers.join_next().await.is_some() {}
    })
    .await;
    Ok(())
}

/// Draws what to offer; the same for the same seed, whatever happens around it.
struct Draw {
    rng: Rng,
    release: Release,
    lease: Duration,
    next: Serial,
}

impl Draw {
    /// The pause before the next offer: now and then none, so that jobs come in bursts.
    fn gap(&mut self) -> Duration {
        let mean = match self.release {
            Release::New => GAP,
            Release::Old => 3 * GAP,
        };
        mean.mul_f64(self.rng.f64() * 2.0)
    }

    fn offer(&mut self) -> Offer {
        self.next += 1;
        let kind = self.kind();
        let route = match kind {
            Kind::Once => Route::Outbox,
            Kind::Plain | Kind::Delayed
                if self.release == Release::New && self.rng.u8(..10) == 0 =>
            {
                Route::Outbox
            }
            _ => Route::Direct,
        };
        let delayed = match kind {
            Kind::Delayed => true,
            Kind::Once | Kind::Unique => self.rng.u8(..8) == 0,
            _ => false,
        };
        Offer {
            kind,
            route,
            task: self.task(kind),
            delay: delayed.then(|| Duration::from_millis(self.rng.u64(200..6000))),
            unique: (kind == Kind::Unique).then(|| format!("key-{}", self.rng.u8(..KEYS))),
            rolled_back: route == Route::Outbox && self.rng.u8(..20) == 0,
        }
    }

    fn kind(&mut self) -> Kind {
        let new = self.release == Release::New;
        // Poison comes about twice a minute: each takes several workers with it.
        let weights = [
            (Kind::Plain, 1000),
            (Kind::Delayed, 300),
            (Kind::Versioned, 200),
            (Kind::Done, 150),
            (Kind::Long, 20),
            (Kind::Once, if new { 500 } else { 0 }),
            (Kind::Unique, if new { 250 } else { 0 }),
            (Kind::Unknown, if new { 30 } else { 0 }),
            (Kind::Poison, u32::from(new)),
        ];
        let all: u32 = weights.iter().map(|(_, weight)| weight).sum();
        let mut at = self.rng.u32(..all);
        for (kind, weight) in weights {
            if at < weight {
                return kind;
            }
            at -= weight;
        }
        Kind::Plain
    }

    fn task(&mut self, kind: Kind) -> Task {
        let ms = match kind {
            Kind::Long => 3 * u64::try_from(self.lease.as_millis()).unwrap_or(u64::MAX),
            // Long enough for others to want the same key.
            Kind::Unique => self.rng.u64(20..600),
            _ => self.rng.u64(1..50),
        };
        let failing = match self.rng.u8(..4) {
            0 => Failing::Discard,
            1 => Failing::Panic,
            _ => Failing::Error,
        };
        // One in sixteen fails at first, and some of these until they are dead.
        let failures = match self.rng.u8(..64) {
            0 => 9,
            1..=3 => self.rng.u16(1..3),
            _ => 0,
        };
        // These have more attempts, for the sake of Postgres' absences.
        let failures = match kind {
            Kind::Once | Kind::Done => failures.min(2),
            _ => failures,
        };
        Task {
            serial: self.next,
            ms,
            failures,
            failing,
        }
    }
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
        self.journal.write(match answer {
            Ok(Enqueued::New(id)) => Event::Accepted { serial, id },
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

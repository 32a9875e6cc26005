//! Draws what to offer: the same for the same seed, whatever happens around it.

use std::time::Duration;

use fastrand::Rng;

use crate::{
    brief::{Brief, SECRETS},
    history::{Extras, Kind, Level, Mode, Release, Route, Serial},
    jobs::{Failing, Task},
    worker::SCHEDULES,
};

/// Mean time between two offers of this release's producer; the older one takes three times that.
const GAP: Duration = Duration::from_millis(12);
/// Of unique jobs: few, so that they meet.
const KEYS: u8 = 8;

/// An offer as drawn, before it is made.
pub(crate) struct Offer {
    pub(crate) kind: Kind,
    pub(crate) route: Route,
    pub(crate) task: Task,
    /// Not before this long from now.
    pub(crate) delay: Option<Duration>,
    pub(crate) unique: Option<String>,
    pub(crate) extras: Extras,
    /// How long after its acceptance it is cancelled.
    pub(crate) cancel: Option<Duration>,
    /// The transaction is rolled back, so the job must never be seen.
    pub(crate) rolled_back: bool,
}

/// The links of a chain, or the members of a batch with what follows them behind.
pub(crate) struct Group {
    pub(crate) kind: Kind,
    pub(crate) tasks: Vec<Task>,
    /// How long after its acceptance the first job is cancelled.
    pub(crate) cancel: Option<Duration>,
}

/// Draws what to offer; the same for the same seed, whatever happens around it.
pub(crate) struct Draw {
    rng: Rng,
    release: Release,
    lease: Duration,
    next: Serial,
}

impl Draw {
    pub(crate) fn new(brief: &Brief) -> Self {
        Self {
            rng: Rng::with_seed(brief.seed ^ (brief.slot << 48) ^ (brief.life << 56)),
            release: brief.release,
            lease: brief.lease,
            // Small enough for every reader of JSON.
            next: (brief.slot << 44) | (brief.life << 28),
        }
    }

    /// The pause before the next offer.
    pub(crate) fn gap(&mut self) -> Duration {
        let mean = match self.release {
            Release::New => GAP,
            Release::Old => 3 * GAP,
        };
        mean.mul_f64(self.rng.f64() * 2.0)
    }

    /// Mostly none; now and then many jobs of a kind that are offered at once.
    pub(crate) fn burst(&mut self) -> Option<(Kind, Vec<Task>)> {
        if self.rng.u8(..100) != 0 {
            return None;
        }
        // The release before has no queues with a limit.
        let (kind, most) = match self.release {
            Release::New if self.rng.bool() => (Kind::Bounded, 30),
            _ => (Kind::Plain, 60),
        };
        let jobs = self.rng.u8(2..most);
        Some((kind, (0..jobs).map(|_| self.task(kind)).collect()))
    }

    /// Now and then jobs that belong together; only this release has such.
    pub(crate) fn group(&mut self) -> Option<Group> {
        if self.release == Release::Old || self.rng.u8(..40) != 0 {
            return None;
        }
        let (kind, most) = match self.rng.bool() {
            true => (Kind::Link, 5),
            false => (Kind::Member, 12),
        };
        let jobs = self.rng.u8(2..most);
        Some(Group {
            kind,
            tasks: (0..jobs).map(|_| self.task(kind)).collect(),
            cancel: self.cancel(kind, Route::Direct),
        })
    }

    pub(crate) fn offer(&mut self) -> Offer {
        let kind = self.kind();
        let route = match kind {
            Kind::Once => Route::Outbox,
            Kind::Plain | Kind::Delayed | Kind::Bounded
                if self.release == Release::New && self.rng.u8(..10) == 0 =>
            {
                Route::Outbox
            }
            _ => Route::Direct,
        };
        let delayed = match kind {
            Kind::Delayed => true,
            Kind::Once | Kind::Unique | Kind::Bounded => self.rng.u8(..8) == 0,
            _ => false,
        };
        let cancel = self.cancel(kind, route);
        let extras = self.extras(kind, route);
        Offer {
            kind,
            route,
            task: self.task(kind),
            delay: delayed.then(|| Duration::from_millis(self.rng.u64(200..6000))),
            unique: (kind == Kind::Unique).then(|| format!("key-{}", self.rng.u8(..KEYS))),
            extras,
            cancel,
            rolled_back: route == Route::Outbox && self.rng.u8(..20) == 0,
        }
    }

    /// One in twelve is cancelled: at once, or when it waits, runs, fails or is done.
    ///
    /// Not those of the outbox, whose rows bring them back; once-jobs are cancelled by their
    /// tokens, in Postgres.
    fn cancel(&mut self, kind: Kind, route: Route) -> Option<Duration> {
        let can_be = self.release == Release::New && route == Route::Direct;
        // What is kept for the end of another cannot be cancelled.
        let can_be = can_be && !matches!(kind, Kind::Poison | Kind::Latest);
        if !can_be || self.rng.u8(..12) != 0 {
            return None;
        }
        let most = match self.rng.u8(..3) {
            0 => 5,
            1 => 300,
            _ => 4000,
        };
        Some(Duration::from_millis(self.rng.u64(..most)))
    }

    /// What only this release has, and not in the outbox.
    ///
    /// Nor has poison: the release before parks what it cannot read, and what comes back from
    /// there is as if it had never been delivered.
    fn extras(&mut self, kind: Kind, route: Route) -> Extras {
        if self.release == Release::Old || route == Route::Outbox || kind == Kind::Poison {
            return Extras::default();
        }
        // Priorities matter where jobs wait for each other.
        let slow = matches!(kind, Kind::Bounded | Kind::Gated);
        let level = match self.rng.u8(..if slow { 3 } else { 8 }) {
            0 => Level::High,
            1 => Level::Low,
            _ => Level::Normal,
        };
        // What is parked comes back on top of its queue's limit.
        let key = (!slow && self.rng.u8(..12) == 0).then(|| {
            let (id, _) = SECRETS[self.rng.usize(..SECRETS.len())];
            id
        });
        let slot = (kind == Kind::Keyed).then(|| {
            let most = self.rng.u8(1..4);
            (format!("slot-{most}"), most)
        });
        let latest = (kind == Kind::Latest).then(|| {
            let modes = [Mode::Replace, Mode::KeepLast, Mode::Debounce];
            let mode = modes[self.rng.usize(..modes.len())];
            (mode, format!("{mode:?}-{}", self.rng.u8(..2)))
        });
        Extras {
            level,
            key,
            latest,
            slot,
            tied: false,
        }
    }

    /// Now and then, the schedule of which a job is asked for besides.
    pub(crate) fn ask(&mut self) -> Option<&'static str> {
        let (name, ..) = SCHEDULES[self.rng.usize(..SCHEDULES.len())];
        (self.release == Release::New && self.rng.u8(..50) == 0).then_some(name)
    }

    fn kind(&mut self) -> Kind {
        let new = self.release == Release::New;
        // Poison comes about twice a minute: each takes several workers with it.
        let weights = [
            (Kind::Plain, 1000),
            (Kind::Delayed, 300),
            (Kind::Versioned, 200),
            (Kind::Done, 150),
            (Kind::Long, 60),
            (Kind::Once, if new { 500 } else { 0 }),
            (Kind::Unique, if new { 250 } else { 0 }),
            (Kind::Bounded, if new { 250 } else { 0 }),
            (Kind::Latest, if new { 250 } else { 0 }),
            (Kind::Keyed, if new { 150 } else { 0 }),
            (Kind::Gated, if new { 150 } else { 0 }),
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
        self.next += 1;
        let ms = match kind {
            Kind::Long => 3 * u64::try_from(self.lease.as_millis()).unwrap_or(u64::MAX),
            // Long enough for others to want the same key.
            // A little more than their slots, or their gate, would take.
            Kind::Keyed | Kind::Gated => self.rng.u64(50..500),
            Kind::Unique | Kind::Latest => self.rng.u64(20..600),
            // Of different lengths, so that one is the last.
            Kind::Member => self.rng.u64(1..600),
            // Long enough for its queue to fill up.
            Kind::Bounded => self.rng.u64(100..1500),
            // Under way when a worker comes to doubt its lease: obeying then is what counts.
            Kind::Plain if self.rng.u8(..32) == 0 => self.rng.u64(500..4000),
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

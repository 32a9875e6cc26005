//! Histories written by hand, for the tests of the invariants. Times are in ms.

use std::collections::BTreeSet;

use queue::JobId;

use super::check;
use crate::{
    history::{
        CancelAnswer, DeadJob, Event, Extras, Fault, Final, How, Kind, Micros, Record, Release,
        Route, Serial, Snapshot, Ties,
    },
    report::Report,
};

/// When every story begins, so that a time before it is a time too.
const BEGIN: Micros = 1_000_000_000;

/// Two workers and a producer of this release (`w1.1`, `w2.1`, `p1.1`), one of each of
/// the release before (`w3.1`, `p2.1`), a lease of 2 s, a scan of 400 ms.
pub(crate) struct Story {
    pub(crate) records: Vec<Record>,
    pub(crate) end: Final,
    next: Serial,
}

/// A job as its producer knows it.
#[derive(Clone, Copy)]
pub(crate) struct Told {
    pub(crate) serial: Serial,
    pub(crate) id: JobId,
    pub(crate) kind: Kind,
}

pub(crate) fn micros(ms: u64) -> Micros {
    BEGIN + ms * 1000
}

/// A letter of a job: after its first attempt, or its fifth crash.
pub(crate) fn letter(job: &Told, why: &str) -> DeadJob {
    DeadJob {
        id: job.id,
        why: why.to_owned(),
        attempts: if why == "crash" { 5 } else { 1 },
    }
}

impl Story {
    pub(crate) fn new() -> Self {
        let mut story = Self {
            records: Vec::new(),
            end: Final {
                seed: 7,
                lease_ms: 2000,
                scan_ms: 400,
                poison_after: 5,
                drain_ms: 10_000,
                ..Final::default()
            },
            next: 0,
        };
        for label in ["w1.1", "w2.1", "p1.1"] {
            story.up(0, label, Release::New);
        }
        for label in ["w3.1", "p2.1"] {
            story.up(0, label, Release::Old);
        }
        story
    }

    pub(crate) fn write(&mut self, ms: u64, by: &str, event: Event) {
        self.records.push(Record {
            at: micros(ms),
            by: by.to_owned(),
            event,
        });
    }

    pub(crate) fn up(&mut self, ms: u64, label: &str, release: Release) {
        // As many as there are records: no two are the same.
        let pid = u32::try_from(self.records.len()).unwrap_or(u32::MAX);
        let keys = match release {
            Release::New => vec![1],
            Release::Old => Vec::new(),
        };
        self.write(ms, label, Event::Up { pid, release, keys });
    }

    /// The number of a process, as its consumers' names hold it.
    pub(crate) fn pid(&self, label: &str) -> Option<u32> {
        self.records.iter().find_map(|record| match record.event {
            Event::Up { pid, .. } if record.by == label => Some(pid),
            _ => None,
        })
    }

    /// Offered by this release's producer; `change` sees the offer.
    pub(crate) fn offer(&mut self, ms: u64, kind: Kind, change: impl FnOnce(&mut Offered)) -> Told {
        self.next += 1;
        let job = Told {
            serial: self.next,
            id: JobId::new(),
            kind,
        };
        let mut offered = Offered {
            by: "p1.1",
            route: if kind == Kind::Once {
                Route::Outbox
            } else {
                Route::Direct
            },
            due: None,
            unique: None,
            extras: Extras::default(),
            ties: Ties::default(),
        };
        change(&mut offered);
        let event = Event::Offer {
            serial: job.serial,
            kind,
            route: offered.route,
            due: offered.due.map(micros),
            unique: offered.unique.map(str::to_owned),
            extras: offered.extras,
            ties: offered.ties,
        };
        self.write(ms, offered.by, event);
        job
    }

    pub(crate) fn accepted(&mut self, ms: u64, job: &Told) {
        let (serial, id) = (job.serial, job.id);
        self.write(ms, "p1.1", Event::Accepted { serial, id });
    }

    pub(crate) fn refused(&mut self, ms: u64, job: &Told, certain: bool) {
        self.refuse(ms, job, certain, None);
    }

    /// For certain; for want of room for so many, if a number is given.
    pub(crate) fn refused_for(&mut self, ms: u64, job: &Told, full: Option<u64>) {
        self.refuse(ms, job, true, full);
    }

    fn refuse(&mut self, ms: u64, job: &Told, certain: bool, full: Option<u64>) {
        let event = Event::Refused {
            serial: job.serial,
            certain,
            error: "no".to_owned(),
            full,
        };
        self.write(ms, "p1.1", event);
    }

    /// Offered and accepted a millisecond later.
    pub(crate) fn enqueue(&mut self, ms: u64, kind: Kind) -> Told {
        let job = self.offer(ms, kind, |_| {});
        self.accepted(ms + 1, &job);
        job
    }

    pub(crate) fn start(&mut self, ms: u64, by: &str, job: &Told, attempt: u16) {
        self.start_version(ms, by, job, attempt, None);
    }

    pub(crate) fn start_version(
        &mut self,
        ms: u64,
        by: &str,
        job: &Told,
        attempt: u16,
        version: Option<u16>,
    ) {
        let event = Event::Start {
            serial: job.serial,
            id: job.id,
            attempt,
            kind: job.kind,
            slot: None,
            version,
        };
        self.write(ms, by, event);
    }

    pub(crate) fn start_slot(&mut self, ms: u64, by: &str, job: &Told, name: &str, slot: u64) {
        let event = Event::Start {
            serial: job.serial,
            id: job.id,
            attempt: 1,
            kind: Kind::Scheduled,
            slot: Some((name.to_owned(), micros(slot))),
            version: None,
        };
        self.write(ms, by, event);
    }

    pub(crate) fn end(&mut self, ms: u64, by: &str, job: &Told, attempt: u16, how: How) {
        let event = Event::End {
            serial: job.serial,
            id: job.id,
            attempt,
            how,
        };
        self.write(ms, by, event);
    }

    /// Starts and succeeds at once.
    pub(crate) fn run(&mut self, ms: u64, by: &str, job: &Told, attempt: u16) {
        self.start(ms, by, job, attempt);
        self.end(ms + 10, by, job, attempt, How::Ok);
    }

    /// A fault from one time to another; those that last no time are not healed.
    pub(crate) fn fault(&mut self, from: u64, to: u64, fault: Fault, target: &str) {
        let target = target.to_owned();
        let healed = target.clone();
        let event = Event::Fault {
            fault,
            target,
            late_ms: None,
        };
        self.write(from, "conductor", event);
        if to > from {
            let target = healed;
            self.write(to, "conductor", Event::Healed { fault, target });
        }
    }

    /// Acknowledged at once, and resumed at once.
    pub(crate) fn pause(&mut self, from: u64, to: u64, queue: &str) {
        let of = || queue.to_owned();
        self.fault(from, to, Fault::Pause, queue);
        self.write(from, "conductor", Event::Paused { queue: of() });
        let healed = self.records.len() - 2;
        let resuming = Event::Resuming { queue: of() };
        self.write(to, "conductor", resuming);
        let last = self.records.len() - 1;
        self.records[healed..=last].rotate_left(1);
    }

    /// Asked for, and answered a millisecond later.
    pub(crate) fn cancel(&mut self, ms: u64, job: &Told, answer: CancelAnswer) {
        let id = job.id;
        self.write(ms, "p1.1", Event::Cancel { id });
        self.write(ms + 1, "p1.1", Event::Cancelled { id, answer });
    }

    /// Killed, and seen to be dead a little later.
    pub(crate) fn kill(&mut self, ms: u64, label: &str) {
        self.fault(ms, ms, Fault::Kill, label);
        self.exit(ms + 5, label, None);
    }

    pub(crate) fn exit(&mut self, ms: u64, label: &str, code: Option<i32>) {
        let event = Event::Exited {
            process: label.to_owned(),
            code,
            signal: code.is_none().then_some(9),
        };
        self.write(ms, "conductor", event);
    }

    pub(crate) fn snapshot(&mut self, ms: u64, fill: impl FnOnce(&mut Snapshot)) {
        let mut snapshot = Snapshot {
            asked: micros(ms),
            ..Snapshot::default()
        };
        fill(&mut snapshot);
        self.write(ms + 1, "conductor", Event::Snapshot(Box::new(snapshot)));
    }

    pub(crate) fn report(&self) -> Report {
        check(&self.records, &self.end)
    }

    /// The invariants that this history breaks.
    pub(crate) fn broken(&self) -> BTreeSet<&'static str> {
        let violations = self.report().violations;
        violations
            .iter()
            .map(|violation| violation.invariant)
            .collect()
    }

    /// Asserts that nothing is broken.
    pub(crate) fn is_lawful(&self) {
        assert_eq!(self.report().violations, []);
    }

    /// Asserts that nothing is broken, or this invariant and no other.
    pub(crate) fn judge(&self, lawful: bool, invariant: &'static str) {
        if lawful {
            self.is_lawful();
        } else {
            self.breaks(invariant);
        }
    }

    /// Asserts that this invariant, and no other, is broken.
    pub(crate) fn breaks(&self, invariant: &'static str) {
        let report = self.report();
        assert_eq!(
            self.broken(),
            BTreeSet::from([invariant]),
            "{:#?}",
            report.violations
        );
    }
}

/// What may be changed about an offer.
pub(crate) struct Offered {
    pub(crate) by: &'static str,
    pub(crate) route: Route,
    pub(crate) due: Option<u64>,
    pub(crate) unique: Option<&'static str>,
    pub(crate) extras: Extras,
    pub(crate) ties: Ties,
}

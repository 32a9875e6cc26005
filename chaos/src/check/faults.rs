//! What was done to whom, when, and how long its effects may last.
//!
//! A checker that excuses too much proves nothing, so the windows here follow from
//! what the queue promises (its README, "Guarantees") and from nothing else: a lease
//! is lost only by a worker that could not beat for a whole lease, while others could.

use std::collections::BTreeMap;

use super::{
    spans::{Span, spans},
    windows::Window,
};
use crate::history::{Event, Fault, Final, Micros, Record};

/// How long an outcome may be under way when nothing is wrong.
const OUTCOME: Micros = 200_000;

/// How long before the death of its primary a replica surely has what was written.
const UNREPLICATED: Micros = 1_000_000;

/// After the end of an outage a worker may take as long until it reads of pauses and requests.
const RECONNECTED: Micros = 1_000_000;

/// Times that the limits are made of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Silence after which a worker's jobs are taken over.
    pub(super) lease: Micros,
    /// How often ended leases are looked for.
    pub(super) scan: Micros,
    /// From a healed fault to confirmed outcomes: a command in vain (half a lease),
    /// a pause and a new connection (a quarter each).
    pub(super) resend: Micros,
}

impl Limits {
    pub(super) fn new(end: &Final) -> Self {
        let lease = end.lease_ms * 1000;
        Self {
            lease,
            scan: end.scan_ms * 1000,
            resend: lease + OUTCOME,
        }
    }

    /// From a healed fault to the first beat that succeeds: a pause and a new connection.
    pub(super) fn recover(&self) -> Micros {
        self.lease / 16 + 250_000
    }

    /// After which everything is as if there had been no fault.
    pub(super) fn calm_after(&self) -> Micros {
        2 * self.lease + self.scan
    }
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Death {
    /// The last moment at which it may have done something.
    pub(super) at: Micros,
    /// By itself, with code 0: its outcomes were confirmed first.
    pub(super) graceful: bool,
}

/// All that was done, and its consequences.
#[derive(Debug)]
pub(super) struct Faults {
    pub(super) limits: Limits,
    pub(super) spans: Vec<Span>,
    deaths: BTreeMap<String, Death>,
    /// When this machine did not run the conductor: from and to.
    stalls: Vec<(Micros, Micros)>,
    windows: BTreeMap<String, Vec<Window>>,
    redis: Vec<Window>,
}

impl Faults {
    /// Reads the faults out of a history in the order of time.
    pub(super) fn new(records: &[Record], end: &Final) -> Self {
        let limits = Limits::new(end);
        let spans = spans(records);
        // A process that was stopped is no sign of a machine that stands still.
        let stopped = |by: &str, from, to| {
            let mut stops = spans.iter().filter(|span| span.fault == Fault::Stop);
            stops.any(|span| span.hits(by) && span.from <= to && span.to >= from)
        };
        let stalls = records
            .iter()
            .filter_map(|record| match record.event {
                Event::Stall { ms } => {
                    let from = record.at.saturating_sub(ms * 1000);
                    (!stopped(&record.by, from, record.at)).then_some((from, record.at))
                }
                _ => None,
            })
            .collect();
        let mut faults = Self {
            limits,
            deaths: deaths(records, &spans),
            spans,
            stalls,
            windows: BTreeMap::new(),
            redis: Vec::new(),
        };
        faults.redis = faults.windows_of(None);
        for record in records {
            if matches!(record.event, Event::Up { .. }) {
                let windows = faults.windows_of(Some(&record.by));
                faults.windows.insert(record.by.clone(), windows);
            }
        }
        faults
    }

    fn windows_of(&self, process: Option<&str>) -> Vec<Window> {
        let hitting = self.spans.iter().filter(|span| {
            let isolated = process.is_some_and(|process| span.hits(process));
            span.hits_redis() || isolated && span.isolates()
        });
        let of_faults = hitting.map(|span| Window::of(span, &self.limits));
        // A machine that stands still for long enough is a fault of its own.
        let long = self.limits.lease / 4;
        let long = self.stalls.iter().filter(|(from, to)| to - from >= long);
        let of_machine = long.map(|&(from, to)| Window::still(from, to, &self.limits));
        Window::merge(of_faults.chain(of_machine).collect())
    }

    fn windows(&self, process: &str) -> &[Window] {
        self.windows.get(process).map_or(&self.redis, Vec::as_slice)
    }

    /// For how long this process may have been without a beat around a window.
    fn silence(&self, window: &Window) -> Micros {
        let beat = self.limits.lease / 4;
        let before = window.from.saturating_sub(beat);
        if window.mild {
            return beat;
        }
        window.well - window.from + beat + self.stalled(before, window.well)
    }

    /// The windows in which this process' lease may have ended while others looked
    /// on, with the earliest moment at which its jobs can have been taken.
    ///
    /// An outage of Redis alone is none: nobody is declared dead for half a lease
    /// after it. Nor is anything shorter than a lease with all that belongs to it.
    pub(super) fn lost_leases(&self, process: &str) -> impl Iterator<Item = (&Window, Micros)> {
        let lease = self.limits.lease;
        self.windows(process)
            .iter()
            .filter(move |window| window.alone && self.silence(window) >= lease)
            .map(move |window| (window, (window.from + lease / 4 * 3).saturating_sub(50_000)))
    }

    /// Whether this process may have lost its jobs to others within these times.
    pub(super) fn lost_lease(&self, process: &str, from: Micros, to: Micros) -> bool {
        self.lost_leases(process)
            .any(|(window, earliest)| window.well >= from && earliest <= to)
    }

    /// Whether this process may have been in doubt of its lease at a moment, or have
    /// learnt then that it was lost, and so have cancelled what ran.
    pub(super) fn doubts(&self, process: &str, at: Micros) -> bool {
        let limits = &self.limits;
        self.windows(process).iter().any(|window| {
            let until = window.well + limits.lease / 4;
            window.from <= at
                && at <= until + self.stalled(window.from, until)
                && self.silence(window) >= limits.lease / 5 * 4
        })
    }

    /// The times in which this process surely distrusts its lease: no answer of Redis
    /// has reached it for most of one, and it was not frozen meanwhile.
    pub(super) fn surely_in_doubt(&self, process: &str) -> impl Iterator<Item = (Micros, Micros)> {
        let mute = self.spans.iter().filter(move |span| {
            let cut_off = matches!(
                span.fault,
                Fault::Refuse | Fault::SwallowReplies | Fault::BlackHole
            );
            let stops = self.within(span.from, span.to + self.limits.recover());
            let mut stops = stops.filter(|stop| stop.fault == Fault::Stop);
            // A primary of a Cluster has some queues alone, and its replica may answer before
            // we know of it.
            let mute = span.hits_redis() && span.fault != Fault::Failover;
            (mute || cut_off && span.hits(process)) && !stops.any(|stop| stop.hits(process))
        });
        mute.map(|span| {
            let from = span.from + self.limits.lease / 5 * 4 + 150_000;
            (from + self.stalled(span.from, from), span.to)
        })
    }

    /// Whether this process stood still across a moment, or until just before it, for
    /// so long that it may have acted on a lease that had ended.
    pub(super) fn was_frozen(&self, process: &str, at: Micros) -> bool {
        self.lost_leases(process).any(|(window, earliest)| {
            window.frozen && earliest <= window.well.max(at) && at <= window.well
        })
    }

    /// Whether this process cannot have read of Redis at a moment what is new there: a fault
    /// kept it from it, until it has connected again and for a second after that.
    pub(super) fn is_cut_off(&self, process: &str, at: Micros) -> bool {
        self.is_hindered(process, at, at)
    }

    /// Whether it was so at some moment within these times.
    pub(super) fn is_hindered(&self, process: &str, from: Micros, to: Micros) -> bool {
        self.windows(process).iter().any(|window| {
            let until = window.well.max(window.to + RECONNECTED);
            window.from <= to && from <= until + self.stalled(window.from, until)
        })
    }

    /// When an outcome that came up at this moment surely is in Redis, if its worker
    /// and Redis both lived on; and whether a fault was in its way.
    pub(super) fn outcome_landed(&self, process: &str, at: Micros) -> (Micros, bool) {
        let mut landed = at;
        let mut disturbed = false;
        for window in self.windows(process) {
            let until = window.to + self.limits.resend;
            if window.from <= landed + OUTCOME && until > landed {
                landed = until;
                disturbed = true;
            }
        }
        let stalled = self.stalled(at, landed + OUTCOME);
        (landed + OUTCOME + stalled, disturbed)
    }

    /// How this process ended, if it did.
    pub(super) fn death(&self, process: &str) -> Option<Death> {
        self.deaths.get(process).copied()
    }

    /// Whether this process died so long before a moment that others may have its jobs.
    ///
    /// A lease lasts for at least three quarters of its time after a sudden death, if the
    /// process and Redis were well before it.
    pub(super) fn orphaned_by(&self, process: &str, at: Micros) -> bool {
        let Some(death) = self.death(process) else {
            return false;
        };
        let lease = self.limits.lease;
        let mut windows = self.windows(process).iter();
        let disturbed =
            windows.any(|window| window.from <= death.at && window.well + lease >= death.at);
        let gave_up = death.graceful || self.told_to_end(process).is_some();
        let ends = (death.at + lease / 4 * 3).saturating_sub(300_000);
        death.at <= at && (disturbed || gave_up || ends <= at)
    }

    /// All deaths of workers.
    pub(super) fn deaths(&self) -> impl Iterator<Item = (&str, Death)> {
        let deaths = self.deaths.iter();
        deaths.map(|(process, death)| (process.as_str(), *death))
    }

    /// When this process was told to end, if it was.
    pub(super) fn told_to_end(&self, process: &str) -> Option<Micros> {
        let mut spans = self.spans.iter();
        let told = spans.find(|span| span.fault == Fault::Term && span.hits(process));
        told.map(|span| span.from)
    }

    /// Whether this process, had it anything to do in Redis, surely did it within these
    /// times: it was well, and long enough after whatever had hit it or Redis.
    pub(super) fn is_at_work(&self, process: &str, from: Micros, to: Micros) -> bool {
        let ends = self.death(process).map(|death| death.at);
        let ends = ends.into_iter().chain(self.told_to_end(process)).min();
        let mut windows = self.windows(process).iter();
        let mut spans = self.within(from.saturating_sub(self.limits.resend), to);
        ends.is_none_or(|at| at > to)
            && !windows.any(|window| window.from <= to && window.to + self.limits.resend >= from)
            && !spans.any(|span| span.fault == Fault::RedisOom)
            && self.stalled(from, to) == 0
    }

    /// The losses of Redis' data that a job may have fallen victim to, which was
    /// offered at one moment and finished, if it was, at another.
    pub(super) fn losses(&self, offered: Micros, finished: Micros) -> impl Iterator<Item = &Span> {
        let losses = self.spans.iter();
        losses.filter(move |span| {
            span.fault == Fault::RedisLoss && offered <= span.to && span.from <= finished
        })
    }

    /// Whether a failover may have undone, until some moment, what was written to Redis at
    /// some time between two others.
    ///
    /// A primary answers before its replica has the write. It sends what it has at once, so
    /// what was written a second before it died is with the replica, or more if the machine
    /// stood still. Until the others know the new primary, who writes may believe that it
    /// was written.
    pub(super) fn undone(&self, (from, to): (Micros, Micros), until: Micros) -> bool {
        let mut failovers = self.spans.iter();
        failovers.any(|span| {
            let since = span.from.saturating_sub(UNREPLICATED);
            let since = since.saturating_sub(self.stalled(since, span.from));
            span.fault == Fault::Failover
                && from <= span.to + self.limits.recover()
                && to >= since
                && span.from <= until
        })
    }

    /// For how long this machine stood still within these times, at most.
    pub(super) fn stalled(&self, from: Micros, to: Micros) -> Micros {
        let stalls = self.stalls.iter();
        let within = stalls.filter(|stall| stall.0 <= to && stall.1 >= from);
        within.map(|stall| stall.1 - stall.0).sum()
    }

    /// Whether no fault has any effect left within these times.
    pub(super) fn calm(&self, from: Micros, to: Micros) -> bool {
        let after = self.limits.calm_after();
        let begun = |at: Micros, until: Micros| at <= to && until + after >= from;
        !self.spans.iter().any(|span| begun(span.from, span.to))
            && !self.deaths.values().any(|death| begun(death.at, death.at))
    }

    /// The faults that were in force at some moment within these times.
    pub(super) fn within(&self, from: Micros, to: Micros) -> impl Iterator<Item = &Span> {
        let spans = self.spans.iter();
        spans.filter(move |span| span.from <= to && span.to >= from)
    }
}

/// How each process ended.
fn deaths(records: &[Record], spans: &[Span]) -> BTreeMap<String, Death> {
    let mut last_words: BTreeMap<&str, Micros> = BTreeMap::new();
    let mut deaths = BTreeMap::new();
    for record in records {
        last_words.insert(&record.by, record.at);
        if let Event::Exited { process, code, .. } = &record.event {
            // What was found out later happened right after its last words.
            deaths.insert(process.clone(), (record.at, *code == Some(0)));
        }
    }
    for span in spans.iter().filter(|span| span.fault == Fault::Kill) {
        deaths.insert(span.target.clone(), (span.from, false));
    }
    deaths
        .into_iter()
        .map(|(process, (found, graceful))| {
            let killed = spans
                .iter()
                .find(|span| span.fault == Fault::Kill && span.target == process);
            let spoke = last_words.get(&*process).copied().unwrap_or(found);
            let at = match killed {
                Some(span) => span.from.max(spoke),
                None if graceful => found,
                None => spoke,
            };
            (process, Death { at, graceful })
        })
        .collect()
}

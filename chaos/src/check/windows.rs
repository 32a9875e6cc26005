//! Times in which a process may not have reached Redis.

use super::{faults::Limits, spans::Span};
use crate::history::{Fault, Micros};

/// How late answers may come without a beat being given up: it has a quarter of a lease,
/// here with room for a busy machine.
const MILD: Micros = 300_000;

/// Faults that follow each other so closely that no beat need have got through in between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) from: Micros,
    /// When they were healed.
    pub(super) to: Micros,
    /// When a beat has surely succeeded again.
    pub(super) well: Micros,
    /// Others may have reached Redis meanwhile, so the outage guard does not hold.
    pub(super) alone: bool,
    /// The process did not run for a part of it, so it could not look at its clock.
    pub(super) frozen: bool,
    /// Nothing but answers that come somewhat late: beats get through.
    pub(super) mild: bool,
}

impl Window {
    pub(super) fn of(span: &Span, limits: &Limits) -> Self {
        // A beat into a void is only given up after a quarter of the lease.
        let in_vain = match span.fault {
            Fault::BlackHole | Fault::Delay => limits.lease / 4,
            _ => 0,
        };
        Self {
            from: span.from,
            to: span.to,
            well: span.to + in_vain + limits.recover(),
            alone: span.isolates(),
            frozen: span.fault == Fault::Stop,
            mild: span
                .late
                .is_some_and(|late| late <= MILD.min(limits.lease / 8)),
        }
    }

    /// A machine that did not run anybody.
    pub(super) fn still(from: Micros, to: Micros, limits: &Limits) -> Self {
        Self {
            from,
            to,
            well: to + limits.recover(),
            alone: true,
            frozen: true,
            mild: false,
        }
    }

    /// Joins what follows each other closely.
    pub(super) fn merge(mut windows: Vec<Self>) -> Vec<Self> {
        windows.sort_by_key(|window| window.from);
        let mut merged: Vec<Self> = Vec::new();
        for window in windows {
            match merged.last_mut() {
                Some(last) if window.from <= last.well => {
                    last.to = last.to.max(window.to);
                    last.well = last.well.max(window.well);
                    last.alone |= window.alone;
                    last.frozen |= window.frozen;
                    // A connection that is made anew under a delay takes too long.
                    last.mild &= window.mild;
                }
                _ => merged.push(window),
            }
        }
        merged
    }
}

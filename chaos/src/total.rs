//! The sum of several rounds.

use std::io::{self, Write};

use crate::{
    history::Micros,
    report::{Figures, Report},
};

/// Adds one round's report to those before it.
pub(crate) fn add(total: Option<Report>, round: Report) -> Report {
    let Some(mut total) = total else {
        return round;
    };
    total.violations.extend(round.violations);
    total.figures = sum(&total.figures, &round.figures);
    merge(&mut total.recovery.alone, round.recovery.alone);
    merge(&mut total.recovery.mixed, round.recovery.mixed);
    total
}

/// Prints the recoveries of all rounds, and the line of figures that ends a good run.
///
/// # Errors
/// When `out` cannot be written.
pub(crate) fn print(total: &Report, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "all rounds:")?;
    total.recovery.print(out)?;
    writeln!(out, "{total}")
}

/// The seed is that of the first round, the lateness the worst.
fn sum(one: &Figures, other: &Figures) -> Figures {
    Figures {
        seed: one.seed,
        seconds: one.seconds + other.seconds,
        jobs: one.jobs + other.jobs,
        once: one.once + other.once,
        dead: one.dead + other.dead,
        lost: one.lost + other.lost,
        starts: one.starts + other.starts,
        restarts: one.restarts + other.restarts,
        kills: one.kills + other.kills,
        stops: one.stops + other.stops,
        terms: one.terms + other.terms,
        redis_kept: one.redis_kept + other.redis_kept,
        redis_lost: one.redis_lost + other.redis_lost,
        failovers: one.failovers + other.failovers,
        redis_paused: one.redis_paused + other.redis_paused,
        postgres: one.postgres + other.postgres,
        cuts: one.cuts + other.cuts,
        pauses: one.pauses + other.pauses,
        full: one.full + other.full,
        cancelled: one.cancelled + other.cancelled,
        oom: one.oom + other.oom,
        snapshots: one.snapshots + other.snapshots,
        effects: one.effects + other.effects,
        lateness: one.lateness.max(other.lateness),
    }
}

fn merge(times: &mut Vec<Micros>, more: Vec<Micros>) {
    times.extend(more);
    times.sort_unstable();
}

//! The sum of several rounds.

use std::io::{self, Write};

use crate::report::{Figures, Recovery, Report};

/// Adds one round's report to those before it.
pub(crate) fn add(total: Option<Report>, round: Report) -> Report {
    let Some(before) = total else {
        return round;
    };
    Report {
        violations: [before.violations, round.violations].concat(),
        figures: sum(&before.figures, &round.figures),
        recovery: Recovery {
            alone: sorted(before.recovery.alone, round.recovery.alone),
            mixed: sorted(before.recovery.mixed, round.recovery.mixed),
        },
    }
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
        redis_paused: one.redis_paused + other.redis_paused,
        postgres: one.postgres + other.postgres,
        cuts: one.cuts + other.cuts,
        oom: one.oom + other.oom,
        snapshots: one.snapshots + other.snapshots,
        effects: one.effects + other.effects,
        lateness: one.lateness.max(other.lateness),
    }
}

fn sorted(one: Vec<u64>, other: Vec<u64>) -> Vec<u64> {
    let mut all = [one, other].concat();
    all.sort_unstable();
    all
}

//! I8: the jobs of a killed worker start elsewhere in time.

use super::{
    Span,
    evidence::{Evidence, Job},
    faults::Death,
};
use crate::{
    history::{Fault, How, Kind, Micros, Release},
    report::{Recovery, Violation},
};

/// From the limit of the design: lease, scan and this.
const SLACK: Micros = 500_000;
/// A worker needs to be up for as long before it can take jobs over.
const SETTLED: Micros = 1_000_000;

/// I8: after the sudden death of a worker, each job that ran there starts elsewhere
/// within a lease, a scan and half a second.
///
/// Judged are deaths while another worker of this release was up before and to the end,
/// with no other fault of a server or a worker in force from shortly before, when its effects
/// may last, until the start: without Postgres, too, all slots may be taken, by jobs that wait
/// for it. Faults of Redis' memory and of its scripts do not matter, nor do workers that died
/// or were told to end before. Not judged are jobs that
/// whose queue has few slots, which may all be taken, those with a key that several workers
/// lack, and those that
/// have seen such a loss before: they become suspects, and wait for their turn. A job that the
/// older release does not know has one scan more, because it may be parked on the way. What
/// this machine stood still is added. Every recovery is in the histogram, judged or not.
pub(super) fn recovery_is_quick(evidence: &Evidence) -> (Vec<Violation>, Recovery) {
    let limits = &evidence.faults.limits;
    let mut found = Vec::new();
    let mut recovery = Recovery::default();
    for (process, death) in evidence.faults.deaths() {
        if death.graceful || !process.starts_with('w') {
            continue;
        }
        for (job, again) in orphans(evidence, process, death) {
            let took = again - death.at;
            let key = job.offer.as_ref().and_then(|offer| offer.extras.key);
            let slow =
                matches!(job.kind, Kind::Bounded | Kind::Gated | Kind::Keyed) || key.is_some();
            if slow
                || !is_alone(evidence, process, death, again)
                || is_suspect(evidence, job, death)
            {
                recovery.mixed.push(took);
                continue;
            }
            recovery.alone.push(took);
            let parked = if job.may_be_parked() { limits.scan } else { 0 };
            let stalled = evidence.faults.stalled(death.at, again);
            let limit = limits.lease + limits.scan + SLACK + parked + stalled;
            if took > limit {
                let sentence = format!(
                    "started again {} ms after the death of {process}, {} ms too late",
                    took / 1000,
                    (took - limit) / 1000
                );
                found.push(job.violates("I8", again, sentence));
            }
        }
    }
    recovery.alone.sort_unstable();
    recovery.mixed.sort_unstable();
    (found, recovery)
}

/// Jobs that ran on a process when it died, with their next start.
fn orphans<'a>(
    evidence: &'a Evidence,
    process: &str,
    death: Death,
) -> impl Iterator<Item = (&'a Job, Micros)> {
    let jobs = evidence.jobs.values();
    jobs.filter_map(move |job| {
        let mut runs = job.runs.iter();
        runs.find(|run| run.by == process && run.at <= death.at && run.end.is_none())?;
        let again = job.runs.iter().find(|run| run.at > death.at)?;
        (job.kind != Kind::Unknown).then_some((job, again.at))
    })
}

/// Whether nothing else can have held up the jobs of a dead process until they started.
fn is_alone(evidence: &Evidence, process: &str, death: Death, again: Micros) -> bool {
    let faults = &evidence.faults;
    let harmless = [Fault::RedisOom, Fault::ScriptFlush];
    let from = death.at.saturating_sub(faults.limits.resend);
    let disturbs = |span: &Span| match span.fault {
        // Whoever dies may have taken the jobs over; whoever died before has not.
        Fault::Kill | Fault::Term => span.from > death.at,
        fault => !harmless.contains(&fault),
    };
    let mut others = faults.within(from, again).filter(|span| disturbs(span));
    let concerns =
        |target: &str| target != process && (!target.starts_with('p') || target == "postgres");
    let faulty = others.any(|span| concerns(&span.target));
    let mut deaths = faults.deaths();
    let others_died = deaths.any(|(other, end)| {
        other != process && other.starts_with('w') && end.at >= death.at && end.at <= again
    });
    let helped = evidence.workers().any(|(other, life)| {
        let dies = faults.death(other).map_or(Micros::MAX, |death| death.at);
        let told = faults.told_to_end(other).unwrap_or(Micros::MAX);
        other != process
            && life.release == Release::New
            && life.up + SETTLED <= death.at
            && dies.min(told) > again
    });
    !faulty && !others_died && helped
}

/// Whether the job may have been delivered once before to a worker that died or lost its
/// lease: then its next delivery makes it a suspect, which runs alone when it is its turn.
///
/// Deliveries count from when it was last put into the stream.
fn is_suspect(evidence: &Evidence, job: &Job, death: Death) -> bool {
    let faults = &evidence.faults;
    let failed = job.ended(&[How::Fail, How::Panic]);
    let failed = failed.filter(|at| *at < death.at).max();
    let due = job.offer.as_ref().and_then(|offer| offer.due);
    let since = failed.or(due).unwrap_or(0).max(job.since());
    let mut deaths = faults.deaths();
    let died = deaths.any(|(_, other)| (since..death.at).contains(&other.at));
    let mut workers = evidence.workers();
    died || workers.any(|(worker, _)| faults.lost_lease(worker, since, death.at))
}

#[cfg(test)]
mod tests {
    use crate::{
        check::story::Story,
        history::{Event, Fault, How, Kind, Release},
    };

    /// A worker dies at 6 s, and its job starts again so many ms later.
    fn story(took: u64) -> Story {
        let mut story = Story::new();
        let job = story.enqueue(5900, Kind::Plain);
        story.start(5950, "w1.1", &job, 1);
        story.kill(6000, "w1.1");
        story.run(6000 + took, "w2.1", &job, 1);
        story
    }

    #[test]
    fn a_lease_a_scan_and_half_a_second_are_enough() {
        let good = story(2800);
        good.is_lawful();
        assert_eq!(good.report().recovery.alone, [2_800_000]);
        story(3000).breaks("I8");
    }

    #[test]
    fn other_faults_and_a_busy_machine_take_their_time() {
        let mut busy = story(3000);
        busy.write(7000, "conductor", Event::Stall { ms: 200 });
        busy.is_lawful();

        let mut faulty = story(4000);
        faulty.fault(7000, 7500, Fault::RedisPause, "redis");
        faulty.is_lawful();
        assert_eq!(faulty.report().recovery.mixed, [4_000_000]);

        let mut full = story(4000);
        full.fault(7000, 9500, Fault::PostgresRestart, "postgres");
        full.is_lawful();

        let mut harmless = story(4000);
        harmless.fault(7000, 7500, Fault::ScriptFlush, "redis");
        harmless.breaks("I8");
    }

    #[test]
    fn nobody_is_judged_without_help() {
        let mut story = Story::new();
        story.fault(100, 100, Fault::Term, "w2.1");
        story.exit(200, "w2.1", Some(0));
        let job = story.enqueue(5900, Kind::Plain);
        story.start(5950, "w1.1", &job, 1);
        story.kill(6000, "w1.1");
        story.run(10_000, "w3.1", &job, 1);
        story.is_lawful();
        assert_eq!(story.report().recovery.mixed, [4_000_000]);
    }

    #[test]
    fn suspects_wait_for_their_turn() {
        let mut story = Story::new();
        let job = story.enqueue(900, Kind::Plain);
        story.start(950, "w1.1", &job, 1);
        story.kill(1000, "w1.1");
        story.up(1500, "w1.2", Release::New);
        story.start(3000, "w1.2", &job, 1);
        story.kill(6000, "w1.2");
        story.run(12_000, "w2.1", &job, 1);
        story.is_lawful();
        assert_eq!(story.report().recovery.mixed, [6_000_000]);
    }

    #[test]
    fn what_had_ended_needs_no_recovery() {
        let mut story = Story::new();
        let job = story.enqueue(5900, Kind::Plain);
        story.start(5950, "w1.1", &job, 1);
        story.end(5990, "w1.1", &job, 1, How::Ok);
        story.kill(6000, "w1.1");
        assert!(story.report().recovery.alone.is_empty());
    }
}

//! I6: one job runs in one place, because who doubts his lease lets go.

use std::collections::BTreeMap;

use queue::JobId;

use super::{
    evidence::{Evidence, Run},
    starts::{came_again, went_back},
};
use crate::{
    history::{Kind, Micros},
    report::Violation,
};

/// How long a cooperative handler may take to end.
const SLOW: Micros = 300_000;

/// I6: two runs of one job never overlap, because a worker that cannot be sure of
/// its lease cancels what runs before others may take it.
///
/// A run lasts from its start to its end, or to the death of its process. Excused:
/// once-jobs, whose token in Postgres makes them take turns; a process that stood
/// still, so that it could not cancel anything; long jobs on a process that lost its
/// lease, because they ignore their token; jobs that the outbox sent again after a
/// loss of Redis' data; jobs that a failover has taken from the worker that had just got them.
pub(super) fn runs_do_not_overlap(evidence: &Evidence) -> Vec<Violation> {
    let faults = &evidence.faults;
    let mut found = Vec::new();
    for job in evidence.jobs.values() {
        if job.kind == Kind::Once {
            continue;
        }
        for (at, later) in job.runs.iter().enumerate() {
            for earlier in &job.runs[..at] {
                let until = evidence.run_until(earlier);
                let again = came_again(evidence, job, earlier, later)
                    || went_back(evidence, earlier, later);
                if until <= later.at || again {
                    continue;
                }
                let frozen = [earlier, later]
                    .iter()
                    .any(|run| froze_during(evidence, run));
                let deaf =
                    job.kind == Kind::Long && faults.lost_lease(&earlier.by, earlier.at, later.at);
                let stalled = until - later.at <= faults.stalled(earlier.at, until);
                if !frozen && !deaf && !stalled {
                    let sentence = format!(
                        "runs on {} and on {} at once, for {} ms",
                        earlier.by,
                        later.by,
                        (until.min(evidence.run_until(later)) - later.at) / 1000
                    );
                    found.push(job.violates("I6", later.at, sentence));
                }
            }
        }
    }
    found
}

/// I6: a worker that has not reached Redis for most of its lease starts nothing, and
/// what it runs ends, unless it is deaf (long jobs) or safe (once-jobs).
///
/// Judged from the beginning of a fault that surely keeps it from every answer: four
/// fifths of a lease later, with some slack and what this machine stood still, nothing
/// starts until the fault is healed, and cooperative handlers have ended.
pub(super) fn the_doubtful_do_nothing(evidence: &Evidence) -> Vec<Violation> {
    let mut found = Vec::new();
    for job in evidence.jobs.values() {
        let deaf = matches!(
            job.kind,
            Kind::Long | Kind::Once | Kind::Done | Kind::Poison
        );
        for run in &job.runs {
            let until = evidence.run_until(run);
            for (from, to) in evidence.faults.surely_in_doubt(&run.by) {
                let what = if (from..to).contains(&run.at) {
                    "started"
                } else if !deaf && run.at < from && until > from && from + SLOW < to.min(until) {
                    "went on"
                } else {
                    continue;
                };
                let sentence = format!("{what} on {}, whose lease was in doubt", run.by);
                found.push(job.violates("I6", run.at.max(from), sentence));
            }
        }
    }
    found
}

/// I6: the entry of a running job is owned by the worker that runs it.
///
/// Looked at in the snapshots of calm times, for runs that last from before it was asked
/// for until after its answer. An owner's name holds the number of its process.
pub(super) fn runners_own_their_jobs(evidence: &Evidence) -> Vec<Violation> {
    let mut found = Vec::new();
    for &(at, snapshot) in &evidence.snapshots {
        if !evidence.faults.calm(snapshot.asked, at) {
            continue;
        }
        let owners: BTreeMap<JobId, Option<&str>> = snapshot
            .stream
            .iter()
            .map(|(id, owner)| (*id, owner.as_deref()))
            .collect();
        for job in evidence.jobs.values() {
            let mut runs = job.runs.iter();
            let Some(run) =
                runs.find(|run| run.at < snapshot.asked && evidence.run_until(run) > at)
            else {
                continue;
            };
            let Some(process) = evidence.processes.get(&*run.by) else {
                continue;
            };
            // Where it is not in the stream at all, I20 says so.
            let Some(owner) = owners.get(&job.id) else {
                continue;
            };
            let owner = owner.unwrap_or("nobody");
            if owner.split(':').nth(1) != Some(&process.pid.to_string()) {
                let sentence = format!(
                    "runs on {} (process {}), and {owner} owns it",
                    run.by, process.pid
                );
                found.push(job.violates("I6", at, sentence));
            }
        }
    }
    found
}

fn froze_during(evidence: &Evidence, run: &Run) -> bool {
    let until = evidence.run_until(run);
    let mut lost = evidence.faults.lost_leases(&run.by);
    lost.any(|(window, _)| window.frozen && window.from <= until && window.well >= run.at)
}

#[cfg(test)]
mod tests {
    use crate::{
        check::story::Story,
        history::{Fault, How, Kind},
    };

    #[test]
    fn two_workers_do_not_run_one_job() {
        // Cut off for long enough that its job is taken over.
        for (ended, lawful) in [(2700, true), (4000, false)] {
            let mut story = Story::new();
            let job = story.enqueue(900, Kind::Plain);
            story.start(950, "w1.1", &job, 1);
            story.fault(1000, 4000, Fault::BlackHole, "w1.1");
            story.end(ended, "w1.1", &job, 1, How::Cancelled);
            story.run(3400, "w2.1", &job, 1);
            if lawful {
                story.is_lawful();
            } else {
                story.breaks("I6");
            }
        }
    }

    #[test]
    fn a_long_job_is_deaf_and_a_frozen_process_too() {
        let run = |kind, fault| {
            let mut story = Story::new();
            let job = story.enqueue(900, kind);
            story.start(950, "w1.1", &job, 1);
            story.fault(1000, 4000, fault, "w1.1");
            story.end(4200, "w1.1", &job, 1, How::Cancelled);
            story.run(3400, "w2.1", &job, 1);
            story
        };
        run(Kind::Long, Fault::BlackHole).is_lawful();
        run(Kind::Plain, Fault::Stop).is_lawful();
        run(Kind::Plain, Fault::BlackHole).breaks("I6");
    }

    #[test]
    fn nothing_starts_in_doubt() {
        for (at, lawful) in [(1500, true), (2900, false), (4100, true)] {
            let mut story = Story::new();
            let job = story.enqueue(900, Kind::Plain);
            story.fault(1000, 4000, Fault::RedisPause, "redis");
            story.run(at, "w1.1", &job, 1);
            if lawful {
                story.is_lawful();
            } else {
                story.breaks("I6");
            }
        }
    }

    #[test]
    fn what_runs_in_doubt_ends() {
        let mut story = Story::new();
        let job = story.enqueue(900, Kind::Plain);
        story.start(950, "w1.1", &job, 1);
        story.fault(1000, 4000, Fault::RedisPause, "redis");
        story.end(3900, "w1.1", &job, 1, How::Ok);
        story.breaks("I6");
    }

    #[test]
    fn who_runs_a_job_owns_it() {
        for (owner, lawful) in [
            (Some("host:0:x"), true),
            (Some("host:1:x"), false),
            (None, false),
        ] {
            let mut story = Story::new();
            let job = story.enqueue(0, Kind::Plain);
            story.start(10, "w1.1", &job, 1);
            story.snapshot(20, |seen| {
                seen.stream.push((job.id, owner.map(str::to_owned)));
            });
            story.end(30, "w1.1", &job, 1, How::Ok);
            if lawful {
                story.is_lawful();
            } else {
                story.breaks("I6");
            }
        }
    }
}

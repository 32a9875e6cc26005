//! I3, I4, I6, I7: a job starts once, and again only for a reason.

use super::{
    evidence::{Evidence, Job, Run},
    faults::Death,
};
use crate::{
    history::{How, Kind, Micros, Route},
    report::Violation,
};

/// I3, I4 and, for long jobs, I7: every start but the first has a cause.
///
/// The first start is attempt 1. Each later one follows from what became of the one
/// before, and must be explained by one of these:
/// - a logged failure or panic of the attempt before: the attempt is one higher;
/// - the run was cancelled, and its worker was told to end or in doubt of its lease;
/// - its process died while it ran, or before its outcome can have been confirmed;
/// - its process lost its lease: it stood still or was cut off from Redis, so that it
///   missed a whole lease, while it ran or before its outcome can have been confirmed;
/// - it had failed in doubt, or after it was told to end, which hands it back;
/// - it is from the outbox, and Redis lost its data since it was offered.
///
/// Not excused: an outage of Redis that keeps its data, of any length, for a run that
/// was not cancelled (a long job ignores its token, so nothing but its own process'
/// troubles can double it); a cut after which the process may connect again; scripts
/// flushed; Redis out of memory; a success on a worker that was told to end.
pub(super) fn starts_have_causes(evidence: &Evidence) -> Vec<Violation> {
    let mut found = Vec::new();
    for job in evidence.jobs.values() {
        let name = match job.kind {
            Kind::Long => "I7",
            _ => "I3",
        };
        if let Some(first) = job.runs.first()
            && first.attempt != 1
        {
            let sentence = format!("its first start is attempt {}", first.attempt);
            found.push(job.violates(name, first.at, sentence));
        }
        for (at, pair) in job.runs.windows(2).enumerate() {
            let [before, after] = pair else { continue };
            if let Err(why) = explain(evidence, job, at, before, after) {
                let sentence = format!(
                    "started on {} (attempt {}), and then on {} (attempt {}) without a cause: {why}",
                    before.by, before.attempt, after.by, after.attempt
                );
                let name = if told_before_end(evidence, before) {
                    "I10"
                } else {
                    name
                };
                found.push(job.violates(name, after.at, sentence));
            }
        }
    }
    found
}

/// I3: a handler's token is cancelled, or its future dropped, only for a cause.
///
/// Causes: the process was told to end, or it cannot have reached Redis for most of a
/// lease (also by an outage of Redis), counting the time until a beat succeeds again.
pub(super) fn cancellations_have_causes(evidence: &Evidence) -> Vec<Violation> {
    let mut found = Vec::new();
    for job in evidence.jobs.values() {
        for run in &job.runs {
            let Some((at, How::Cancelled)) = run.end else {
                continue;
            };
            let told = evidence
                .faults
                .told_to_end(&run.by)
                .is_some_and(|told| told <= at);
            let ending = evidence.quiet <= at;
            if !told && !ending && !evidence.faults.doubts(&run.by, at) {
                let sentence = format!(
                    "was cancelled on {}, which was neither told to end nor cut off from Redis",
                    run.by
                );
                found.push(job.violates("I3", at, sentence));
            }
        }
    }
    found
}

/// I6: two runs of one job never overlap, because a worker that cannot be sure of
/// its lease cancels what runs before others may take it.
///
/// A run lasts from its start to its end, or to the death of its process. Excused:
/// once-jobs, whose token in Postgres makes them take turns; a process that stood
/// still, so that it could not cancel anything; long jobs on a process that lost its
/// lease, because they ignore their token; jobs that the outbox sent again after a
/// loss of Redis' data.
pub(super) fn runs_do_not_overlap(evidence: &Evidence) -> Vec<Violation> {
    let faults = &evidence.faults;
    let mut found = Vec::new();
    for job in evidence.jobs.values() {
        if job.kind == Kind::Once || came_again(evidence, job, Micros::MAX) {
            continue;
        }
        for (at, later) in job.runs.iter().enumerate() {
            for earlier in &job.runs[..at] {
                let until = evidence.run_until(earlier);
                if until <= later.at {
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

/// Whether the outcome of a run need not have reached Redis before the job went on
/// to another worker: its process died or lost its lease too early for that.
pub(super) fn outcome_may_be_lost(evidence: &Evidence, run: &Run, ended: Micros) -> bool {
    let faults = &evidence.faults;
    let (landed, disturbed) = faults.outcome_landed(&run.by, ended);
    let died = match faults.death(&run.by) {
        // Who ends by himself confirms his outcomes first.
        Some(Death { at, graceful: true }) => disturbed && at <= landed,
        Some(Death {
            at,
            graceful: false,
        }) => at <= landed,
        None => false,
    };
    died || faults.lost_lease(&run.by, run.at, landed)
}

fn explain(
    evidence: &Evidence,
    job: &Job,
    at: usize,
    before: &Run,
    after: &Run,
) -> Result<(), &'static str> {
    let faults = &evidence.faults;
    if came_again(evidence, job, after.at) {
        return Ok(());
    }
    if after.attempt == before.attempt.saturating_add(1) {
        let failed = job.runs[..=at].iter().any(|run| {
            let end = run.end.filter(|(at, _)| *at <= after.at);
            run.attempt == before.attempt && matches!(end, Some((_, How::Fail | How::Panic)))
        });
        return if failed {
            Ok(())
        } else {
            Err("no attempt before it failed")
        };
    }
    // A late start of a process that stood still: the job was another's already.
    if faults.was_frozen(&after.by, after.at) && after.by != before.by {
        return Ok(());
    }
    if after.attempt != before.attempt {
        return Err("the number of the attempt is wrong");
    }
    match before.end.filter(|(at, _)| *at <= after.at) {
        None => {
            let died = faults
                .death(&before.by)
                .is_some_and(|death| death.at <= after.at);
            if died || faults.lost_lease(&before.by, before.at, after.at) {
                Ok(())
            } else {
                Err("the first run goes on, and its process is well")
            }
        }
        // Its own cause is looked for in `cancellations_have_causes`.
        Some((_, How::Cancelled)) => Ok(()),
        Some((ended, how)) => {
            let handed_back = matches!(how, How::Fail | How::Panic | How::Discard)
                && (faults.doubts(&before.by, ended) || told_before_end(evidence, before));
            if handed_back || outcome_may_be_lost(evidence, before, ended) {
                Ok(())
            } else {
                Err("the first run had ended, and its outcome was confirmed")
            }
        }
    }
}

/// Whether a run's process was told to end before the run did.
fn told_before_end(evidence: &Evidence, run: &Run) -> bool {
    let told = evidence.faults.told_to_end(&run.by);
    told.is_some_and(|told| run.end.is_some_and(|(at, _)| told <= at))
}

/// Whether the outbox may have sent the job a second time by then.
fn came_again(evidence: &Evidence, job: &Job, by: Micros) -> bool {
    job.route() == Route::Outbox && evidence.faults.losses(job.since(), by).next().is_some()
}

fn froze_during(evidence: &Evidence, run: &Run) -> bool {
    let until = evidence.run_until(run);
    let mut lost = evidence.faults.lost_leases(&run.by);
    let recover = evidence.faults.limits.recover;
    lost.any(|(window, _)| window.frozen && window.from <= until && window.to + recover >= run.at)
}

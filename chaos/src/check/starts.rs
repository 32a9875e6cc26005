//! I3, I4, I7: a job starts once, and again only for a reason.

use std::collections::BTreeMap;

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
/// - its process died while it ran, or before its outcome can have been confirmed, and
///   its lease had time to end;
/// - its process lost its lease: it stood still or was cut off from Redis, so that it
///   missed a whole lease, while it ran or before its outcome can have been confirmed;
/// - the later start is that of a process which had stood still: the job was its own once;
/// - it had failed in doubt, or after it was told to end, which hands it back;
/// - it is from the outbox, and Redis lost its data since it was offered;
/// - a primary died so soon after the start or the end of the run before that its replica need
///   not have heard of it.
///
/// Not excused: an outage of Redis that keeps its data, of any length, for a run that
/// was not cancelled (a long job ignores its token, so nothing but its own process'
/// troubles can double it); a cut after which the process may connect again; scripts
/// flushed; Redis out of memory; a success on a worker that was told to end.
pub(super) fn starts_have_causes(evidence: &Evidence) -> (Vec<Violation>, Causes) {
    let mut found = Vec::new();
    let mut causes = Causes::new();
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
            let why = match explain(evidence, job, at, before, after) {
                Ok(cause) => {
                    *causes.entry(cause).or_default() += 1;
                    continue;
                }
                Err(why) => why,
            };
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
    (found, causes)
}

/// Why jobs were started again, and how often.
pub(crate) type Causes = BTreeMap<&'static str, usize>;

/// Whether the outcome of a run need not have reached Redis before the job went on
/// to another worker: its process died or lost its lease too early for that, or a
/// failover undid it.
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
    let undone = faults.undone((ended, landed), Micros::MAX);
    died || undone || faults.lost_lease(&run.by, run.at, landed)
}

/// Why a job was started again, or what speaks against every cause.
fn explain(
    evidence: &Evidence,
    job: &Job,
    at: usize,
    before: &Run,
    after: &Run,
) -> Result<&'static str, &'static str> {
    let cause = follows(evidence, job, at, before, after);
    let frozen = evidence.faults.was_frozen(&after.by, after.at);
    match cause {
        Err(_) if went_back(evidence, before, after) => Ok("undone by a failover"),
        Err(_) if came_again(evidence, job, before, after) => Ok("sent again by the outbox"),
        Err(_) if frozen && after.by != before.by => {
            Ok("started late by a process that stood still")
        }
        cause => cause,
    }
}

/// The causes that lie in the run before.
fn follows(
    evidence: &Evidence,
    job: &Job,
    at: usize,
    before: &Run,
    after: &Run,
) -> Result<&'static str, &'static str> {
    let faults = &evidence.faults;
    if after.attempt == before.attempt.saturating_add(1) {
        let failed = job.runs[..=at].iter().any(|run| {
            let end = run.end.filter(|(at, _)| *at <= after.at);
            run.attempt == before.attempt && matches!(end, Some((_, How::Fail | How::Panic)))
        });
        return if failed {
            Ok("failed")
        } else {
            Err("no attempt before it failed")
        };
    }
    if after.attempt != before.attempt {
        return Err("the number of the attempt is wrong");
    }
    let orphaned = faults.orphaned_by(&before.by, after.at);
    match before.end.filter(|(at, _)| *at <= after.at) {
        None if orphaned => Ok("its worker died"),
        None if faults.lost_lease(&before.by, before.at, after.at) => {
            Ok("its worker lost its lease")
        }
        None => Err("the first run goes on, and its process is well"),
        // Its own cause is looked for in `cut_short.rs`.
        Some((_, How::Cancelled)) => Ok("cancelled"),
        Some((ended, How::Fail | How::Panic | How::Discard))
            if faults.doubts(&before.by, ended) || told_before_end(evidence, before) =>
        {
            Ok("failed when it was to end")
        }
        Some((ended, _)) => {
            let alone = faults.lost_lease(&before.by, before.at, after.at);
            if outcome_may_be_lost(evidence, before, ended) && (orphaned || alone) {
                Ok("its outcome was lost")
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

/// Whether a failover may have undone, before the later of two runs, that the earlier one's
/// worker has got the job, or what came of it.
pub(super) fn went_back(evidence: &Evidence, before: &Run, after: &Run) -> bool {
    let ended = before.end.map_or(before.at, |(at, _)| at);
    let (landed, _) = evidence.faults.outcome_landed(&before.by, ended);
    evidence.faults.undone((before.at, landed), after.at)
}

/// Whether the outbox may have sent the job a second time: Redis lost its data between
/// two runs, or so shortly before that the first had waited in its worker since.
pub(super) fn came_again(evidence: &Evidence, job: &Job, before: &Run, after: &Run) -> bool {
    let faults = &evidence.faults;
    let since = before.at.saturating_sub(faults.limits.calm_after());
    job.route() == Route::Outbox && faults.losses(since, after.at).next().is_some()
}

#[cfg(test)]
mod tests {
    use crate::{
        check::story::Story,
        history::{Event, Fault, How, Kind, Route},
    };

    #[test]
    fn a_failure_is_followed_by_the_next_attempt() {
        let mut story = Story::new();
        let job = story.enqueue(0, Kind::Plain);
        story.start(10, "w1.1", &job, 1);
        story.end(20, "w1.1", &job, 1, How::Fail);
        story.run(300, "w2.1", &job, 2);
        story.is_lawful();

        let mut story = Story::new();
        let job = story.enqueue(0, Kind::Plain);
        story.run(10, "w1.1", &job, 1);
        story.run(300, "w2.1", &job, 2);
        story.breaks("I3");
    }

    #[test]
    fn the_first_start_is_the_first_attempt() {
        let mut story = Story::new();
        let job = story.enqueue(0, Kind::Plain);
        story.run(10, "w1.1", &job, 2);
        story.breaks("I3");
    }

    #[test]
    fn a_second_start_without_a_fault_is_found() {
        let mut story = Story::new();
        let job = story.enqueue(0, Kind::Plain);
        story.run(10, "w1.1", &job, 1);
        story.run(500, "w2.1", &job, 1);
        story.breaks("I3");
    }

    #[test]
    fn a_death_explains_what_ran_and_what_had_just_ended() {
        for (ended, lawful) in [(None, true), (Some(1990), true), (Some(1000), false)] {
            let mut story = Story::new();
            let job = story.enqueue(900, Kind::Plain);
            story.start(950, "w1.1", &job, 1);
            if let Some(ms) = ended {
                story.end(ms, "w1.1", &job, 1, How::Ok);
            }
            story.kill(2000, "w1.1");
            story.run(4300, "w2.1", &job, 1);
            if lawful {
                story.is_lawful();
            } else {
                story.breaks("I3");
            }
        }
    }

    #[test]
    fn an_outcome_that_a_black_hole_held_back_may_die_with_its_worker() {
        let mut story = Story::new();
        let job = story.enqueue(900, Kind::Plain);
        story.run(1000, "w1.1", &job, 1);
        story.fault(900, 2000, Fault::BlackHole, "w1.1");
        story.kill(2500, "w1.1");
        story.run(4800, "w2.1", &job, 1);
        story.is_lawful();
    }

    #[test]
    fn only_a_whole_lease_of_silence_is_its_loss() {
        for (until, lawful) in [(3000, true), (1300, false)] {
            let mut story = Story::new();
            let job = story.enqueue(900, Kind::Plain);
            story.start(950, "w1.1", &job, 1);
            story.fault(1000, until, Fault::Stop, "w1.1");
            story.start(2900, "w2.1", &job, 1);
            story.end(2950, "w2.1", &job, 1, How::Ok);
            story.end(3010, "w1.1", &job, 1, How::Cancelled);
            if lawful {
                story.is_lawful();
            } else {
                assert!(story.broken().contains("I3"));
                assert!(story.broken().contains("I6"));
            }
        }
    }

    #[test]
    fn a_cut_is_no_excuse() {
        let mut story = Story::new();
        let job = story.enqueue(900, Kind::Plain);
        story.run(1000, "w1.1", &job, 1);
        story.fault(1005, 1005, Fault::Cut, "w1.1");
        story.run(3500, "w2.1", &job, 1);
        story.breaks("I3");
    }

    #[test]
    fn an_outage_of_redis_cancels_but_does_not_double() {
        let mut story = Story::new();
        let job = story.enqueue(900, Kind::Plain);
        story.start(1000, "w1.1", &job, 1);
        story.fault(1010, 4000, Fault::RedisRestart, "redis");
        story.end(2700, "w1.1", &job, 1, How::Cancelled);
        story.run(4500, "w2.1", &job, 1);
        story.is_lawful();

        let mut story = Story::new();
        let job = story.enqueue(900, Kind::Long);
        story.start(1000, "w1.1", &job, 1);
        story.fault(1010, 4000, Fault::RedisRestart, "redis");
        story.start(4500, "w2.1", &job, 1);
        story.end(7000, "w1.1", &job, 1, How::Ok);
        story.end(10_500, "w2.1", &job, 1, How::Ok);
        assert_eq!(Vec::from_iter(story.broken()), ["I6", "I7"]);
    }

    #[test]
    fn what_ended_well_before_an_orderly_end_does_not_run_again() {
        let mut story = Story::new();
        let job = story.enqueue(0, Kind::Plain);
        story.start(10, "w1.1", &job, 1);
        story.fault(20, 20, Fault::Term, "w1.1");
        story.end(40, "w1.1", &job, 1, How::Ok);
        story.exit(60, "w1.1", Some(0));
        story.run(500, "w2.1", &job, 1);
        story.breaks("I10");
    }

    #[test]
    fn what_an_orderly_end_cancelled_keeps_its_attempt() {
        for (attempt, lawful) in [(1, true), (2, false)] {
            let mut story = Story::new();
            let job = story.enqueue(0, Kind::Plain);
            story.start(10, "w1.1", &job, 1);
            story.fault(20, 20, Fault::Term, "w1.1");
            story.end(2040, "w1.1", &job, 1, How::Cancelled);
            story.exit(2060, "w1.1", Some(0));
            story.run(2500, "w2.1", &job, attempt);
            if lawful {
                story.is_lawful();
            } else {
                story.breaks("I10");
            }
        }
    }

    #[test]
    fn the_outbox_sends_again_what_redis_lost() {
        let run = |route| {
            let mut story = Story::new();
            let job = story.offer(0, Kind::Plain, |offered| offered.route = route);
            story.accepted(1, &job);
            story.start(10, "w1.1", &job, 1);
            story.fault(20, 400, Fault::RedisLoss, "redis");
            story.end(900, "w1.1", &job, 1, How::Ok);
            story.run(800, "w2.1", &job, 1);
            story
        };
        run(Route::Outbox).is_lawful();
        let broken = run(Route::Direct).broken();
        assert_eq!(Vec::from_iter(broken), ["I3", "I6"]);
    }

    #[test]
    fn a_failover_undoes_what_was_just_written() {
        for (ran, fault, lawful) in [
            (1900, Fault::Failover, true),
            (500, Fault::Failover, false),
            (1900, Fault::ReplicaRestart, false),
        ] {
            let mut story = Story::new();
            let job = story.enqueue(100, Kind::Plain);
            story.run(ran, "w1.1", &job, 1);
            story.fault(2000, 3400, fault, "redis");
            story.run(3600, "w2.1", &job, 1);
            story.judge(lawful, "I3");
        }
    }

    #[test]
    fn a_machine_that_stands_still_is_a_fault() {
        let mut story = Story::new();
        let job = story.enqueue(900, Kind::Plain);
        story.start(950, "w1.1", &job, 1);
        story.write(3500, "conductor", Event::Stall { ms: 2400 });
        story.start(3400, "w2.1", &job, 1);
        story.end(3450, "w2.1", &job, 1, How::Ok);
        story.end(3460, "w1.1", &job, 1, How::Cancelled);
        story.is_lawful();
    }
}

//! I1, I5, I20: every job is somewhere, in one place, until it is done or dead.

use std::collections::{BTreeMap, BTreeSet};

use queue::JobId;

use super::{
    evidence::{Answer, Evidence, Job},
    starts::outcome_may_be_lost,
};
use crate::{
    history::{How, Kind, Micros, Route},
    report::Violation,
};

/// I1: every accepted job ends done, dead, cancelled or replaced.
///
/// Accepted is what the queue, or the commit, has said yes to, and what was ever seen
/// to run. Done is a handler that succeeded, or effects in Postgres whose worker died before
/// it could say so, if Redis then lost the entry, so that nobody ran it again. Whether who asked to cancel one was
/// told the truth is looked for in `cancel.rs`. Excused: jobs without a token in the
/// outbox that were offered before the end of a loss of Redis' data, were not done before
/// it, and were never seen in Redis after it; and those that were enqueued so shortly before a
/// primary died that its replica need not have had them.
pub(super) fn every_job_ends(evidence: &Evidence) -> Vec<Violation> {
    let effects: BTreeSet<JobId> = evidence.end.effects.iter().map(|(id, _)| *id).collect();
    let committed = |job: &Job| {
        let mut losses = evidence.faults.losses(job.since(), Micros::MAX);
        job.has_token() && effects.contains(&job.id) && losses.next().is_some()
    };
    let unfinished = |job: &&Job| {
        job.done_at().is_none()
            && !committed(job)
            && !evidence.dead.contains_key(&job.id)
            && !evidence.may_be_lost(job)
            && !job.may_be_cancelled()
            && evidence.replaced_from(job) == Micros::MAX
    };
    let jobs = evidence.accepted().filter(unfinished);
    jobs.map(|job| {
        let at = job.runs.last().map_or(job.since(), |run| run.at);
        job.violates("I1", at, "was accepted, and is neither done nor dead")
    })
    .collect()
}

/// I1: a job has one end: it is done, or it is one dead letter.
///
/// The letter says truly why, and after which attempt: `discarded` where a handler said
/// so, `attempts` where one failed. Excused is a success on a process that died or lost its lease before
/// the outcome can have been confirmed: others then ran the job to another end.
pub(super) fn every_job_ends_once(evidence: &Evidence) -> Vec<Violation> {
    let mut found = Vec::new();
    for (id, (seen, letter)) in &evidence.letters {
        let Some(job) = evidence.jobs.get(id) else {
            continue;
        };
        let at = job.runs.last().map_or(job.since(), |run| run.at);
        let count = evidence.dead.get(id).map_or(0, Vec::len);
        if count > 1 {
            let sentence = format!("is a dead letter {count} times");
            found.push(job.violates("I1", at, sentence));
        }
        let mut losses = evidence.faults.losses(job.since(), Micros::MAX);
        let again = job.route() == Route::Outbox && losses.next().is_some()
            || evidence.faults.undone((at, *seen), Micros::MAX);
        for run in &job.runs {
            if let Some((ended, How::Ok)) = run.end
                && !outcome_may_be_lost(evidence, run, ended)
                && !again
            {
                let sentence = format!("is done on {}, and a dead letter as well", run.by);
                found.push(job.violates("I1", ended, sentence));
            }
        }
        let ways: &[How] = match &*letter.why {
            "discarded" => &[How::Discard],
            "attempts" => &[How::Fail, How::Panic],
            // I9 looks at these.
            "crash" => continue,
            _ => &[],
        };
        let was_so = job.runs.iter().any(|run| {
            u32::from(run.attempt) == letter.attempts
                && run.end.is_some_and(|(_, how)| ways.contains(&how))
        });
        if !was_so {
            let sentence = format!(
                "is a dead letter for {:?} of attempt {}, which never was",
                letter.why, letter.attempts
            );
            found.push(job.violates("I1", at, sentence));
        }
    }
    found
}

/// I1: what was refused for certain never runs, and nothing runs that nobody offered.
///
/// A job also keeps the id that its producer was told.
pub(super) fn only_offered_jobs_run(evidence: &Evidence) -> Vec<Violation> {
    let mut found = Vec::new();
    for job in evidence.jobs.values() {
        let Some(run) = job.runs.first() else {
            continue;
        };
        let sentence = match &job.offer {
            None if job.kind == Kind::Scheduled => continue,
            None => "runs, but nobody offered it",
            Some(offer) => match offer.answer {
                // I17 looks at these.
                Answer::Refused { full: Some(_), .. } => continue,
                Answer::Refused { certain: true, .. } => "runs, but was refused for certain",
                Answer::Duplicate(of) if of != job.id => "runs, but was passed over as a duplicate",
                Answer::Accepted(id) if id != job.id => "runs under an id that nobody was told",
                _ => continue,
            },
        };
        found.push(job.violates("I1", run.at, sentence));
    }
    found
}

/// I5: in no snapshot is a job in two places, or twice in one.
///
/// The places are the stream, the delayed, the parked and the dead letters. The
/// delayed and the parked have their payloads, and nothing else has. No excuses.
pub(super) fn jobs_are_in_one_place(evidence: &Evidence) -> Vec<Violation> {
    let mut found = Vec::new();
    let last = (evidence.last, &evidence.end.snapshot);
    for &(at, snapshot) in evidence.snapshots.iter().chain([&last]) {
        let mut places: BTreeMap<JobId, Vec<&str>> = BTreeMap::new();
        for (id, place) in snapshot.places() {
            places.entry(id).or_default().push(place);
        }
        for (id, places) in &places {
            if places.len() > 1 {
                let sentence = format!("is in {} at once", places.join(" and "));
                found.push(Violation::new("I5", sentence).at(at).job(*id));
            }
        }
        let waiting: BTreeSet<JobId> = snapshot
            .delayed
            .iter()
            .chain(&snapshot.parked)
            .chain(&snapshot.blocked)
            .copied()
            .collect();
        let payloads: BTreeSet<JobId> = snapshot.payloads.iter().copied().collect();
        for id in waiting.difference(&payloads) {
            let sentence = "is delayed or parked, but its payload is gone";
            found.push(Violation::new("I5", sentence).at(at).job(*id));
        }
        for id in payloads.difference(&waiting) {
            let sentence = "has a payload, but is neither delayed nor parked";
            found.push(Violation::new("I5", sentence).at(at).job(*id));
        }
    }
    // One sentence a job: what is misplaced once mostly stays so.
    let mut seen = BTreeSet::new();
    found.retain(|violation| seen.insert((violation.job, violation.sentence.clone())));
    found
}

/// I20: in every snapshot, each job that is accepted and not done, cancelled or replaced is in
/// some place.
///
/// Looked for are jobs that were in Redis before the snapshot was asked for (those
/// from the outbox: since they first ran) and whose first success came after the
/// answer. Excused is what Redis lost with its data, or by a failover.
pub(super) fn jobs_are_somewhere(evidence: &Evidence) -> Vec<Violation> {
    let mut jobs: Vec<(Micros, &Job)> = evidence
        .jobs
        .values()
        .filter_map(|job| Some((job.in_redis_since()?, job)))
        .collect();
    jobs.sort_by_key(|(since, _)| *since);
    let mut missing = BTreeMap::new();
    for &(at, snapshot) in &evidence.snapshots {
        let present: BTreeSet<JobId> = snapshot.places().map(|(id, _)| id).collect();
        let until = jobs.partition_point(|(since, _)| *since < snapshot.asked);
        for (_, job) in &jobs[..until] {
            let gone = job.done_at().is_none_or(|done| done > at)
                && job.cancelled_from() > at
                && !present.contains(&job.id)
                && evidence.replaced_from(job) > at
                && evidence.faults.losses(job.since(), at).next().is_none()
                && !evidence.was_undone(job, at);
            if gone {
                missing.entry(job.id).or_insert((at, *job));
            }
        }
    }
    let missing = missing.into_values();
    missing
        .map(|(at, job)| job.violates("I20", at, "is accepted and not done, but nowhere in Redis"))
        .collect()
}

#[cfg(test)]
mod tests {
    use crate::{
        check::story::{Story, letter},
        history::{Fault, How, Kind, Route},
    };

    #[test]
    fn what_is_accepted_ends() {
        let mut story = Story::new();
        let job = story.enqueue(0, Kind::Plain);
        story.run(10, "w1.1", &job, 1);
        story.is_lawful();

        let mut story = Story::new();
        story.enqueue(0, Kind::Plain);
        story.breaks("I1");
    }

    #[test]
    fn a_loss_of_redis_excuses_what_was_offered_before_it_directly() {
        for (offered, route, lawful) in [
            (100, Route::Direct, true),
            (100, Route::Outbox, true),
            (900, Route::Direct, false),
        ] {
            let mut story = Story::new();
            let job = story.offer(offered, Kind::Plain, |offer| offer.route = route);
            story.accepted(offered + 1, &job);
            story.fault(200, 600, Fault::RedisLoss, "redis");
            if lawful {
                story.is_lawful();
            } else {
                story.breaks("I1");
            }
        }
        let mut story = Story::new();
        let job = story.enqueue(100, Kind::Once);
        story.fault(200, 600, Fault::RedisLoss, "redis");
        assert!(story.broken().contains("I1"), "its token is in the outbox");
        story.start(110, "w1.1", &job, 1);
        story.kill(120, "w1.1");
        story.end.effects.push((job.id, job.serial));
        assert!(!story.broken().contains("I1"), "its effects are committed");
        let mut story = Story::new();
        story.enqueue(100, Kind::Plain);
        story.fault(200, 600, Fault::RedisRestart, "redis");
        story.breaks("I1");
    }

    #[test]
    fn a_failover_excuses_what_was_just_enqueued_directly() {
        for (offered, kind, lawful) in [
            (1900, Kind::Plain, true),
            (500, Kind::Plain, false),
            (4000, Kind::Plain, false),
            (1900, Kind::Once, false),
        ] {
            let mut story = Story::new();
            let job = story.enqueue(offered, kind);
            story.fault(2000, 3400, Fault::Failover, "redis");
            if lawful {
                story.is_lawful();
            } else {
                assert!(story.broken().contains("I1"), "{kind:?} at {offered}");
            }
            assert_eq!(job.kind, kind);
        }
    }

    #[test]
    fn what_is_done_is_no_dead_letter() {
        let mut story = Story::new();
        let job = story.enqueue(0, Kind::Plain);
        story.start(10, "w1.1", &job, 1);
        story.end(20, "w1.1", &job, 1, How::Discard);
        story.end.snapshot.dead.push(letter(&job, "discarded"));
        story.is_lawful();

        story.run(500, "w2.1", &job, 1);
        assert!(story.broken().contains("I1"));
    }

    #[test]
    fn a_letter_tells_the_truth() {
        let mut story = Story::new();
        let job = story.enqueue(0, Kind::Plain);
        story.start(10, "w1.1", &job, 1);
        story.end(20, "w1.1", &job, 1, How::Fail);
        story.end.snapshot.dead.push(letter(&job, "discarded"));
        story.breaks("I1");
    }

    #[test]
    fn what_was_refused_does_not_run() {
        for (certain, lawful) in [(false, true), (true, false)] {
            let mut story = Story::new();
            let job = story.offer(0, Kind::Plain, |_| {});
            story.refused(1, &job, certain);
            story.run(10, "w1.1", &job, 1);
            if lawful {
                story.is_lawful();
            } else {
                story.breaks("I1");
            }
        }
    }

    #[test]
    fn a_job_keeps_its_id() {
        let mut story = Story::new();
        let job = story.enqueue(0, Kind::Plain);
        story.run(10, "w1.1", &job, 1);
        let mut other = job;
        other.id = queue::JobId::new();
        story.run(20, "w1.1", &other, 1);
        story.breaks("I1");
    }

    #[test]
    fn a_job_is_in_one_place() {
        let mut story = Story::new();
        let job = story.enqueue(0, Kind::Plain);
        story.snapshot(5, |seen| {
            seen.delayed.push(job.id);
            seen.payloads.push(job.id);
        });
        story.run(10, "w1.1", &job, 1);
        story.is_lawful();
        story.snapshot(6, |seen| {
            seen.stream.push((job.id, None));
            seen.delayed.push(job.id);
            seen.payloads.push(job.id);
        });
        story.breaks("I5");
    }

    #[test]
    fn what_waits_has_a_payload_and_nothing_else_has() {
        for waits in [true, false] {
            let mut story = Story::new();
            let job = story.enqueue(0, Kind::Plain);
            story.snapshot(5, |seen| {
                if waits {
                    seen.parked.push(job.id);
                } else {
                    seen.payloads.push(job.id);
                    seen.stream.push((job.id, None));
                }
            });
            story.run(10, "w1.1", &job, 1);
            story.breaks("I5");
        }
    }

    #[test]
    fn a_job_is_somewhere_until_it_is_done() {
        let mut story = Story::new();
        let job = story.enqueue(0, Kind::Plain);
        story.snapshot(5, |seen| seen.stream.push((job.id, None)));
        story.start(10, "w1.1", &job, 1);
        story.end(20, "w1.1", &job, 1, How::Ok);
        story.snapshot(21, |_| {});
        story.is_lawful();
        story.snapshot(15, |_| {});
        story.breaks("I20");
    }

    #[test]
    fn what_is_in_the_outbox_need_not_be_in_redis() {
        let mut story = Story::new();
        let job = story.offer(0, Kind::Plain, |offered| offered.route = Route::Outbox);
        story.accepted(1, &job);
        story.snapshot(5, |_| {});
        story.run(10, "w1.1", &job, 1);
        story.is_lawful();
        story.snapshot(15, |_| {});
        story.breaks("I20");
    }
}

//! I1 and I20 for jobs that somebody cancels: they end once, in time, and are counted.

use super::{
    evidence::{Evidence, Job, runs},
    pause::known,
    starts::outcome_may_be_lost,
};
use crate::{
    history::{CancelAnswer, How, Micros},
    report::Violation,
};

/// How long a handler may go on after its token was cancelled, and be dropped.
const GRACE: Micros = 1_300_000;

/// I1: a job that was removed, or was gone, does not start afterwards, and is nowhere.
///
/// Excused are starts by a process that had stood still: the job was its own once; and what
/// comes after a failover that may have undone it. A job that is gone may be a dead letter.
pub(super) fn removed_jobs_stay_away(evidence: &Evidence) -> Vec<Violation> {
    let mut found = Vec::new();
    for (job, gone, at) in answered(evidence) {
        let asked = job.cancel.map_or(at, |cancel| cancel.at);
        for run in job.runs.iter().filter(|run| run.at > at) {
            let undone = evidence.faults.undone((asked, at), run.at);
            if !undone && !evidence.faults.was_frozen(&run.by, run.at) {
                let sentence = format!(
                    "started on {}, but its canceller had been told {gone:?}",
                    run.by
                );
                found.push(job.violates("I1", run.at, sentence));
            }
        }
        let mut snapshots = evidence.snapshots.iter();
        let seen = snapshots.find_map(|&(seen, snapshot)| {
            let mut places = snapshot.places();
            let place = places.find(|(id, place)| {
                *id == job.id && (gone == CancelAnswer::Removed || *place != "the dead letters")
            });
            let (_, place) = place.filter(|_| snapshot.asked > at)?;
            if evidence.faults.undone((asked, at), seen) {
                return None;
            }
            Some((seen, place))
        });
        if let Some((seen, place)) = seen {
            let sentence = format!("is in {place}, but its canceller was told {gone:?}");
            found.push(job.violates("I1", seen, sentence));
        }
    }
    found
}

/// I1: a job that was done does not wait to be removed; one that is gone has ended before.
///
/// Excused is a success whose outcome may not have reached Redis. That one which is gone has
/// ended is [`super::loss::every_job_ends`].
pub(super) fn the_done_are_not_removed(evidence: &Evidence) -> Vec<Violation> {
    let mut found = Vec::new();
    for (job, gone, at) in answered(evidence) {
        let asked = job.cancelled_from();
        let done = job.runs.iter().find(|run| {
            let landed = |at| evidence.faults.outcome_landed(&run.by, at).0;
            matches!(run.end, Some((ended, How::Ok))
                if landed(ended) < asked && !outcome_may_be_lost(evidence, run, ended))
        });
        if gone == CancelAnswer::Removed
            && let Some(run) = done
        {
            let sentence = format!("was done on {}, and removed as if it waited", run.by);
            found.push(job.violates("I1", at, sentence));
        }
    }
    found
}

/// I1: when a worker has been asked to stop a job, none starts it any more after a tick
/// and a round trip, and one that runs it has ended it within a second and some slack.
///
/// What this machine stood still is added. Excused are workers that could not reach Redis
/// or that were told to end, which ask no more, and what comes after a loss of Redis' data.
pub(super) fn requests_are_obeyed(evidence: &Evidence) -> Vec<Violation> {
    let faults = &evidence.faults;
    let mut found = Vec::new();
    for (job, run) in runs(evidence) {
        let asked = job
            .cancel
            .and_then(|cancel| cancel.told(CancelAnswer::Asked));
        let Some(asked) = asked else { continue };
        let until = evidence.run_until(run).min(evidence.last);
        let told = faults
            .told_to_end(&run.by)
            .is_some_and(|told| told <= until);
        let request = job.cancel.map_or(asked, |cancel| cancel.at);
        let lost =
            faults.losses(asked, until).next().is_some() || faults.undone((request, asked), until);
        if until <= asked || told || lost || faults.is_hindered(&run.by, asked, until) {
            continue;
        }
        let known = known(evidence, asked, until);
        let sentence = if run.at > known {
            let late = (run.at - asked) / 1000;
            format!(
                "started on {} {late} ms after a worker was asked to stop it",
                run.by
            )
        } else if until > known.max(run.at) + GRACE {
            let late = (until - asked) / 1000;
            format!(
                "still ran on {} {late} ms after it was asked to stop it",
                run.by
            )
        } else {
            continue;
        };
        found.push(job.violates("I1", until, sentence));
    }
    found
}

/// I20: the queues have counted the jobs that were cancelled, each once.
///
/// At least those that were removed, or asked for and neither done nor dead, since Redis last
/// lost its data and the count with them; at most all that somebody asked for and that were
/// not surely done.
pub(super) fn the_cancelled_are_counted(evidence: &Evidence) -> Vec<Violation> {
    let counted = evidence.end.snapshot.cancelled;
    let lost = evidence.faults.losses(0, Micros::MAX).map(|loss| loss.to);
    let since = lost.max().unwrap_or(0);
    let (mut least, mut most) = (0, 0);
    for job in evidence.jobs.values() {
        let Some(cancel) = job.cancel else { continue };
        let is_dead = evidence.letters.contains_key(&job.id);
        let mut done = job.runs.iter().filter_map(|run| match run.end {
            Some((at, How::Ok)) => Some(!outcome_may_be_lost(evidence, run, at)),
            _ => None,
        });
        let told = cancel.answer.map(|(_, answer)| answer);
        let removed = told == Some(CancelAnswer::Removed);
        let stopped = told == Some(CancelAnswer::Asked) && job.done_at().is_none() && !is_dead;
        // When the worker that was asked has written it down, if nothing was in its way.
        let ended = job.runs.last().and_then(|run| run.end);
        let ended = ended.map_or(cancel.at, |(at, _)| at);
        let undone = evidence.faults.undone((cancel.at, ended), Micros::MAX)
            || evidence.was_undone(job, Micros::MAX);
        if cancel.at > since && job.since() > since && !undone && (removed || stopped) {
            least += 1;
        }
        if removed || !is_dead && !done.any(|surely| surely) {
            most += 1;
        }
    }
    if (least..=most).contains(&counted) {
        return Vec::new();
    }
    let sentence =
        format!("{counted} jobs are counted as cancelled; from {least} to {most} are right");
    vec![Violation::new("I20", sentence).at(evidence.last)]
}

/// The jobs whose canceller was told that they are in the queue no more, and when.
fn answered<'a>(evidence: &'a Evidence) -> impl Iterator<Item = (&'a Job, CancelAnswer, Micros)> {
    evidence.jobs.values().filter_map(|job| {
        let (at, answer) = job.cancel?.answer?;
        let gone = matches!(answer, CancelAnswer::Removed | CancelAnswer::Gone);
        gone.then_some((job, answer, at))
    })
}

#[cfg(test)]
mod tests {
    use crate::{
        check::story::{Story, letter},
        history::{CancelAnswer, Event, Fault, How, Kind},
    };

    #[test]
    fn what_is_removed_does_not_start() {
        for (at, lawful) in [(None, true), (Some(200), false)] {
            let mut story = Story::new();
            let job = story.enqueue(0, Kind::Delayed);
            story.cancel(100, &job, CancelAnswer::Removed);
            story.end.snapshot.cancelled = 1;
            if let Some(at) = at {
                story.run(at, "w1.1", &job, 1);
            }
            story.judge(lawful, "I1");
        }
    }

    #[test]
    fn what_is_removed_is_nowhere() {
        for (asked, lawful) in [(50, true), (150, false)] {
            let mut story = Story::new();
            let job = story.enqueue(0, Kind::Delayed);
            story.cancel(100, &job, CancelAnswer::Removed);
            story.end.snapshot.cancelled = 1;
            story.snapshot(asked, |seen| {
                seen.delayed.push(job.id);
                seen.payloads.push(job.id);
            });
            story.judge(lawful, "I1");
        }
    }

    #[test]
    fn what_is_gone_had_ended() {
        for (ends, lawful) in [(true, true), (false, false)] {
            let mut story = Story::new();
            let job = story.enqueue(0, Kind::Plain);
            if ends {
                story.run(10, "w1.1", &job, 1);
            }
            story.cancel(500, &job, CancelAnswer::Gone);
            story.judge(lawful, "I1");
        }
        let mut story = Story::new();
        let job = story.enqueue(0, Kind::Plain);
        story.start(10, "w1.1", &job, 1);
        story.end(20, "w1.1", &job, 1, How::Discard);
        story.cancel(500, &job, CancelAnswer::Gone);
        story.snapshot(600, |seen| seen.dead.push(letter(&job, "discarded")));
        story.end.snapshot.dead.push(letter(&job, "discarded"));
        story.is_lawful();
    }

    #[test]
    fn what_was_done_is_not_removed() {
        let mut story = Story::new();
        let job = story.enqueue(0, Kind::Plain);
        story.run(10, "w1.1", &job, 1);
        story.cancel(500, &job, CancelAnswer::Removed);
        story.end.snapshot.cancelled = 1;
        story.breaks("I1");
        // Its outcome may have died with its worker.
        story.kill(100, "w1.1");
        story.is_lawful();
    }

    #[test]
    fn what_is_to_stop_stops() {
        for (ends, how, lawful) in [
            (700, How::Cancelled, true),
            (1700, How::Cancelled, true),
            (700, How::Ok, true),
            (2500, How::Cancelled, false),
        ] {
            let mut story = Story::new();
            let job = story.enqueue(0, Kind::Long);
            story.start(10, "w1.1", &job, 1);
            story.cancel(500, &job, CancelAnswer::Asked);
            story.end(ends, "w1.1", &job, 1, how);
            story.end.snapshot.cancelled = u64::from(how == How::Cancelled);
            story.judge(lawful, "I1");
        }
    }

    #[test]
    fn what_is_to_stop_is_not_tried_again() {
        for (again, target, lawful) in [
            (650, "w9.1", true),
            (900, "w9.1", false),
            (900, "w2.1", true),
        ] {
            let mut story = Story::new();
            let job = story.enqueue(0, Kind::Plain);
            story.start(10, "w1.1", &job, 1);
            story.cancel(500, &job, CancelAnswer::Asked);
            story.end(505, "w1.1", &job, 1, How::Fail);
            story.fault(400, 1000, Fault::Refuse, target);
            story.run(again, "w2.1", &job, 2);
            story.judge(lawful, "I1");
        }
    }

    #[test]
    fn who_ends_asks_no_more() {
        let mut story = Story::new();
        let job = story.enqueue(0, Kind::Long);
        story.start(10, "w1.1", &job, 1);
        story.fault(450, 450, Fault::Term, "w1.1");
        story.cancel(500, &job, CancelAnswer::Asked);
        story.end(2500, "w1.1", &job, 1, How::Ok);
        story.exit(2600, "w1.1", Some(0));
        story.is_lawful();
    }

    #[test]
    fn each_is_counted_once() {
        for (counted, lawful) in [(0, false), (1, true), (2, false)] {
            let mut story = Story::new();
            let job = story.enqueue(0, Kind::Plain);
            story.cancel(5, &job, CancelAnswer::Removed);
            story.end.snapshot.cancelled = counted;
            story.judge(lawful, "I20");
        }
        let mut story = Story::new();
        let job = story.enqueue(0, Kind::Plain);
        story.cancel(5, &job, CancelAnswer::Removed);
        story.fault(200, 300, Fault::RedisLoss, "redis");
        story.is_lawful();
        let other = story.offer(400, Kind::Plain, |_| {});
        story.accepted(401, &other);
        story.write(402, "p1.1", Event::Cancel { id: other.id });
        story.is_lawful();
    }
}

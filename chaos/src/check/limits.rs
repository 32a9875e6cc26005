//! I17: a queue with a limit takes no more, says so truly, and trims nothing.

use super::evidence::{Answer, Evidence, Job, Offer};
use crate::{
    history::{CancelAnswer, How, Micros},
    report::Violation,
};

/// I17: no queue has more unfinished jobs than its limit, in any snapshot.
///
/// Ready, running and delayed ones count. What always goes in (retries, due jobs, what is
/// handed back) was counted before; parked jobs and replays, which come on top, are not
/// offered to these queues. No excuses.
pub(super) fn limits_are_kept(evidence: &Evidence) -> Vec<Violation> {
    let mut found = Vec::new();
    for (queue, limit) in &evidence.end.limits {
        let mut depths = evidence.snapshots.iter();
        let over = depths.find_map(|(at, snapshot)| {
            let depth = *snapshot.depths.get(queue)?;
            (depth > *limit).then_some((*at, depth))
        });
        if let Some((at, depth)) = over {
            let sentence = format!("{queue} has {depth} jobs, and may have {limit}");
            found.push(Violation::new("I17", sentence).at(at));
        }
    }
    found
}

/// I17: what was refused for want of room never runs.
pub(super) fn refused_jobs_do_not_run(evidence: &Evidence) -> Vec<Violation> {
    let mut found = Vec::new();
    for job in evidence.jobs.values() {
        let answer = job.offer.as_ref().map(|offer| offer.answer);
        if let (Some(run), Some(Answer::Refused { full: Some(_), .. })) = (job.runs.first(), answer)
        {
            let sentence = "runs, but was told that its queue was full";
            found.push(job.violates("I17", run.at, sentence));
        }
    }
    found
}

/// I17: who is told that a queue is full is told the truth.
///
/// All jobs that may have been there at that moment are counted: those offered before the
/// answer and neither refused nor surely at their end before the offer. With those that were
/// refused together they are more than the limit. Only producers with a limit are refused.
pub(super) fn full_queues_are_full(evidence: &Evidence) -> Vec<Violation> {
    let mut found = Vec::new();
    for offer in evidence.offers.values() {
        let Answer::Refused {
            full: Some(wanted), ..
        } = offer.answer
        else {
            continue;
        };
        let queue = offer.kind.queue();
        let at = offer.answered.unwrap_or(offer.at);
        let Some(limit) = evidence.end.limits.get(queue) else {
            let sentence = format!("{queue} has no limit, and refused a job as if it had");
            found.push(Violation::new("I17", sentence).at(at));
            continue;
        };
        let others = evidence.offers.values();
        let others = others.filter(|other| {
            other.kind.queue() == queue && other.at <= at && may_be_there(evidence, other, offer.at)
        });
        let most = others.count() as u64;
        if most + wanted <= *limit {
            let sentence = format!(
                "{queue} refused {wanted} as full, with {most} jobs at most, and may have {limit}"
            );
            found.push(Violation::new("I17", sentence).at(at));
        }
    }
    found
}

/// Whether an offer's job was perhaps in its queue at some moment after this one.
fn may_be_there(evidence: &Evidence, offer: &Offer, from: Micros) -> bool {
    match offer.answer {
        Answer::Accepted(id) => {
            let job = evidence.jobs.get(&id);
            let ended = job.and_then(|job| ended_before(evidence, job));
            ended.is_none_or(|ended| ended >= from || evidence.faults.undone((ended, ended), from))
        }
        Answer::None | Answer::Refused { certain: false, .. } => true,
        Answer::Refused { certain: true, .. } | Answer::Duplicate(_) => false,
    }
}

/// When a job had surely left its queue, if it ever did.
fn ended_before(evidence: &Evidence, job: &Job) -> Option<Micros> {
    let done = job.runs.iter().filter_map(|run| match run.end {
        Some((at, How::Ok | How::Discard)) => Some(evidence.faults.outcome_landed(&run.by, at).0),
        _ => None,
    });
    let letter = evidence.letters.get(&job.id).map(|(seen, _)| *seen);
    let removed = job
        .cancel
        .and_then(|cancel| cancel.told(CancelAnswer::Removed));
    done.chain(letter).chain(removed).min()
}

#[cfg(test)]
mod tests {
    use crate::{check::story::Story, history::Kind};

    fn story() -> Story {
        let mut story = Story::new();
        story.end.limits.insert("limited".to_owned(), 3);
        story
    }

    #[test]
    fn a_queue_has_no_more_than_its_limit() {
        for (depth, lawful) in [(3, true), (4, false)] {
            let mut story = story();
            story.snapshot(5, |seen| {
                seen.depths.insert("default".to_owned(), 99);
                seen.depths.insert("limited".to_owned(), depth);
            });
            story.judge(lawful, "I17");
        }
    }

    #[test]
    fn the_refused_do_not_run() {
        for (full, invariant) in [(Some(5), "I17"), (None, "I1")] {
            let mut story = story();
            let job = story.offer(0, Kind::Bounded, |_| {});
            story.refused_for(1, &job, full);
            story.is_lawful();
            story.run(10, "w1.1", &job, 1);
            story.breaks(invariant);
        }
    }

    #[test]
    fn what_is_full_is_full() {
        for (before, ended, wanted, lawful) in [
            (3, 0, 1, true),
            (2, 0, 1, false),
            (2, 0, 2, true),
            (4, 1, 1, true),
            (4, 2, 1, false),
        ] {
            let mut story = story();
            for number in 0..before {
                let job = story.enqueue(0, Kind::Bounded);
                let at = if number < ended { 10 } else { 1900 };
                story.run(at, "w1.1", &job, 1);
            }
            let job = story.offer(2000, Kind::Bounded, |_| {});
            story.refused_for(2001, &job, Some(wanted));
            story.judge(lawful, "I17");
        }
    }

    #[test]
    fn others_are_never_full() {
        let mut story = story();
        let job = story.offer(0, Kind::Plain, |_| {});
        story.refused_for(1, &job, Some(1));
        story.breaks("I17");
    }
}

//! I13: of the jobs with one key, one lives.

use std::collections::{BTreeMap, BTreeSet};

use queue::{Job as _, JobId};

use super::evidence::{Answer, Evidence, Job, Offer};
use crate::{
    history::{CancelAnswer, How, Micros},
    jobs::Unique,
    report::Violation,
};

/// How long after its holder's end a lock may still be seen.
const LINGERS: Micros = 1_000_000;

/// I13: while a job with a key lives, none other with that key is accepted.
///
/// A job surely lives from its answer, or its first start, to its first end. One that
/// was offered and accepted within that time is a violation. Excused: Redis lost its
/// data, and with them the lock, since the holder was offered.
pub(super) fn one_lives_per_key(evidence: &Evidence) -> Vec<Violation> {
    let mut found = Vec::new();
    for jobs in by_key(evidence).values() {
        for holder in jobs {
            let (Some(from), until) = (holder.in_redis_since(), ends(evidence, holder)) else {
                continue;
            };
            for other in jobs.iter().filter(|other| other.id != holder.id) {
                let Some((offer, answered)) = accepted(other) else {
                    continue;
                };
                let within = offer.at >= from && answered < until;
                let lost = evidence
                    .faults
                    .losses(holder.since(), answered)
                    .next()
                    .is_some()
                    || evidence.was_undone(holder, answered);
                if within && !lost {
                    let sentence = format!("was accepted while {} held its key", holder.id);
                    found.push(other.violates("I13", answered, sentence));
                }
            }
        }
    }
    found
}

/// I13: a duplicate is told of a job with the same key that lives, or ended less than
/// a second ago.
///
/// Only in calm times: after a fault the outcome may not have reached Redis. What this
/// machine stood still is added.
pub(super) fn locks_end_with_their_jobs(evidence: &Evidence) -> Vec<Violation> {
    let mut found = Vec::new();
    for offer in evidence.offers.values() {
        let (Answer::Duplicate(of), Some(at)) = (offer.answer, offer.answered) else {
            continue;
        };
        let Some(holder) = evidence.jobs.get(&of) else {
            continue;
        };
        let key = holder
            .offer
            .as_ref()
            .and_then(|offer| offer.unique.as_ref());
        if key != offer.unique.as_ref() {
            let sentence = format!(
                "was told to hold the key {:?}, which it does not",
                offer.unique
            );
            found.push(holder.violates("I13", at, sentence));
        }
        if let Some(ended) = ended_long_before(evidence, holder, offer.at) {
            let sentence = format!(
                "still held its key {} ms after its end",
                (offer.at - ended) / 1000
            );
            found.push(holder.violates("I13", at, sentence));
        }
    }
    for &(at, snapshot) in &evidence.snapshots {
        for (_, id) in &snapshot.locks {
            let holder = evidence.jobs.get(id);
            if let Some(holder) = holder
                && let Some(ended) = ended_long_before(evidence, holder, snapshot.asked)
            {
                let sentence = format!(
                    "has a lock {} ms after its end",
                    (snapshot.asked - ended) / 1000
                );
                found.push(holder.violates("I13", at, sentence));
            }
        }
    }
    found
}

/// I13: in every snapshot each living job with a key has its lock.
///
/// Excused is what Redis lost with its data.
pub(super) fn the_living_have_locks(evidence: &Evidence) -> Vec<Violation> {
    let mut found = Vec::new();
    let jobs = by_key(evidence);
    for &(at, snapshot) in &evidence.snapshots {
        let locks: BTreeSet<JobId> = snapshot.locks.iter().map(|(_, id)| *id).collect();
        for job in jobs.values().flatten() {
            let lives = job
                .in_redis_since()
                .is_some_and(|since| since < snapshot.asked)
                && at < ends(evidence, job);
            let lost = evidence.faults.losses(job.since(), at).next().is_some()
                || evidence.was_undone(job, at);
            if lives && !lost && !locks.contains(&job.id) {
                found.push(job.violates("I13", at, "lives without its lock"));
            }
        }
    }
    let mut seen = BTreeSet::new();
    found.retain(|violation| seen.insert(violation.job));
    found
}

fn by_key<'a>(evidence: &'a Evidence) -> BTreeMap<&'a str, Vec<&'a Job>> {
    let mut keys: BTreeMap<&str, Vec<&Job>> = BTreeMap::new();
    for job in evidence.jobs.values() {
        let offer = job.offer.as_ref();
        if let Some(key) = offer.and_then(|offer| offer.unique.as_deref()) {
            keys.entry(key).or_default().push(job);
        }
    }
    keys
}

fn accepted(job: &Job) -> Option<(&Offer, Micros)> {
    let offer = job.offer.as_ref()?;
    let answered = offer.answered?;
    (offer.answer == Answer::Accepted(job.id)).then_some((offer, answered))
}

/// The first moment at which a job may have ended.
fn ends(evidence: &Evidence, job: &Job) -> Micros {
    let done = job.ended(&[How::Ok, How::Discard]).min();
    // Its letter was written after its last run had begun, and before it was seen.
    let dead = evidence.letters.get(&job.id).map(|(seen, _)| {
        let mut runs = job.runs.iter().rev();
        let last = runs.find(|run| run.at <= *seen);
        last.map_or(job.since(), |run| run.at)
    });
    // Nobody may have seen the letter, if Redis lost its data soon after.
    let mut runs = job
        .runs
        .iter()
        .filter(|run| run.attempt >= Unique::MAX_ATTEMPTS);
    let spent = runs.find_map(|run| {
        let failed = run
            .end
            .filter(|(_, how)| matches!(how, How::Fail | How::Panic));
        failed.map(|(at, _)| at)
    });
    let ended = done.into_iter().chain(dead).chain(spent).min();
    ended.unwrap_or(Micros::MAX).min(job.cancelled_from())
}

/// When a job was done, or removed by who cancelled it, if that is so long before that its lock must be gone.
fn ended_long_before(evidence: &Evidence, job: &Job, at: Micros) -> Option<Micros> {
    let removed = job
        .cancel
        .and_then(|cancel| cancel.told(CancelAnswer::Removed));
    let ended = removed.or_else(|| job.done_at())?;
    let limit = LINGERS + evidence.faults.stalled(ended, at);
    let long = ended + limit < at && evidence.faults.calm(ended, ended + limit);
    let goes_on = job
        .runs
        .iter()
        .any(|run| run.at <= at && evidence.run_until(run) > ended);
    (long && !goes_on).then_some(ended)
}

#[cfg(test)]
mod tests {
    use crate::{
        check::story::{Story, Told, letter},
        history::{CancelAnswer, Event, Fault, How, Kind},
    };

    fn unique(story: &mut Story, ms: u64) -> Told {
        let job = story.offer(ms, Kind::Unique, |offered| offered.unique = Some("key"));
        story.accepted(ms + 1, &job);
        job
    }

    fn duplicate(story: &mut Story, ms: u64, of: &Told) {
        let job = story.offer(ms, Kind::Unique, |offered| offered.unique = Some("key"));
        let event = Event::Duplicate {
            serial: job.serial,
            of: of.id,
        };
        story.write(ms + 1, "p1.1", event);
    }

    #[test]
    fn the_next_is_accepted_when_the_holder_has_ended() {
        for (second, lawful) in [(25, true), (15, false)] {
            let mut story = Story::new();
            let first = unique(&mut story, 0);
            story.start(10, "w1.1", &first, 1);
            let other = unique(&mut story, second);
            story.end(20, "w1.1", &first, 1, How::Ok);
            story.run(30, "w1.1", &other, 1);
            if lawful {
                story.is_lawful();
            } else {
                story.breaks("I13");
            }
        }
    }

    #[test]
    fn a_lock_may_be_lost_with_redis() {
        let mut story = Story::new();
        let first = unique(&mut story, 0);
        story.start(10, "w1.1", &first, 1);
        story.fault(20, 300, Fault::RedisLoss, "redis");
        let other = unique(&mut story, 400);
        story.end(500, "w1.1", &first, 1, How::Ok);
        story.run(600, "w1.1", &other, 1);
        story.is_lawful();
    }

    #[test]
    fn a_key_is_free_when_the_last_attempt_has_failed_though_nobody_saw_the_letter() {
        for (second, lawful) in [(3030, true), (3005, false)] {
            let mut story = Story::new();
            let first = unique(&mut story, 0);
            for (attempt, at) in [(1, 10), (2, 1000), (3, 2000), (4, 3000)] {
                story.start(at, "w1.1", &first, attempt);
                if attempt < 4 {
                    story.end(at + 20, "w1.1", &first, attempt, How::Fail);
                }
            }
            let other = unique(&mut story, second);
            story.end(3020, "w1.1", &first, 4, How::Fail);
            story.run(3040, "w1.1", &other, 1);
            story.fault(3100, 3300, Fault::RedisLoss, "redis");
            story.judge(lawful, "I13");
        }
    }

    #[test]
    fn a_key_is_free_when_its_job_was_cancelled() {
        for (asked, lawful) in [(900, true), (1500, false)] {
            let mut story = Story::new();
            let first = unique(&mut story, 0);
            story.cancel(100, &first, CancelAnswer::Removed);
            story.end.snapshot.cancelled = 1;
            duplicate(&mut story, asked, &first);
            story.judge(lawful, "I13");
        }
        let mut story = Story::new();
        let first = unique(&mut story, 0);
        story.cancel(100, &first, CancelAnswer::Removed);
        story.end.snapshot.cancelled = 1;
        let other = unique(&mut story, 200);
        story.run(300, "w1.1", &other, 1);
        story.is_lawful();
    }

    #[test]
    fn a_lock_ends_with_its_job() {
        for (asked, lawful) in [(15, true), (900, true), (1500, false)] {
            let mut story = Story::new();
            let first = unique(&mut story, 0);
            story.run(10, "w1.1", &first, 1);
            duplicate(&mut story, asked, &first);
            if lawful {
                story.is_lawful();
            } else {
                story.breaks("I13");
            }
            let mut story = Story::new();
            let first = unique(&mut story, 0);
            story.run(10, "w1.1", &first, 1);
            story.snapshot(asked, |seen| {
                seen.stream.push((first.id, Some("host:0:x".to_owned())));
                seen.locks.push(("u:1".to_owned(), first.id));
            });
            if lawful {
                story.is_lawful();
            } else {
                story.breaks("I13");
            }
        }
    }

    #[test]
    fn a_duplicate_names_the_holder_of_its_key() {
        let mut story = Story::new();
        let other = story.enqueue(0, Kind::Plain);
        duplicate(&mut story, 5, &other);
        story.run(10, "w1.1", &other, 1);
        story.breaks("I13");
    }

    #[test]
    fn the_dead_have_none() {
        let mut story = Story::new();
        let job = unique(&mut story, 0);
        story.start(10, "w1.1", &job, 1);
        story.end(20, "w1.1", &job, 1, How::Fail);
        story.snapshot(100, |seen| seen.dead.push(letter(&job, "attempts")));
        story.fault(200, 300, Fault::RedisLoss, "redis");
        story.is_lawful();
    }

    #[test]
    fn the_living_have_locks() {
        for (locked, lawful) in [(true, true), (false, false)] {
            let mut story = Story::new();
            let job = unique(&mut story, 0);
            story.snapshot(5, |seen| {
                seen.stream.push((job.id, None));
                if locked {
                    seen.locks.push(("u:1".to_owned(), job.id));
                }
            });
            story.run(10, "w1.1", &job, 1);
            if lawful {
                story.is_lawful();
            } else {
                story.breaks("I13");
            }
        }
    }
}

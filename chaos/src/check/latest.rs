//! I13 for jobs that take the place of those with their key: the newest runs last.

use std::collections::BTreeMap;

use super::{
    evidence::{Answer, Evidence, Job},
    starts::outcome_may_be_lost,
};
use crate::{
    history::{How, Micros},
    report::Violation,
};

/// I13: a job that has given its place to another does not start afterwards, had not been
/// done before, and does so once.
///
/// Excused are starts by a process that had stood still, a success whose outcome may not have
/// reached Redis, and what a failover has undone.
pub(super) fn the_replaced_stay_away(evidence: &Evidence) -> Vec<Violation> {
    let faults = &evidence.faults;
    let mut found = Vec::new();
    for (id, times) in &evidence.replaced {
        let Some(job) = evidence.jobs.get(id) else {
            continue;
        };
        let undone = |until| times.iter().any(|&time| faults.undone(time, until));
        if times.len() > 1 && !undone(Micros::MAX) {
            let sentence = format!("gave its place to {} others", times.len());
            found.push(job.violates("I13", times[1].1, sentence));
        }
        let Some(&(asked, answered)) = times.first() else {
            continue;
        };
        for run in &job.runs {
            let late = run.at > answered && !faults.was_frozen(&run.by, run.at);
            let done = matches!(run.end, Some((at, How::Ok | How::Discard))
                if faults.outcome_landed(&run.by, at).0 < asked
                    && !outcome_may_be_lost(evidence, run, at));
            let sentence = match (late, done) {
                (true, _) => "started, but another had its place",
                (_, true) => "had ended, and gave its place to another",
                _ => continue,
            };
            if !undone(run.at.max(answered)) {
                found.push(job.violates("I13", run.at, sentence));
            }
        }
    }
    found
}

/// I13: of two jobs with a key, the one that was accepted later runs later: the older does
/// not start once the newer has.
///
/// So what runs last is the newest. Excused are starts by a process that had stood still, and
/// what comes after Redis lost its data, and with them the lock, or a failover undid something.
pub(super) fn the_newest_runs_last(evidence: &Evidence) -> Vec<Violation> {
    let faults = &evidence.faults;
    let mut keys: BTreeMap<&str, Vec<(&Job, Micros, Micros)>> = BTreeMap::new();
    for job in evidence.jobs.values() {
        let Some(offer) = &job.offer else { continue };
        if let Some((_, key)) = &offer.extras.latest
            && let Some(answered) = offer.answered
            && offer.answer == Answer::Accepted(job.id)
        {
            keys.entry(key).or_default().push((job, offer.at, answered));
        }
    }
    let mut found = Vec::new();
    for jobs in keys.values() {
        for (older, since, answered) in jobs {
            let newer = jobs.iter().filter(|(_, offered, _)| offered > answered);
            let starts = newer.filter_map(|(job, ..)| Some((job.id, job.runs.first()?.at)));
            let Some((newer, start)) = starts.min_by_key(|(_, at)| *at) else {
                continue;
            };
            let late = older.runs.iter().find(|run| run.at > start);
            let Some(run) = late else { continue };
            let lost = faults.losses(*since, run.at).next().is_some()
                || faults.undone((*since, run.at), run.at);
            if !lost && !faults.was_frozen(&run.by, run.at) {
                let sentence = format!("started on {}, after {newer}, which is newer", run.by);
                found.push(older.violates("I13", run.at, sentence));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use crate::{
        check::story::{Story, Told},
        history::{Event, Fault, How, Kind, Mode},
    };

    fn latest(story: &mut Story, ms: u64, replaces: Option<&Told>) -> Told {
        let job = story.offer(ms, Kind::Latest, |offered| {
            offered.extras.latest = Some((Mode::KeepLast, "key".to_owned()));
        });
        if let Some(old) = replaces {
            let (serial, old) = (job.serial, old.id);
            story.write(ms + 1, "p1.1", Event::Replaced { serial, old });
        }
        story.accepted(ms + 1, &job);
        job
    }

    #[test]
    fn who_gave_its_place_does_not_run() {
        for (at, lawful) in [(None, true), (Some(30), false)] {
            let mut story = Story::new();
            let old = latest(&mut story, 0, None);
            let new = latest(&mut story, 10, Some(&old));
            if let Some(at) = at {
                story.run(at, "w1.1", &old, 1);
            }
            story.run(50, "w1.1", &new, 1);
            story.judge(lawful, "I13");
        }
    }

    #[test]
    fn who_is_not_replaced_runs() {
        let mut story = Story::new();
        latest(&mut story, 0, None);
        story.breaks("I1");
    }

    #[test]
    fn a_job_is_replaced_once_and_only_while_it_waits() {
        let mut story = Story::new();
        let old = latest(&mut story, 0, None);
        for ms in [10, 20] {
            let new = latest(&mut story, ms, Some(&old));
            story.run(30 + 10 * ms, "w1.1", &new, 1);
        }
        story.breaks("I13");
        for (asked, lawful) in [(15, true), (600, false)] {
            let mut story = Story::new();
            let old = latest(&mut story, 0, None);
            story.run(2, "w1.1", &old, 1);
            let new = latest(&mut story, asked, Some(&old));
            story.run(700, "w1.1", &new, 1);
            story.judge(lawful, "I13");
        }
    }

    #[test]
    fn the_newest_runs_last() {
        for (again, lawful) in [(50, true), (300, false)] {
            let mut story = Story::new();
            let old = latest(&mut story, 0, None);
            story.start(5, "w1.1", &old, 1);
            story.end(10, "w1.1", &old, 1, How::Fail);
            let new = latest(&mut story, 20, None);
            story.run(100, "w1.1", &new, 1);
            story.run(again, "w1.1", &old, 2);
            story.judge(lawful, "I13");
        }
        let mut story = Story::new();
        let old = latest(&mut story, 0, None);
        story.fault(10, 15, Fault::RedisLoss, "redis");
        let new = latest(&mut story, 20, None);
        story.run(30, "w1.1", &new, 1);
        story.run(100, "w1.1", &old, 1);
        story.is_lawful();
    }
}

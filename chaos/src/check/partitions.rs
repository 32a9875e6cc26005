//! I5, I13: a job has one partition of its queue, and so has a key.

use std::collections::BTreeMap;

use queue::JobId;

use super::evidence::Evidence;
use crate::report::Violation;

/// I5: a job is in one partition of its queue for all its life; I13: so are all jobs with one
/// key, which could not meet elsewhere. No excuses: the number of partitions stays.
pub(super) fn jobs_stay_in_their_partitions(evidence: &Evidence) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut homes: BTreeMap<JobId, &str> = BTreeMap::new();
    let mut keys: BTreeMap<&str, &str> = BTreeMap::new();
    let last = (evidence.last, &evidence.end.snapshot);
    for &(at, snapshot) in evidence.snapshots.iter().chain([&last]) {
        for (partition, jobs) in &snapshot.partitions {
            for id in jobs {
                let home = *homes.entry(*id).or_insert(partition);
                if home != partition {
                    let sentence = format!("was in {home}, and is in {partition}");
                    found.push(Violation::new("I5", sentence).at(at).job(*id));
                }
                let job = evidence.jobs.get(id);
                let offer = job.and_then(|job| job.offer.as_ref());
                let Some(key) = offer.and_then(|offer| offer.unique.as_deref()) else {
                    continue;
                };
                let home = *keys.entry(key).or_insert(partition);
                if home != partition {
                    let sentence = format!("has {key:?}, whose jobs are in {home}, in {partition}");
                    found.push(Violation::new("I13", sentence).at(at).job(*id));
                }
            }
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    found.retain(|violation| seen.insert((violation.job, violation.invariant)));
    found
}

#[cfg(test)]
mod tests {
    use crate::{
        check::story::{Story, Told},
        history::Kind,
    };

    fn seen(story: &mut Story, ms: u64, job: &Told, partition: &str) {
        story.snapshot(ms, |seen| {
            seen.stream.push((job.id, None));
            seen.locks.push(("u:1".to_owned(), job.id));
            let jobs = seen.partitions.entry(partition.to_owned());
            jobs.or_default().push(job.id);
        });
    }

    #[test]
    fn a_job_stays_where_it_is() {
        for (then, lawful) in [("kept:1", true), ("kept", false)] {
            let mut story = Story::new();
            let job = story.enqueue(0, Kind::Delayed);
            seen(&mut story, 5, &job, "kept:1");
            seen(&mut story, 10, &job, then);
            story.run(20, "w1.1", &job, 1);
            story.judge(lawful, "I5");
        }
    }

    #[test]
    fn a_key_stays_where_it_is() {
        for (key, lawful) in [("another", true), ("key", false)] {
            let mut story = Story::new();
            for (ms, key, partition) in [(0, "key", "kept"), (100, key, "kept:1")] {
                let job = story.offer(ms, Kind::Unique, |offered| offered.unique = Some(key));
                story.accepted(ms + 1, &job);
                seen(&mut story, ms + 5, &job, partition);
                story.run(ms + 10, "w1.1", &job, 1);
            }
            story.judge(lawful, "I13");
        }
    }
}

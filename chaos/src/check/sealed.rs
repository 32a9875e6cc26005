//! I19: who has the key of a payload runs the job, and nobody else reads it.

use super::evidence::{Evidence, runs};
use crate::report::Violation;

/// I19: a job whose payload is encrypted starts only where its key is. No excuses.
///
/// That it waits elsewhere, and is done by those that have the key, is I1 and I20.
pub(super) fn runners_have_the_key(evidence: &Evidence) -> Vec<Violation> {
    let mut found = Vec::new();
    for (job, run) in runs(evidence) {
        let key = job.offer.as_ref().and_then(|offer| offer.extras.key);
        let process = evidence.processes.get(&*run.by);
        if let (Some(key), Some(process)) = (key, process)
            && !process.keys.contains(&key)
        {
            let sentence = format!("started on {}, which does not have key {key}", run.by);
            found.push(job.violates("I19", run.at, sentence));
        }
    }
    found
}

/// I19: a payload that was encrypted is so wherever its job is, a dead letter too. No excuses.
pub(super) fn payloads_stay_sealed(evidence: &Evidence) -> Vec<Violation> {
    let mut found = Vec::new();
    let last = (evidence.last, &evidence.end.snapshot);
    let sealed = |offer: &super::evidence::Offer| offer.extras.key.is_some();
    let mut open = std::collections::BTreeSet::new();
    for &(at, snapshot) in evidence.snapshots.iter().chain([&last]) {
        for (id, place) in snapshot.places() {
            let job = evidence.jobs.get(&id);
            if let Some(job) = job
                && job.offer.as_ref().is_some_and(sealed)
                && !snapshot.sealed.contains(&id)
                && open.insert(id)
            {
                let sentence = format!("can be read by everybody in {place}");
                found.push(job.violates("I19", at, sentence));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use crate::{check::story::Story, history::Kind};

    #[test]
    fn who_has_the_key_runs_it() {
        for (key, lawful) in [(Some(1), true), (None, true), (Some(2), false)] {
            let mut story = Story::new();
            let job = story.offer(0, Kind::Plain, |offered| offered.extras.key = key);
            story.accepted(1, &job);
            story.run(10, "w1.1", &job, 1);
            story.judge(lawful, "I19");
        }
    }

    #[test]
    fn nobody_else_reads_it() {
        for (sealed, lawful) in [(true, true), (false, false)] {
            let mut story = Story::new();
            let job = story.offer(0, Kind::Plain, |offered| offered.extras.key = Some(1));
            story.accepted(1, &job);
            story.snapshot(5, |seen| {
                seen.stream.push((job.id, None));
                if sealed {
                    seen.sealed.insert(job.id);
                }
            });
            story.run(10, "w1.1", &job, 1);
            story.judge(lawful, "I19");
        }
    }
}

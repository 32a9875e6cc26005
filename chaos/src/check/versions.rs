//! I19: two releases side by side.

use super::evidence::{Evidence, Job};
use crate::{
    history::{Kind, Release},
    report::Violation,
};

/// I19: a job starts only where its payload and its envelope are known.
///
/// On a worker of the release before neither the second version of a payload nor a
/// job whose envelope is a newer one (it has a key, or a priority) ever starts. The handler sees the
/// version that the producer's release wrote. That newer jobs are done by newer
/// workers, and older ones by both, is I1.
pub(super) fn old_workers_run_what_they_know(evidence: &Evidence) -> Vec<Violation> {
    let mut found = Vec::new();
    for job in evidence.jobs.values() {
        let written = job.offer.as_ref().and_then(|offer| {
            let producer = evidence.processes.get(&*offer.by)?;
            Some(match producer.release {
                Release::Old => 1,
                Release::New => 2,
            })
        });
        for run in &job.runs {
            let old = evidence
                .processes
                .get(&*run.by)
                .is_some_and(|process| process.release == Release::Old);
            let newer = run.version.is_some_and(|version| version > 1)
                || run.kind == Kind::Versioned && written == Some(2)
                || run.kind == Kind::Unique
                || job
                    .offer
                    .as_ref()
                    .is_some_and(|offer| !offer.extras.is_none());
            if old && newer {
                let sentence = format!("is of a newer version, and started on {}", run.by);
                found.push(job.violates("I19", run.at, sentence));
            }
            if run.kind == Kind::Versioned
                && let (Some(seen), Some(written)) = (run.version, written)
                && seen != written
            {
                let sentence = format!("was written in version {written}, and seen in {seen}");
                found.push(job.violates("I19", run.at, sentence));
            }
        }
    }
    found
}

/// I19: a job of a kind that nobody knows is parked until somebody does.
///
/// It does not start before all is quiet, when such a worker comes. In calm times it
/// is among the parked within a second and two scans; that it is not lost is I20.
pub(super) fn unknown_jobs_wait(evidence: &Evidence) -> Vec<Violation> {
    let limits = &evidence.faults.limits;
    let mut found = Vec::new();
    let unknown = |job: &&Job| job.kind == Kind::Unknown;
    for job in evidence.jobs.values().filter(unknown) {
        if let Some(run) = job.runs.first()
            && run.at < evidence.quiet
        {
            found.push(job.violates("I19", run.at, "started, but nobody knew it"));
        }
        let Some(since) = job.in_redis_since() else {
            continue;
        };
        let late = since + 1_000_000 + 2 * limits.scan;
        let waits = evidence.snapshots.iter().find(|(at, snapshot)| {
            snapshot.asked > late + evidence.faults.stalled(since, *at)
                && *at < evidence.quiet.min(job.cancelled_from())
                && evidence.faults.calm(since, *at)
                && !snapshot.parked.contains(&job.id)
        });
        if let Some((at, _)) = waits {
            found.push(job.violates("I19", *at, "is not parked, though nobody knows it"));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use crate::{
        check::story::Story,
        history::{Event, How, Kind},
    };

    #[test]
    fn versions_run_where_they_are_known() {
        for (producer, version, worker, lawful) in [
            ("p1.1", 2, "w1.1", true),
            ("p2.1", 1, "w1.1", true),
            ("p2.1", 1, "w3.1", true),
            ("p1.1", 2, "w3.1", false),
            ("p1.1", 1, "w1.1", false),
        ] {
            let mut story = Story::new();
            let job = story.offer(0, Kind::Versioned, |offered| offered.by = producer);
            story.accepted(1, &job);
            story.start_version(10, worker, &job, 1, Some(version));
            story.end(20, worker, &job, 1, How::Ok);
            if lawful {
                story.is_lawful();
            } else {
                story.breaks("I19");
            }
        }
    }

    #[test]
    fn a_newer_envelope_runs_on_newer_workers() {
        let mut story = Story::new();
        let job = story.offer(0, Kind::Unique, |offered| offered.unique = Some("key"));
        story.accepted(1, &job);
        story.run(10, "w3.1", &job, 1);
        story.breaks("I19");
    }

    #[test]
    fn the_unknown_waits() {
        for (start, parked, lawful) in
            [(9100, true, true), (100, true, false), (9100, false, false)]
        {
            let mut story = Story::new();
            let job = story.enqueue(0, Kind::Unknown);
            story.snapshot(50, |seen| seen.stream.push((job.id, None)));
            if start > 100 {
                story.snapshot(2000, |seen| {
                    if parked {
                        seen.parked.push(job.id);
                        seen.payloads.push(job.id);
                    } else {
                        seen.stream.push((job.id, None));
                    }
                });
            }
            story.write(9000, "conductor", Event::Quiet);
            story.run(start, "w1.1", &job, 1);
            if lawful {
                story.is_lawful();
            } else {
                story.breaks("I19");
            }
        }
    }
}

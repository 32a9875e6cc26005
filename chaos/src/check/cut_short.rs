//! I3 and I7: a run is cut short for a reason.

use super::evidence::Evidence;
use crate::{
    history::{How, Kind},
    report::Violation,
};

/// I3, and I7 for long jobs: a handler is cancelled, or its future dropped, for a cause.
///
/// Each may be when its process was told to end, or somebody has asked to cancel the job. Handlers that obey their token may be
/// when the process cannot have reached Redis for most of a lease (also by an outage of
/// Redis), counting the time until a beat succeeds again; long jobs, which do not, only
/// when it lost its lease; once-jobs never.
pub(super) fn cancellations_have_causes(evidence: &Evidence) -> Vec<Violation> {
    let faults = &evidence.faults;
    let mut found = Vec::new();
    for job in evidence.jobs.values() {
        for run in &job.runs {
            let Some((at, How::Cancelled)) = run.end else {
                continue;
            };
            let told = faults.told_to_end(&run.by).is_some_and(|told| told <= at);
            let (name, excused) = match job.kind {
                Kind::Once => ("I3", false),
                Kind::Long => ("I7", faults.lost_lease(&run.by, run.at, at)),
                _ => ("I3", faults.doubts(&run.by, at)),
            };
            let asked = job.cancelled_from() <= at;
            if !told && !excused && !asked {
                let sentence = format!("was cancelled on {} without a cause", run.by);
                found.push(job.violates(name, at, sentence));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use crate::{
        check::story::Story,
        history::{CancelAnswer, Fault, How, Kind},
    };

    #[test]
    fn a_cancelled_run_needs_a_cause() {
        let mut story = Story::new();
        let job = story.enqueue(0, Kind::Plain);
        story.start(10, "w1.1", &job, 1);
        story.end(20, "w1.1", &job, 1, How::Cancelled);
        story.run(300, "w2.1", &job, 1);
        story.breaks("I3");
    }

    #[test]
    fn a_request_is_a_cause() {
        for (asked, lawful) in [(15, true), (25, false)] {
            let mut story = Story::new();
            let job = story.enqueue(0, Kind::Plain);
            story.start(10, "w1.1", &job, 1);
            story.end(20, "w1.1", &job, 1, How::Cancelled);
            story.cancel(asked, &job, CancelAnswer::Asked);
            story.end.snapshot.cancelled = 1;
            story.judge(lawful, "I3");
        }
    }

    #[test]
    fn an_outage_of_redis_cancels_only_what_obeys() {
        for (kind, broken) in [
            (Kind::Plain, None),
            (Kind::Long, Some("I7")),
            (Kind::Once, Some("I3")),
        ] {
            let mut story = Story::new();
            let job = story.enqueue(900, kind);
            story.start(1000, "w1.1", &job, 1);
            story.fault(1010, 4000, Fault::RedisPause, "redis");
            story.end(2700, "w1.1", &job, 1, How::Cancelled);
            story.run(4500, "w2.1", &job, 1);
            if kind == Kind::Once {
                story.end.effects.push((job.id, job.serial));
            }
            match broken {
                None => story.is_lawful(),
                Some(invariant) => story.breaks(invariant),
            }
        }
    }
}

//! I16: each priority has its share of a worker's starts, so none waits for ever.

use std::collections::BTreeMap;

use super::evidence::{Evidence, Job, runs};
use crate::{
    history::{Kind, Level, Micros},
    report::Violation,
};

/// Of so many starts of a worker, while jobs of all priorities wait, each has its weight.
const ROUND: usize = 7;
/// So many starts a worker may give before it looks for a priority that had nothing before:
/// what it had fetched ahead, with as many slots.
const AHEAD: usize = 6;
/// Several runners may begin what they took in another order.
const MIXED: usize = 1;
/// From the answer to a producer until any worker's next look can have found the job.
const SEEN: Micros = 50_000;

/// A start on one worker.
struct Start {
    at: Micros,
    level: Level,
    /// It is its job's first: what is tried again, or was with a worker that is gone, need not
    /// wait for its turn.
    first: bool,
}

/// I16: while a job waits, the worker that will start it gives its priority the share that it
/// is due: four of seven starts to high ones, two to normal ones, one to low ones.
///
/// So a high job does not wait for a backlog of others, and a low one not for ever. Judged is
/// the queue that is served slowly, where jobs wait for each other, in times in which no fault
/// has any effect: a worker that takes over from others has more in hand, and runs suspects
/// out of turn. What a worker has fetched ahead is allowed for.
pub(super) fn each_level_has_its_share(evidence: &Evidence) -> Vec<Violation> {
    let mut starts: BTreeMap<&str, Vec<Start>> = BTreeMap::new();
    for (job, run) in runs(evidence).filter(|(job, _)| job.kind == Kind::Bounded) {
        starts.entry(&run.by).or_default().push(Start {
            at: run.at,
            level: job.level(),
            first: job.runs.first().is_some_and(|first| first.at == run.at),
        });
    }
    let mut found = Vec::new();
    for (job, from, (worker, to)) in waits(evidence) {
        let starts = starts.get(worker).into_iter().flatten();
        let meanwhile = starts.filter(|start| from < start.at && start.at < to);
        let (mut all, mut own) = (0, 0);
        for start in meanwhile {
            all += usize::from(start.first);
            own += usize::from(start.level == job.level());
        }
        let due = all.saturating_sub(AHEAD) * weight(job.level()) / ROUND;
        if due > own + MIXED && evidence.faults.calm(from, to) {
            let sentence = format!(
                "waited {} ms for {worker}, which started {all} jobs meanwhile and {own} of its \
                 priority ({:?}); {due} were due",
                (to - from) / 1000,
                job.level()
            );
            found.push(job.violates("I16", to, sentence));
        }
    }
    found
}

/// Jobs that were ready at once, since when, and where and when they first started.
fn waits<'a>(evidence: &'a Evidence) -> impl Iterator<Item = (&'a Job, Micros, (&'a str, Micros))> {
    evidence.jobs.values().filter_map(|job| {
        let offer = job.offer.as_ref()?;
        let run = job.runs.first()?;
        let ready = job.kind == Kind::Bounded && offer.due.is_none();
        let since = job.in_redis_since().filter(|_| ready)?;
        Some((job, since + SEEN, (&*run.by, run.at)))
    })
}

fn weight(level: Level) -> usize {
    match level {
        Level::High => 4,
        Level::Normal => 2,
        Level::Low => 1,
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        check::story::Story,
        history::{Fault, Kind, Level},
    };

    /// A job that waits while its worker starts others, by their priorities.
    fn waits(level: Level, others: &[Level]) -> Story {
        let mut story = Story::new();
        let offer = |story: &mut Story, level| {
            let job = story.offer(100, Kind::Bounded, |offered| offered.extras.level = level);
            story.accepted(101, &job);
            job
        };
        let others: Vec<_> = others.iter().map(|of| offer(&mut story, *of)).collect();
        let job = offer(&mut story, level);
        for (at, other) in (200..).step_by(20).zip(&others) {
            story.run(at, "w1.1", other, 1);
        }
        story.run(1900, "w1.1", &job, 1);
        story
    }

    #[test]
    fn a_high_job_does_not_wait_for_a_backlog() {
        use Level::{High, Low, Normal};
        waits(High, &[Normal; 9]).is_lawful();
        for others in [[Normal; 12], [Low; 12]] {
            waits(High, &others).breaks("I16");
        }
        waits(High, &[High; 40]).is_lawful();
    }

    #[test]
    fn a_low_job_does_not_wait_for_ever() {
        use Level::{High, Low};
        waits(Low, &[High; 19]).is_lawful();
        waits(Low, &[High; 20]).breaks("I16");
        let in_turn = [High, High, High, High, High, High, Low];
        waits(Low, &in_turn.repeat(8)).is_lawful();
    }

    #[test]
    fn after_a_fault_there_is_no_order() {
        let mut story = waits(Level::High, &[Level::Normal; 30]);
        story.fault(50, 60, Fault::Disconnect, "redis");
        story.is_lawful();
        let mut story = waits(Level::High, &[Level::Normal; 30]);
        story.fault(7000, 7100, Fault::Disconnect, "redis");
        story.breaks("I16");
    }
}

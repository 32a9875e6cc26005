//! I9: what kills its workers ends as a dead letter, and takes no other job with it.

use std::collections::BTreeMap;

use queue::JobId;

use super::evidence::{Evidence, Job, Run};
use crate::{
    history::{Kind, Micros},
    report::Violation,
};

/// Runs that ended with their worker, below which no job is taken for poison: the
/// deliveries before may have been to workers that died before it started.
const LEAST_LOST_RUNS: usize = 3;

/// I9: a job that kills its worker is started `poison_after` times at most.
///
/// A start may be forgotten in a failover. It is then a dead letter for `crash`. Fewer starts are right only where as many
/// workers died for other reasons, or lost their lease, while it was in the queue:
/// deliveries to them count too. That it ends at all is I1.
pub(super) fn poison_is_limited(evidence: &Evidence) -> Vec<Violation> {
    let limit = usize::try_from(evidence.end.poison_after).unwrap_or(usize::MAX);
    let mut found = Vec::new();
    for job in evidence
        .jobs
        .values()
        .filter(|job| job.kind == Kind::Poison)
    {
        let starts = job.runs.len();
        let at = job.runs.last().map_or(job.since(), |run| run.at);
        let again = job.runs.iter();
        let again = again.filter(|run| evidence.faults.undone((run.at, run.at), Micros::MAX));
        if starts > limit + again.count() {
            let sentence = format!("poison was started {starts} times, {limit} are allowed");
            found.push(job.violates("I9", at, sentence));
        }
        let Some((_, letter)) = evidence.letters.get(&job.id) else {
            continue;
        };
        if letter.why != "crash" {
            let sentence = format!(
                "poison is a dead letter for {:?}, not for a crash",
                letter.why
            );
            found.push(job.violates("I9", at, sentence));
        }
        let others = other_losses(evidence, job);
        if starts + others < limit {
            let sentence = format!(
                "poison was buried after {starts} starts instead of {limit}, \
                 and only {others} workers were lost otherwise"
            );
            found.push(job.violates("I9", at, sentence));
        }
    }
    found
}

/// I9: no other job is a dead letter for `crash`, unless at least three of its own
/// runs ended with the death of their worker or the loss of its lease.
///
/// Of the deaths that one poisonous job caused only two count, because from its third
/// delivery on it is apart from other suspects.
pub(super) fn neighbours_survive(evidence: &Evidence) -> Vec<Violation> {
    let mut found = Vec::new();
    for (id, (_, letter)) in &evidence.letters {
        let Some(job) = evidence.jobs.get(id) else {
            continue;
        };
        if job.kind == Kind::Poison || letter.why != "crash" {
            continue;
        }
        let mut by_poison: BTreeMap<JobId, usize> = BTreeMap::new();
        let mut lost = 0;
        for run in job.runs.iter().filter(|run| is_lost(evidence, run)) {
            match killer(evidence, &run.by) {
                Some(poison) => *by_poison.entry(poison).or_default() += 1,
                None => lost += 1,
            }
        }
        lost += by_poison.values().map(|times| times.min(&2)).sum::<usize>();
        if lost < LEAST_LOST_RUNS {
            let at = job.runs.last().map_or(job.since(), |run| run.at);
            let sentence = format!("was buried as poison after {lost} runs that may count as such");
            found.push(job.violates("I9", at, sentence));
        }
    }
    found
}

/// Whether a run ended with its worker, or with the worker's lease.
fn is_lost(evidence: &Evidence, run: &Run) -> bool {
    let died = run.end.is_none() && evidence.faults.death(&run.by).is_some();
    let until = evidence.run_until(run);
    died || evidence.faults.lost_lease(&run.by, run.at, until)
}

/// The poisonous job that killed this process, if one did.
fn killer(evidence: &Evidence, process: &str) -> Option<JobId> {
    let mut jobs = evidence.jobs.values();
    let poison = jobs.find(|job| {
        let mut runs = job.runs.iter();
        job.kind == Kind::Poison && runs.any(|run| run.by == process && run.end.is_none())
    });
    poison.map(|job| job.id)
}

/// Deaths and lost leases of workers while a job was in the queue, but for those that
/// it caused.
fn other_losses(evidence: &Evidence, job: &Job) -> usize {
    let buried = evidence.letters.get(&job.id).map(|(seen, _)| *seen);
    let life = job.since()..=buried.unwrap_or(evidence.last);
    let caused = |process: &str| job.runs.iter().any(|run| run.by == process);
    let deaths = evidence.faults.deaths();
    let deaths = deaths
        .filter(|(process, death)| {
            process.starts_with('w') && !caused(process) && life.contains(&death.at)
        })
        .count();
    let leases = evidence
        .workers()
        .flat_map(|(process, _)| evidence.faults.lost_leases(process));
    deaths
        + leases
            .filter(|(_, earliest)| life.contains(earliest))
            .count()
}

#[cfg(test)]
mod tests {
    use crate::{
        check::story::{Story, Told, letter},
        history::{Fault, How, Kind, Release},
    };

    const LIVES: [&str; 6] = ["w1.1", "w1.2", "w1.3", "w1.4", "w1.5", "w1.6"];

    /// A job that kills the first worker in each of so many lives.
    fn killer(story: &mut Story, kind: Kind, starts: usize) -> Told {
        let job = story.enqueue(0, kind);
        for (life, at) in LIVES.iter().zip((10..).step_by(2800)).take(starts) {
            if at > 10 {
                story.up(at - 5, life, Release::New);
            }
            story.start(at, life, &job, 1);
            story.exit(at + 5, life, None);
        }
        job
    }

    #[test]
    fn poison_is_started_as_often_as_it_may() {
        for (starts, lawful) in [(5, true), (6, false), (4, false)] {
            let mut story = Story::new();
            let job = killer(&mut story, Kind::Poison, starts);
            story.end.snapshot.dead.push(letter(&job, "crash"));
            if lawful {
                story.is_lawful();
            } else {
                story.breaks("I9");
            }
        }
    }

    #[test]
    fn deliveries_to_others_who_died_count() {
        let mut story = Story::new();
        let job = killer(&mut story, Kind::Poison, 4);
        story.kill(5000, "w2.1");
        story.end.snapshot.dead.push(letter(&job, "crash"));
        story.is_lawful();
    }

    #[test]
    fn poison_dies_of_nothing_else() {
        let mut story = Story::new();
        let job = killer(&mut story, Kind::Poison, 5);
        story.end.snapshot.dead.push(letter(&job, "attempts"));
        assert!(story.broken().contains("I9"));
    }

    #[test]
    fn a_neighbour_survives() {
        let mut story = Story::new();
        let job = story.enqueue(0, Kind::Plain);
        story.start(10, "w2.1", &job, 1);
        story.end(30, "w2.1", &job, 1, How::Fail);
        story.end.snapshot.dead.push(letter(&job, "crash"));
        story.breaks("I9");
    }

    #[test]
    fn one_poison_does_not_bury_its_neighbour() {
        let mut story = Story::new();
        let poison = killer(&mut story, Kind::Poison, 5);
        let job = story.enqueue(0, Kind::Plain);
        for (life, at) in LIVES.iter().zip((9..).step_by(2800)).take(5) {
            story.start(at, life, &job, 1);
        }
        let dead = &mut story.end.snapshot.dead;
        dead.extend([letter(&poison, "crash"), letter(&job, "crash")]);
        story.breaks("I9");
    }

    #[test]
    fn who_lost_three_workers_may_be_taken_for_poison() {
        let mut story = Story::new();
        let job = story.enqueue(0, Kind::Plain);
        for (life, at) in LIVES.iter().zip((10..).step_by(2800)).take(5) {
            if at > 10 {
                story.up(at - 5, life, Release::New);
            }
            story.start(at, life, &job, 1);
            story.fault(at + 1, at + 1, Fault::Kill, life);
            story.exit(at + 5, life, None);
        }
        story.end.snapshot.dead.push(letter(&job, "crash"));
        story.is_lawful();
    }
}

//! I2: the effects of once-jobs happen once.

use std::collections::BTreeMap;

use queue::JobId;

use super::evidence::Evidence;
use crate::{history::Kind, report::Violation};

/// I2: a committed once-job has exactly one row of effects, whatever Redis lost.
///
/// A dead letter has at most one: its last worker may have died after the commit.
/// So has a job whose commit was not confirmed and that never ran. Jobs that were
/// enqueued directly and mark their effects as done have at most one, and exactly one
/// unless they are dead, cancelled, or Redis lost them with its data. Nobody else has any.
pub(super) fn effects_happen_once(evidence: &Evidence) -> Vec<Violation> {
    let mut rows: BTreeMap<JobId, usize> = BTreeMap::new();
    for (id, _) in &evidence.end.effects {
        *rows.entry(*id).or_default() += 1;
    }
    let mut found = Vec::new();
    for job in evidence.jobs.values() {
        let count = rows.remove(&job.id).unwrap_or(0);
        let at = job.runs.last().map_or(job.since(), |run| run.at);
        let owed = job.is_accepted() && !evidence.dead.contains_key(&job.id);
        let (least, most) = match job.kind {
            Kind::Once => (usize::from(owed), 1),
            Kind::Done => (
                usize::from(owed && !evidence.may_be_lost(job) && !job.may_be_cancelled()),
                1,
            ),
            _ => (0, 0),
        };
        if count < least || count > most {
            let sentence = format!("has {count} rows of effects instead of {least}");
            let sentence = if count > most {
                format!("has {count} rows of effects, at most {most} are right")
            } else {
                sentence
            };
            found.push(job.violates("I2", at, sentence));
        }
    }
    for (id, count) in rows {
        let sentence = format!("has {count} rows of effects, and nobody offered or ran it");
        found.push(Violation::new("I2", sentence).job(id));
    }
    found
}

/// I2: at the end the outbox is empty, but for the tokens of dead letters.
pub(super) fn outbox_is_empty(evidence: &Evidence) -> Vec<Violation> {
    let rows = evidence.end.outbox.iter();
    rows.filter(|(id, _)| !evidence.dead.contains_key(id))
        .map(|(id, state)| {
            let sentence = format!("is still in the outbox, in state {state}");
            Violation::new("I2", sentence).at(evidence.last).job(*id)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use crate::{
        check::story::{Story, letter},
        history::{Fault, How, Kind},
    };

    #[test]
    fn one_job_has_one_effect() {
        for (rows, lawful) in [(0, false), (1, true), (2, false)] {
            let mut story = Story::new();
            let job = story.enqueue(0, Kind::Once);
            story.run(10, "w1.1", &job, 1);
            story.end.effects = vec![(job.id, job.serial); rows];
            if lawful {
                story.is_lawful();
            } else {
                story.breaks("I2");
            }
        }
    }

    #[test]
    fn the_dead_need_none_and_may_keep_their_token() {
        let mut story = Story::new();
        let job = story.enqueue(0, Kind::Once);
        story.start(10, "w1.1", &job, 1);
        story.end(20, "w1.1", &job, 1, How::Discard);
        story.end.snapshot.dead.push(letter(&job, "discarded"));
        story.end.outbox.push((job.id, 1));
        story.is_lawful();
    }

    #[test]
    fn a_token_of_the_living_must_not_be_left() {
        let mut story = Story::new();
        let job = story.enqueue(0, Kind::Once);
        story.run(10, "w1.1", &job, 1);
        story.end.effects.push((job.id, job.serial));
        story.end.outbox.push((job.id, 1));
        story.breaks("I2");
    }

    #[test]
    fn direct_jobs_that_mark_their_effects_have_one() {
        let mut story = Story::new();
        let job = story.enqueue(0, Kind::Done);
        story.run(10, "w1.1", &job, 1);
        story.end.effects = vec![(job.id, job.serial)];
        story.is_lawful();
        story.end.effects = vec![(job.id, job.serial); 2];
        story.breaks("I2");

        let mut story = Story::new();
        story.enqueue(0, Kind::Done);
        story.fault(20, 300, Fault::RedisLoss, "redis");
        story.is_lawful();
    }

    #[test]
    fn effects_of_nobody_are_found() {
        let mut story = Story::new();
        story.end.effects.push((queue::JobId::new(), 99));
        story.breaks("I2");
    }
}

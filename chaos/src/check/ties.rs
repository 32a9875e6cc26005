//! I1 for jobs that belong together: chains in their order, and what follows a batch.

use std::collections::BTreeMap;

use super::evidence::{Evidence, Job, Run};
use crate::{
    history::{Micros, Serial},
    report::Violation,
};

/// I1: a link of a chain starts when the one before is done, not before, and not when that
/// ended in another way; and where that is done, it does start.
///
/// That it starts no second time is I3. Excused is only that it does not start: where the one
/// before may have been cancelled meanwhile, or is a dead letter because its success was never
/// confirmed, or Redis lost its data, or a failover undid its end.
pub(super) fn links_follow(evidence: &Evidence) -> Vec<Violation> {
    let jobs = by_serial(evidence);
    let mut found = Vec::new();
    for (serial, offer) in &evidence.offers {
        let Some(before) = offer.ties.after else {
            continue;
        };
        let (before, link) = (jobs.get(&before), jobs.get(serial));
        let done = before.and_then(|job| job.done_at());
        if let Some((link, run)) = link.and_then(|link| Some((link, link.runs.first()?))) {
            if done.is_none_or(|done| done > run.at) {
                let sentence = "started, but the link before it was not done";
                found.push(link.violates("I1", run.at, sentence));
            }
        } else if let (Some(before), Some(done)) = (before, done) {
            let excused = before.may_be_cancelled()
                || evidence.letters.contains_key(&before.id)
                || is_lost(evidence, before, done);
            if !excused {
                let sentence = "is done, and the link behind it never started";
                found.push(before.violates("I1", done, sentence));
            }
        }
    }
    found
}

/// I1: what follows a batch starts when all members have ended, not before; and where all
/// were accepted, it does start.
///
/// That it starts no second time is I3. Excused are runs of members on a worker that had lost
/// its lease, whose jobs others had ended, or that others had done before; and, if it does not start, losses of Redis' data
/// and failovers that undid something of it.
pub(super) fn batches_are_followed(evidence: &Evidence) -> Vec<Violation> {
    let jobs = by_serial(evidence);
    let mut batches: BTreeMap<Serial, Vec<Serial>> = BTreeMap::new();
    for (serial, offer) in &evidence.offers {
        if let Some(batch) = offer.ties.batch.filter(|batch| batch != serial) {
            batches.entry(batch).or_default().push(*serial);
        }
    }
    let mut found = Vec::new();
    for (follows, members) in batches {
        let known: Vec<&Job> = members
            .iter()
            .filter_map(|of| jobs.get(of).copied())
            .collect();
        let first = jobs
            .get(&follows)
            .and_then(|job| Some((job, job.runs.first()?)));
        if let Some((follower, start)) = first {
            for (member, run) in runs_of(&known) {
                let ended =
                    evidence.run_until(run) <= start.at || member.was_done_before(run, start.at);
                if !ended && !is_fenced(evidence, run) {
                    let sentence = format!("started, but {} of its batch had not ended", member.id);
                    found.push(follower.violates("I1", start.at, sentence));
                }
            }
        } else if members.len() == known.len() && known.iter().all(|job| job.was_answered()) {
            let ended = |job: &Job| job.runs.last().map_or(job.since(), |run| run.at);
            let lost = known.iter().any(|job| is_lost(evidence, job, ended(job)));
            if !lost && let Some(member) = known.first() {
                let sentence = "and all of its batch have ended, and what follows never started";
                found.push(member.violates("I1", evidence.last, sentence));
            }
        }
    }
    found
}

fn by_serial<'a>(evidence: &'a Evidence) -> BTreeMap<Serial, &'a Job> {
    let jobs = evidence.jobs.values();
    jobs.map(|job| (job.serial, job)).collect()
}

fn runs_of<'a>(jobs: &[&'a Job]) -> impl Iterator<Item = (&'a Job, &'a Run)> {
    let jobs = jobs.iter();
    jobs.flat_map(|job| job.runs.iter().map(move |run| (*job, run)))
}

/// Whether a worker went on with a job, or began it, that others may have ended meanwhile.
fn is_fenced(evidence: &Evidence, run: &Run) -> bool {
    let until = evidence.run_until(run).min(evidence.last);
    let faults = &evidence.faults;
    faults.lost_lease(&run.by, run.at, until) || faults.was_frozen(&run.by, run.at)
}

/// Whether Redis may have forgotten a job, or that it ended at this moment.
fn is_lost(evidence: &Evidence, job: &Job, ended: Micros) -> bool {
    let faults = &evidence.faults;
    let landed = |run: &Run| run.end.map(|(at, _)| faults.outcome_landed(&run.by, at).0);
    let landed = job.runs.iter().filter_map(landed).max().unwrap_or(ended);
    faults.losses(job.since(), Micros::MAX).next().is_some()
        || evidence.was_undone(job, Micros::MAX)
        || faults.undone((ended, landed), Micros::MAX)
}

impl Job {
    /// Its producer was told that it is accepted.
    fn was_answered(&self) -> bool {
        let answer = self.offer.as_ref().map(|offer| offer.answer);
        answer == Some(super::evidence::Answer::Accepted(self.id))
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        check::story::{Story, Told, letter},
        history::{Fault, How, Kind},
    };

    /// A chain of two, whose first is accepted.
    fn chain(story: &mut Story) -> (Told, Told) {
        let first = story.offer(0, Kind::Link, |offered| offered.extras.tied = true);
        let second = story.offer(0, Kind::Link, |offered| {
            offered.ties.after = Some(first.serial);
        });
        story.accepted(1, &first);
        (first, second)
    }

    #[test]
    fn links_come_in_their_order() {
        for (at, lawful) in [(30, true), (15, false)] {
            let mut story = Story::new();
            let (first, second) = chain(&mut story);
            story.run(10, "w1.1", &first, 1);
            story.run(at, "w2.1", &second, 1);
            story.judge(lawful, "I1");
        }
    }

    #[test]
    fn a_link_that_died_ends_its_chain() {
        for (follows, lawful) in [(false, true), (true, false)] {
            let mut story = Story::new();
            let (first, second) = chain(&mut story);
            story.start(10, "w1.1", &first, 1);
            story.end(20, "w1.1", &first, 1, How::Discard);
            story.end.snapshot.dead.push(letter(&first, "discarded"));
            if follows {
                story.run(30, "w1.1", &second, 1);
            }
            story.judge(lawful, "I1");
        }
    }

    #[test]
    fn a_link_that_is_done_is_followed() {
        let mut story = Story::new();
        let (first, _) = chain(&mut story);
        story.run(10, "w1.1", &first, 1);
        story.breaks("I1");
        story.fault(30, 200, Fault::RedisLoss, "redis");
        story.is_lawful();
    }

    /// A batch of two, and what follows it.
    fn batch(story: &mut Story) -> [Told; 3] {
        let jobs =
            [3, 2, 1].map(|_| story.offer(0, Kind::Member, |offered| offered.extras.tied = true));
        let last = jobs[2].serial;
        for record in &mut story.records {
            if let crate::history::Event::Offer { ties, .. } = &mut record.event {
                ties.batch = Some(last);
            }
        }
        story.accepted(1, &jobs[0]);
        story.accepted(1, &jobs[1]);
        jobs
    }

    #[test]
    fn a_member_that_was_done_before_has_ended() {
        for (how, lawful) in [(How::Ok, true), (How::Cancelled, false)] {
            let mut story = Story::new();
            let [one, two, follows] = batch(&mut story);
            story.run(10, "w1.1", &one, 1);
            story.start(10, "w2.1", &two, 1);
            story.end(60, "w2.1", &two, 1, how);
            story.fault(20, 4300, Fault::SwallowReplies, "w2.1");
            story.start(3800, "w1.1", &two, 1);
            story.end(4600, "w1.1", &two, 1, How::Ok);
            story.run(4400, "w1.1", &follows, 1);
            story.judge(lawful, "I1");
        }
    }

    #[test]
    fn what_follows_a_batch_waits_for_all() {
        for (at, lawful) in [
            (Some(60), true),
            (Some(45), false),
            (Some(15), false),
            (None, false),
        ] {
            let mut story = Story::new();
            let [one, two, follows] = batch(&mut story);
            story.run(10, "w1.1", &one, 1);
            story.run(40, "w2.1", &two, 1);
            if let Some(at) = at {
                story.run(at, "w1.1", &follows, 1);
            }
            story.judge(lawful, "I1");
        }
    }

    #[test]
    fn who_lost_its_lease_may_go_on() {
        for (fault, lawful) in [(Fault::Stop, true), (Fault::Cut, false)] {
            let mut story = Story::new();
            let [one, two, follows] = batch(&mut story);
            story.start(10, "w1.1", &one, 1);
            story.fault(20, 4000, fault, "w1.1");
            story.start(2900, "w2.1", &one, 1);
            story.end(2910, "w2.1", &one, 1, How::Ok);
            story.run(40, "w2.1", &two, 1);
            story.run(3000, "w2.1", &follows, 1);
            story.end(4010, "w1.1", &one, 1, How::Cancelled);
            assert_eq!(!story.broken().contains("I1"), lawful);
        }
    }
}

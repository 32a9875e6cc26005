//! I14: no more jobs run at once, or start in a time, than was said of a key or a queue.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    evidence::{Evidence, Job, Run, runs},
    starts::{came_again, went_back},
};
use crate::{history::Micros, report::Violation};

/// From a worker's fetch to the start that was paid for by it.
const LATER: Micros = 200_000;
/// How long a job may wait beside a free slot: as long as a script takes.
const AT_ONCE: Micros = 1_000_000;

/// I14: of the jobs with a key no more run at once than it says.
pub(super) fn limits_of_keys_are_kept(evidence: &Evidence) -> Vec<Violation> {
    let mut keys: BTreeMap<(&str, u64), Vec<(&Job, &Run)>> = BTreeMap::new();
    for (job, run) in runs(evidence) {
        let offer = job.offer.as_ref();
        if let Some((key, most)) = offer.and_then(|offer| offer.extras.slot.as_ref()) {
            let key = (&**key, u64::from(*most));
            keys.entry(key).or_default().push((job, run));
        }
    }
    let keys = keys.into_iter();
    keys.flat_map(|((key, most), runs)| at_once(evidence, key, most, &runs))
        .collect()
}

/// I14: of the jobs of a queue with a gate no more run at once than that says.
pub(super) fn gates_are_kept(evidence: &Evidence) -> Vec<Violation> {
    let mut found = Vec::new();
    for (queue, gate) in &evidence.end.gates {
        let of_queue = runs(evidence).filter(|(job, _)| job.kind.queue() == queue);
        let of_queue: Vec<_> = of_queue.collect();
        found.extend(at_once(evidence, queue, gate.most, &of_queue));
    }
    found
}

/// More than so many of these runs at once.
///
/// A run lasts from its start to its end, or to the death of its process. Excused are, as for
/// the runs of one job (I6), processes that stood still or had lost their lease, whose jobs
/// others had, and what comes after Redis lost its data, or a failover undid that a job had
/// been started. So is the second run of a job that was done before: who lost its entry may
/// still say so, and then the place is the next one's.
fn at_once(evidence: &Evidence, name: &str, most: u64, runs: &[(&Job, &Run)]) -> Vec<Violation> {
    let faults = &evidence.faults;
    let mut found = Vec::new();
    for (job, run) in runs {
        let others = runs.iter().filter(|(other, beside)| {
            let goes_on = beside.at <= run.at && evidence.run_until(beside) > run.at;
            let again =
                came_again(evidence, other, beside, run) || went_back(evidence, beside, run);
            let fenced = faults.lost_lease(&beside.by, beside.at, run.at)
                || faults.was_frozen(&beside.by, beside.at);
            goes_on
                && other.id != job.id
                && !again
                && !other.was_done_before(beside, run.at)
                && !fenced
                && faults.losses(beside.at, run.at).next().is_none()
                && !faults.undone((beside.at, beside.at), run.at)
        });
        let others = others
            .map(|(other, _)| other.id)
            .collect::<BTreeSet<_>>()
            .len() as u64;
        if others >= most && !faults.was_frozen(&run.by, run.at) {
            let sentence = format!("started beside {others} others of {name}, which has {most}");
            found.push(job.violates("I14", run.at, sentence));
        }
    }
    found
}

/// I14: in no time start more jobs of a queue with a gate than its rate allows.
///
/// Judged in calm times: what is taken over from the dead starts at once, and is paid for
/// afterwards. What this machine stood still is added.
pub(super) fn rates_are_kept(evidence: &Evidence) -> Vec<Violation> {
    let mut found = Vec::new();
    for (queue, gate) in &evidence.end.gates {
        let of_queue = runs(evidence).filter(|(job, _)| job.kind.queue() == queue);
        let mut starts: Vec<(Micros, &Job)> = of_queue.map(|(job, run)| (run.at, job)).collect();
        starts.sort_by_key(|(at, _)| *at);
        let calm = |from, to| evidence.faults.calm(from, to);
        for (first, (from, _)) in starts.iter().enumerate() {
            for (count, (to, job)) in (1_u64..).zip(&starts[first..]) {
                let time = to - from + LATER + evidence.faults.stalled(*from, *to);
                let most = u64::from(gate.burst) + time * u64::from(gate.per_second) / 1_000_000;
                if count > most && calm(*from, *to) {
                    let sentence = format!(
                        "is start {count} of {queue} in {} ms, and {most} may be",
                        (to - from) / 1000
                    );
                    found.push(job.violates("I14", *to, sentence));
                    return found;
                }
            }
        }
    }
    found
}

/// I14: no job waits for a slot of its key while there is one.
///
/// In no snapshot of calm times are there jobs of a key that wait, and less of it in the stream,
/// which alone can have slots, than it says. Those that are parked count too: who cannot read a
/// job does not know of its slot, which ends when the next asks for one.
pub(super) fn free_slots_are_taken(evidence: &Evidence) -> Vec<Violation> {
    let slot = |id| {
        let offer = evidence.jobs.get(id)?.offer.as_ref()?;
        offer.extras.slot.as_ref()
    };
    let mut found = Vec::new();
    for &(at, snapshot) in &evidence.snapshots {
        if !evidence
            .faults
            .calm(snapshot.asked.saturating_sub(AT_ONCE), at)
        {
            continue;
        }
        for id in &snapshot.blocked {
            let Some(key) = slot(id) else { continue };
            let ready = snapshot.stream.iter().map(|(other, _)| other);
            let ready = ready.chain(&snapshot.parked);
            let ready = ready.filter(|other| slot(other) == Some(key)).count();
            if ready < usize::from(key.1) {
                let sentence = format!("waits for a slot of {}, of which {ready} are taken", key.0);
                found.push(Violation::new("I14", sentence).at(at).job(*id));
                return found;
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use crate::{
        check::story::{Story, Told},
        history::{Fault, Gate, How, Kind},
    };

    fn keyed(story: &mut Story, ms: u64) -> Told {
        let job = story.offer(ms, Kind::Keyed, |offered| {
            offered.extras.slot = Some(("key".to_owned(), 2));
        });
        story.accepted(ms + 1, &job);
        job
    }

    #[test]
    fn a_key_has_its_slots() {
        for (others, lawful) in [(1, true), (2, false)] {
            let mut story = Story::new();
            for _ in 0..others {
                let job = keyed(&mut story, 0);
                story.start(10, "w1.1", &job, 1);
                story.end(100, "w1.1", &job, 1, How::Ok);
            }
            let job = keyed(&mut story, 0);
            story.run(50, "w2.1", &job, 1);
            story.judge(lawful, "I14");
        }
    }

    #[test]
    fn the_dead_and_the_fenced_have_none() {
        for dies in [true, false] {
            let mut story = Story::new();
            for _ in 0..2 {
                let job = keyed(&mut story, 0);
                story.start(10, "w1.1", &job, 1);
                story.run(3000, "w2.1", &job, 1);
                if !dies {
                    story.end(4500, "w1.1", &job, 1, How::Cancelled);
                }
            }
            let job = keyed(&mut story, 0);
            story.run(3020, "w2.1", &job, 1);
            if dies {
                story.kill(20, "w1.1");
            } else {
                story.fault(20, 4400, Fault::Stop, "w1.1");
            }
            story.is_lawful();
        }
    }

    #[test]
    fn nobody_waits_for_a_slot_that_is_free() {
        for (taken, lawful) in [(2, true), (1, false)] {
            let mut story = Story::new();
            let jobs = [0, 1].map(|_| keyed(&mut story, 0));
            let waits = keyed(&mut story, 0);
            story.snapshot(5, |seen| {
                for job in &jobs[..taken] {
                    seen.stream.push((job.id, None));
                }
                for job in jobs[taken..].iter().chain([&waits]) {
                    seen.blocked.push(job.id);
                    seen.payloads.push(job.id);
                }
            });
            for (at, job) in [10, 30, 50].into_iter().zip([&jobs[0], &jobs[1], &waits]) {
                story.run(at, "w1.1", job, 1);
            }
            story.judge(lawful, "I14");
        }
    }

    /// Runs of a queue that lets through three at once, and ten in a second.
    fn gated(starts: &[u64], ms: u64) -> Story {
        let mut story = Story::new();
        let gate = Gate {
            most: 3,
            per_second: 10,
            burst: 2,
        };
        story.end.gates.insert("gated".to_owned(), gate);
        for at in starts {
            let job = story.enqueue(0, Kind::Gated);
            story.start(*at, "w1.1", &job, 1);
            story.end(at + ms, "w1.1", &job, 1, How::Ok);
        }
        story
    }

    #[test]
    fn a_gate_lets_through_so_many_at_once() {
        gated(&[10, 110, 210], 900).is_lawful();
        gated(&[10, 110, 210, 310], 900).breaks("I14");
    }

    #[test]
    fn a_job_that_was_done_before_gives_its_place_up() {
        for (how, lawful) in [(How::Ok, true), (How::Cancelled, false)] {
            let mut story = gated(&[4000, 4100], 900);
            let twice = story.enqueue(0, Kind::Gated);
            story.start(10, "w2.1", &twice, 1);
            story.end(60, "w2.1", &twice, 1, how);
            story.fault(20, 4300, Fault::SwallowReplies, "w2.1");
            story.start(3800, "w1.1", &twice, 1);
            story.end(4600, "w1.1", &twice, 1, How::Ok);
            let next = story.enqueue(0, Kind::Gated);
            story.run(4400, "w3.1", &next, 1);
            story.judge(lawful, "I14");
        }
    }

    #[test]
    fn a_gate_lets_through_so_many_in_a_time() {
        gated(&[10, 20, 110, 210, 310, 410], 5).is_lawful();
        gated(&[10, 11, 12, 13, 14, 15, 16], 0).breaks("I14");
    }
}

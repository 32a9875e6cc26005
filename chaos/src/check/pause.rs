//! I15: a paused queue starts nothing, and loses and counts nothing by it.

use std::collections::BTreeSet;

use queue::JobId;

use super::evidence::{Evidence, Pause, runs};
use crate::{
    history::{Kind, Micros, Release},
    report::Violation,
};

/// A worker's tick reads the flag as often.
const TICK: Micros = 100_000;
/// The tick's way to Redis and back, with room for a busy machine.
const TRIP: Micros = 150_000;
/// How long after the end of a pause some job of the queue has started.
const AGAIN: Micros = 1_500_000;
/// How long before the end of its connection a process that dies may have said its last word.
const DYING: Micros = 1_000_000;
/// So many jobs must have waited: one or two may have a reason of their own to wait on.
const WAITED: usize = 5;

/// When a worker that can reach Redis knows of what was acknowledged at a moment.
pub(super) fn known(evidence: &Evidence, from: Micros, at: Micros) -> Micros {
    from + TICK + TRIP + evidence.faults.stalled(from, at)
}

/// I15: nothing of a queue starts later than a tick and a round trip after its pause
/// was acknowledged, until its end is asked for.
///
/// What this machine stood still is added. Excused are workers that could not reach
/// Redis, until a second after they could, and what starts after Redis has lost its
/// data, or a failover has undone it, and the flag with them.
pub(super) fn paused_queues_start_nothing(evidence: &Evidence) -> Vec<Violation> {
    let faults = &evidence.faults;
    let mut found = Vec::new();
    for pause in &evidence.pauses {
        for (job, run) in runs(evidence) {
            if job.kind.queue() != pause.queue
                || run.at >= pause.to
                || run.at <= known(evidence, pause.from, run.at)
            {
                continue;
            }
            let lost = faults.losses(pause.from, run.at).next().is_some()
                || faults.undone((pause.from, pause.from), run.at);
            if !lost && !faults.is_cut_off(&run.by, run.at) {
                let sentence = format!(
                    "started on {} {} ms after {} was paused",
                    run.by,
                    (run.at - pause.from) / 1000,
                    pause.queue
                );
                found.push(job.violates("I15", run.at, sentence));
            }
        }
    }
    found
}

/// I15: where jobs have waited for the end of a pause, some start soon after it.
///
/// Judged where a worker of this release is undisturbed meanwhile, and Redis has kept its
/// data. That nothing is lost is I1 and I20.
pub(super) fn resumed_queues_start_again(evidence: &Evidence) -> Vec<Violation> {
    let mut found = Vec::new();
    for pause in &evidence.pauses {
        let until = pause.resumed.saturating_add(AGAIN);
        let helped = evidence.workers().any(|(process, life)| {
            life.release == Release::New
                && life.up < pause.from
                && evidence.faults.is_at_work(process, pause.resumed, until)
        });
        let lost = evidence.faults.losses(pause.from, until).next().is_some()
            || evidence.faults.undone((pause.from, until), until);
        let started = runs(evidence).any(|(job, run)| {
            job.kind.queue() == pause.queue && (pause.to..=until).contains(&run.at)
        });
        if helped && !lost && !started && until < evidence.last && waited(evidence, pause) >= WAITED
        {
            let sentence = format!(
                "{} was resumed, and nothing of it started within {} ms",
                pause.queue,
                AGAIN / 1000
            );
            found.push(Violation::new("I15", sentence).at(until));
        }
    }
    found
}

/// How many jobs that any worker knows were ready, and had not started, at the end of a pause.
fn waited(evidence: &Evidence, pause: &Pause) -> usize {
    let jobs = evidence.jobs.values();
    let waiting = jobs.filter(|job| {
        let ready = job.in_redis_since().is_some_and(|since| since < pause.to);
        let due = job.offer.as_ref().and_then(|offer| offer.due);
        matches!(job.kind, Kind::Plain | Kind::Done | Kind::Bounded)
            && job.kind.queue() == pause.queue
            && !job.may_be_parked()
            && ready
            && due.is_none()
            && job.cancelled_from() > pause.resumed
            && job.runs.first().is_none_or(|run| run.at > pause.to)
    });
    waiting.count()
}

/// I15: what is handed back for a pause is not counted as delivered.
///
/// In no snapshot was a job delivered more often than once, and once more for each worker
/// that ended or lost its lease while the job was in the queue. (That attempts are not
/// counted is I3.)
pub(super) fn deliveries_have_causes(evidence: &Evidence) -> Vec<Violation> {
    let faults = &evidence.faults;
    let mut found = Vec::new();
    let mut seen: BTreeSet<JobId> = BTreeSet::new();
    for &(at, snapshot) in &evidence.snapshots {
        for &(id, times) in &snapshot.delivered {
            let Some(job) = evidence.jobs.get(&id) else {
                continue;
            };
            let life = job.since().saturating_sub(DYING)..=at;
            let ended = faults.deaths();
            let ended = ended.filter(|(_, death)| life.contains(&death.at)).count();
            let lost = evidence.workers();
            let lost = lost.filter(|(worker, _)| faults.lost_lease(worker, *life.start(), at));
            let causes = (ended + lost.count()) as u64;
            if times > 1 + causes && seen.insert(id) {
                let sentence =
                    format!("was delivered {times} times, and {causes} workers were lost");
                found.push(job.violates("I15", at, sentence));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use crate::{
        check::story::Story,
        history::{Event, Fault, Kind},
    };

    #[test]
    fn nothing_starts_in_a_pause() {
        for (at, lawful) in [(1200, true), (1400, false), (3010, true)] {
            let mut story = Story::new();
            let job = story.enqueue(900, Kind::Plain);
            story.pause(1000, 3000, "default");
            story.run(at, "w1.1", &job, 1);
            story.judge(lawful, "I15");
        }
    }

    #[test]
    fn other_queues_go_on() {
        let mut story = Story::new();
        let job = story.enqueue(900, Kind::Bounded);
        story.pause(1000, 3000, "default");
        story.run(1500, "w1.1", &job, 1);
        story.is_lawful();
    }

    #[test]
    fn who_cannot_reach_redis_cannot_read_the_flag() {
        for (target, fault, lawful) in [
            ("w1.1", Fault::Refuse, true),
            ("w2.1", Fault::Refuse, false),
            ("redis", Fault::RedisRestart, true),
            ("redis", Fault::ScriptFlush, false),
        ] {
            let mut story = Story::new();
            let job = story.enqueue(900, Kind::Plain);
            story.pause(1000, 3000, "default");
            story.fault(1010, 1600, fault, target);
            story.run(1500, "w1.1", &job, 1);
            story.judge(lawful, "I15");
        }
    }

    #[test]
    fn the_flag_goes_with_the_data_and_a_busy_machine_takes_its_time() {
        let mut story = Story::new();
        story.pause(1000, 3000, "default");
        story.fault(1100, 1200, Fault::RedisLoss, "redis");
        let job = story.enqueue(2000, Kind::Plain);
        story.run(2900, "w1.1", &job, 1);
        story.is_lawful();

        let mut story = Story::new();
        let job = story.enqueue(900, Kind::Plain);
        story.pause(1000, 3000, "default");
        story.run(1400, "w1.1", &job, 1);
        story.write(1390, "w1.1", Event::Stall { ms: 200 });
        story.is_lawful();
    }

    #[test]
    fn what_waited_starts_after_the_pause() {
        for (at, lawful) in [(3500, true), (6000, false)] {
            let mut story = Story::new();
            story.pause(1000, 3000, "default");
            for _ in 0..5 {
                let job = story.enqueue(1500, Kind::Plain);
                story.run(at, "w1.1", &job, 1);
            }
            story.judge(lawful, "I15");
        }
    }

    #[test]
    fn a_delivery_has_a_cause() {
        for (times, killed, lawful) in [(2, true, true), (2, false, false), (3, true, false)] {
            let mut story = Story::new();
            let job = story.enqueue(900, Kind::Plain);
            if killed {
                story.kill(1000, "w2.1");
            }
            story.snapshot(2000, |seen| {
                seen.stream.push((job.id, Some("~".to_owned())));
                seen.delivered.push((job.id, times));
            });
            story.run(3500, "w1.1", &job, 1);
            story.judge(lawful, "I15");
        }
    }
}

//! I11 and I12: schedules and delays.

use std::collections::{BTreeMap, BTreeSet};

use queue::JobId;

use super::{
    asked,
    evidence::{Evidence, Job, runs},
};
use crate::{
    history::{Kind, Micros, Release},
    report::Violation,
};

/// The most that a delayed job may be late, with the exceptions of a 99th percentile.
const LATE: Micros = 150_000;
/// Several ticks of a worker.
const TICKS: Micros = 400_000;
/// A worker follows schedules when it has been up for as long.
const SETTLED: Micros = 2_000_000;
/// A job that is accepted as shortly before its time as this may be later.
const IN_GOOD_TIME: Micros = 500_000;

/// I11: a slot of a schedule has one job, which does not start before the slot.
pub(super) fn slots_fire_once(evidence: &Evidence) -> Vec<Violation> {
    let mut fired: BTreeMap<(&str, Micros), JobId> = BTreeMap::new();
    let mut found = Vec::new();
    for (job, run) in runs(evidence) {
        let Some((name, slot)) = &run.slot else {
            continue;
        };
        if run.at < *slot {
            let sentence = format!("of {name} started {} us before its slot", slot - run.at);
            found.push(job.violates("I11", run.at, sentence));
        }
        if asked::is_asked(evidence, job, run) {
            continue;
        }
        let first = *fired.entry((name, *slot)).or_insert(job.id);
        if first != job.id {
            let sentence = format!("is a second job for one slot of {name}, beside {first}");
            found.push(job.violates("I11", run.at, sentence));
        }
    }
    found
}

/// I11: every slot has a job; where only the latest of a gap is to have one, every slot
/// in which a worker could fire it.
///
/// Looked at are the slots after the first that was fired. A worker of this release (but
/// for the last ones, which follow none) can fire when it has been up for a while and
/// undisturbed for four ticks, and neither it nor Redis was hit shortly before, by a lack
/// of memory neither. Excused are the slots around a loss of Redis' data, which takes the
/// schedules with it, those after it that came before any worker was there to tell
/// Redis of the schedules again, and those whose job was seen in Redis, waiting, before
/// a loss. So are the slots around a failover.
pub(super) fn slots_are_fired(evidence: &Evidence) -> Vec<Violation> {
    let mut fired: BTreeMap<&str, BTreeSet<Micros>> = BTreeMap::new();
    for (job, run) in runs(evidence) {
        if let Some((name, slot)) = run
            .slot
            .as_ref()
            .filter(|_| !asked::is_asked(evidence, job, run))
        {
            fired.entry(name).or_default().insert(*slot);
        }
    }
    let limits = &evidence.faults.limits;
    let mut found = Vec::new();
    for planned in &evidence.end.schedules {
        let period = planned.every_ms * 1000;
        let name = &*planned.name;
        let Some(fired) = fired.get(name) else {
            let sentence = format!("no slot of {name} was ever fired");
            found.push(Violation::new("I11", sentence));
            continue;
        };
        let first = fired.first().copied().unwrap_or_default();
        let slots = std::iter::successors(Some(first), |slot| Some(slot + period));
        for slot in slots.take_while(|slot| slot + period <= evidence.last) {
            let until = if planned.all {
                evidence.last
            } else {
                slot + period
            };
            let around = (
                slot - period - limits.resend,
                slot + 2 * limits.lease + limits.scan,
            );
            let lost = evidence.faults.losses(around.0, around.1).next().is_some()
                || evidence.faults.undone(around, Micros::MAX)
                || evidence
                    .faults
                    .losses(0, slot)
                    .any(|loss| !can_fire(evidence, loss.to, slot))
                || waited_for_loss(evidence, slot);
            if !fired.contains(&slot) && !lost && can_fire(evidence, slot, until) {
                let sentence = format!("the slot {slot} of {name} has no job");
                found.push(Violation::new("I11", sentence).at(slot));
            }
        }
    }
    found
}

/// Whether a job of this slot was in Redis, was never started, and Redis lost its data.
///
/// The first 48 bits of a slot's job are the slot, in ms.
fn waited_for_loss(evidence: &Evidence, slot: Micros) -> bool {
    let of_slot = |id: &JobId| {
        let uuid = id.as_uuid();
        uuid.get_version_num() == 8 && uuid.as_u64_pair().0 >> 16 == slot / 1000
    };
    let mut losses = evidence.faults.losses(slot, Micros::MAX);
    let mut seen = evidence.last_seen.keys();
    losses.next().is_some() && seen.any(|id| of_slot(id) && !evidence.jobs.contains_key(id))
}

/// Whether some worker was there to fire a slot before this time.
pub(super) fn can_fire(evidence: &Evidence, slot: Micros, until: Micros) -> bool {
    let moments = (slot + TICKS / 2..until.saturating_sub(TICKS * 3 / 2)).step_by(100_000);
    moments.into_iter().any(|from| {
        evidence.workers().any(|(process, life)| {
            life.release == Release::New
                && life.up < evidence.quiet
                && life.up + SETTLED <= from
                && evidence.faults.is_at_work(process, from, from + TICKS)
        })
    })
}

/// I12: no job starts before its time. No excuses: all clocks are one machine's.
pub(super) fn none_is_early(evidence: &Evidence) -> Vec<Violation> {
    let mut found = Vec::new();
    for (job, run) in runs(evidence) {
        let due = job.offer.as_ref().and_then(|offer| offer.due);
        if let Some(due) = due
            && run.at < due
        {
            let sentence = format!("started {} us before its time", due - run.at);
            found.push(job.violates("I12", run.at, sentence));
        }
    }
    found
}

/// I12: delayed jobs are at most 150 ms late, 99 of 100.
///
/// Judged are first starts while no fault had any effect, of jobs that were accepted
/// half a second before their time. What this machine stood still is taken off. With
/// less than 100 of them one may be later. Returns the 99th percentile too.
pub(super) fn few_are_late(evidence: &Evidence) -> (Vec<Violation>, Option<Micros>) {
    let mut late: Vec<(Micros, &Job)> = evidence
        .jobs
        .values()
        .filter_map(|job| {
            let offer = job.offer.as_ref()?;
            let (due, run) = (offer.due?, job.runs.first()?);
            let known = matches!(job.kind, Kind::Delayed | Kind::Once | Kind::Plain)
                && !job.may_be_parked();
            let judged =
                known && offer.answered? + IN_GOOD_TIME <= due && evidence.faults.calm(due, run.at);
            let late = run.at.saturating_sub(due);
            judged.then(|| {
                (
                    late.saturating_sub(evidence.faults.stalled(due, run.at)),
                    job,
                )
            })
        })
        .collect();
    late.sort_by_key(|(late, _)| *late);
    let p99 = late
        .len()
        .checked_sub(1 + late.len() / 100)
        .map(|at| late[at].0);
    let allowed = (late.len() / 100).max(1);
    let too_late = late.iter().filter(|(late, _)| *late > LATE).count();
    let mut found = Vec::new();
    if too_late > allowed
        && let Some((worst, job)) = late.last()
    {
        let sentence = format!(
            "{too_late} of {} delayed jobs were more than 150 ms late in calm times; \
             this one was {} ms late",
            late.len(),
            worst / 1000
        );
        let at = job.runs.first().map_or(0, |run| run.at);
        found.push(job.violates("I12", at, sentence));
    }
    (found, p99)
}

#[cfg(test)]
mod tests {
    use crate::{
        check::story::{Story, Told},
        history::{Event, Fault, How, Kind, Planned},
    };

    fn scheduled(serial: u64) -> Told {
        Told {
            serial,
            id: queue::JobId::new(),
            kind: Kind::Scheduled,
        }
    }

    #[test]
    fn a_slot_has_one_job() {
        let mut story = Story::new();
        let job = scheduled(1000);
        story.start_slot(1010, "w1.1", &job, "every", 1000);
        story.end(1020, "w1.1", &job, 1, How::Ok);
        let next = scheduled(1001);
        story.start_slot(2010, "w1.1", &next, "every", 2000);
        story.end(2020, "w1.1", &next, 1, How::Ok);
        story.is_lawful();

        let double = scheduled(1002);
        story.start_slot(2030, "w2.1", &double, "every", 2000);
        story.end(2040, "w2.1", &double, 1, How::Ok);
        story.breaks("I11");
    }

    #[test]
    fn a_slot_is_not_early() {
        let mut story = Story::new();
        let job = scheduled(1000);
        story.start_slot(999, "w1.1", &job, "every", 1000);
        story.end(1020, "w1.1", &job, 1, How::Ok);
        story.breaks("I11");
    }

    #[test]
    fn every_slot_fires_that_can() {
        let fired = |slots: &[u64]| {
            let mut story = Story::new();
            for name in ["one", "all"] {
                story.end.schedules.push(Planned {
                    name: name.to_owned(),
                    every_ms: 1000,
                    all: name == "all",
                });
                for slot in slots {
                    let job = scheduled(slot + name.len() as u64);
                    story.start_slot(slot + 10, "w1.1", &job, name, *slot);
                    story.end(slot + 20, "w1.1", &job, 1, How::Ok);
                }
            }
            story.write(10_500, "conductor", Event::Quiet);
            story
        };
        fired(&[3000, 4000, 5000, 6000, 7000, 8000, 9000]).is_lawful();
        fired(&[3000, 4000, 5000, 7000, 8000, 9000]).breaks("I11");
        let mut story = fired(&[3000, 7000, 8000, 9000]);
        story.fault(3500, 6500, Fault::RedisPause, "redis");
        let report = story.report();
        let sentences = report
            .violations
            .iter()
            .map(|violation| &violation.sentence);
        assert!(sentences.clone().count() == 3, "those of `all`");
        assert!(
            sentences
                .into_iter()
                .all(|sentence| sentence.contains("of all has"))
        );
        let mut story = fired(&[3000, 6000, 7000, 8000, 9000]);
        story.fault(3500, 3600, Fault::RedisLoss, "redis");
        story.is_lawful();
        let mut story = fired(&[3000, 9000]);
        story.fault(3500, 3600, Fault::RedisLoss, "redis");
        story.breaks("I11");
        // Nobody could tell Redis of the schedules again before the slots had passed.
        let mut story = fired(&[3000, 9000]);
        story.fault(3500, 3600, Fault::RedisLoss, "redis");
        story.fault(3700, 8600, Fault::RedisPause, "redis");
        story.is_lawful();
        fired(&[]).breaks("I11");
    }

    fn delayed(story: &mut Story, offered: u64, due: u64, started: u64) {
        let job = story.offer(offered, Kind::Delayed, |offered| offered.due = Some(due));
        story.accepted(offered + 1, &job);
        story.run(started, "w1.1", &job, 1);
    }

    #[test]
    fn none_is_early() {
        let mut story = Story::new();
        delayed(&mut story, 0, 1000, 1000);
        story.is_lawful();
        delayed(&mut story, 0, 1000, 999);
        story.breaks("I12");
    }

    #[test]
    fn one_of_a_hundred_may_be_late() {
        let mut story = Story::new();
        for at in 0..200 {
            delayed(&mut story, at, 1000 + at, 1100 + at);
        }
        delayed(&mut story, 0, 1000, 1500);
        story.is_lawful();
        assert_eq!(story.report().figures.lateness, Some(100_000));
        delayed(&mut story, 0, 1000, 1600);
        story.is_lawful();
        delayed(&mut story, 0, 1000, 1700);
        story.breaks("I12");
    }

    #[test]
    fn faults_and_stalls_make_late() {
        let late = || {
            let mut story = Story::new();
            delayed(&mut story, 0, 1000, 1300);
            delayed(&mut story, 0, 1000, 1310);
            story
        };
        late().breaks("I12");
        let mut faulty = late();
        faulty.fault(900, 1100, Fault::RedisPause, "redis");
        faulty.is_lawful();
        let mut busy = late();
        busy.write(1200, "conductor", Event::Stall { ms: 180 });
        busy.is_lawful();
    }
}

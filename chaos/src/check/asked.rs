//! I11 for schedules that are run now: each answer becomes one job, beside the usual ones.

use super::{
    evidence::{Ask, Evidence, Job, Run, runs},
    times::can_fire,
};
use crate::{history::Micros, report::Violation};

/// The queue counts in ms.
const ROUNDED: Micros = 1000;

/// Whether a run is of a slot that somebody asked for: its schedule has none at that time, or
/// its job was promised.
pub(super) fn is_asked(evidence: &Evidence, job: &Job, run: &Run) -> bool {
    let Some((name, slot)) = &run.slot else {
        return false;
    };
    let mut planned = evidence.end.schedules.iter();
    let planned = planned.find(|planned| planned.name == *name);
    planned.is_some_and(|planned| slot % (planned.every_ms * 1000) != 0)
        || evidence
            .asks
            .iter()
            .any(|ask| ask.answer.is_some_and(|(_, id)| id == Some(job.id)))
}

/// I11: each id that was answered becomes one job, for a time until the answer, which had not
/// begun before it was asked for.
///
/// That it starts once is I3. Excused is what Redis lost with its data, or by a failover, and
/// what no worker with schedules was there for before all was quiet.
pub(super) fn answers_become_jobs(evidence: &Evidence) -> Vec<Violation> {
    let mut found = Vec::new();
    for ask in &evidence.asks {
        let Some((answered, Some(id))) = ask.answer else {
            continue;
        };
        let faults = &evidence.faults;
        let run = evidence.jobs.get(&id).and_then(|job| job.runs.first());
        let until = run.map_or(evidence.last, |run| run.at);
        let lost = faults.losses(ask.at, until).next().is_some()
            || faults.undone((ask.at, answered), evidence.last);
        let sentence = match run.map(|run| (run, &run.slot)) {
            None if evidence.letters.contains_key(&id)
                || !can_fire(evidence, answered, evidence.quiet) =>
            {
                continue;
            }
            None => format!("was promised of {}, and never started", ask.schedule),
            Some((_, Some((name, slot)))) if *name != ask.schedule || *slot > answered => {
                let of = &ask.schedule;
                format!("was promised of {of} by {answered}, and is of {name} at {slot}")
            }
            Some((run, _)) if run.at < ask.at => {
                format!("was promised of {}, but had started before", ask.schedule)
            }
            Some(_) => continue,
        };
        if !lost {
            found.push(Violation::new("I11", sentence).at(answered).job(id));
        }
    }
    found
}

/// I11: a job beside the usual slots of a schedule is one that somebody asked for. No excuses.
pub(super) fn nothing_comes_unasked(evidence: &Evidence) -> Vec<Violation> {
    let mut found = Vec::new();
    for (job, run) in runs(evidence).filter(|(job, run)| is_asked(evidence, job, run)) {
        let Some((name, slot)) = &run.slot else {
            continue;
        };
        let asks = |ask: &Ask| {
            // Without an id, the question may have been heard later.
            let heard = ask.answer.filter(|(_, id)| id.is_some());
            let until = heard.map_or(Micros::MAX, |(at, _)| at);
            ask.schedule == *name && ask.at <= slot + ROUNDED && *slot <= until
        };
        if !evidence.asks.iter().any(asks) {
            let sentence = format!("of {name} at {slot} is no usual slot, and nobody asked for it");
            found.push(job.violates("I11", run.at, sentence));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use queue::JobId;

    use crate::{
        check::story::{Story, Told},
        history::{Event, Fault, How, Kind, Planned},
    };

    /// With the usual slots, an ask at 3.1 s, and its answer if there is one.
    fn story(answered: bool) -> (Story, Told) {
        let mut story = Story::new();
        story.end.schedules.push(Planned {
            name: "one".to_owned(),
            every_ms: 1000,
            all: false,
        });
        for slot in (3000..=9000).step_by(1000) {
            slot_runs(&mut story, "one", slot, slot + 10, &of_schedule(slot));
        }
        story.write(10_500, "conductor", Event::Quiet);
        let job = of_schedule(1);
        ask(&mut story, 3100, 1);
        if answered {
            answer(&mut story, 3102, 1, &job);
        }
        (story, job)
    }

    fn ask(story: &mut Story, ms: u64, ask: u64) {
        let schedule = "one".to_owned();
        story.write(ms, "p1.1", Event::Ask { ask, schedule });
    }

    fn answer(story: &mut Story, ms: u64, ask: u64, job: &Told) {
        let id = Some(job.id);
        story.write(ms, "p1.1", Event::Asked { ask, id });
    }

    fn of_schedule(serial: u64) -> Told {
        Told {
            serial,
            id: JobId::new(),
            kind: Kind::Scheduled,
        }
    }

    fn slot_runs(story: &mut Story, name: &str, slot: u64, at: u64, job: &Told) {
        story.start_slot(at, "w1.1", job, name, slot);
        story.end(at + 5, "w1.1", job, 1, How::Ok);
    }

    #[test]
    fn what_is_promised_comes() {
        for (slot, at, lawful) in [
            (Some(3101), 3150, true),
            (Some(3103), 3150, false),
            (None, 0, false),
        ] {
            let (mut story, job) = story(true);
            if let Some(slot) = slot {
                slot_runs(&mut story, "one", slot, at, &job);
            }
            story.judge(lawful, "I11");
        }
    }

    #[test]
    fn what_is_promised_may_go_with_redis() {
        let (mut story, _) = story(true);
        story.fault(3110, 3200, Fault::RedisLoss, "redis");
        story.is_lawful();
    }

    #[test]
    fn another_ask_is_another_job() {
        for (again, lawful) in [(3120, true), (3200, false)] {
            let (mut story, job) = story(true);
            slot_runs(&mut story, "one", 3101, 3150, &job);
            ask(&mut story, again, 2);
            answer(&mut story, again + 1, 2, &job);
            story.judge(lawful, "I11");
        }
    }

    #[test]
    fn answers_come_in_any_order() {
        for (first, second, lawful) in [(2, 3, true), (3, 2, false)] {
            let (mut story, _) = story(false);
            let jobs = [2, 3].map(of_schedule);
            ask(&mut story, 3200, 2);
            slot_runs(&mut story, "one", 3201, 3250, &jobs[0]);
            ask(&mut story, 3300, 3);
            slot_runs(&mut story, "one", 3301, 3350, &jobs[1]);
            answer(&mut story, 3400, second, &jobs[1]);
            answer(&mut story, 3401, first, &jobs[0]);
            story.judge(lawful, "I11");
        }
    }

    #[test]
    fn nothing_comes_that_nobody_asked_for() {
        for (slot, lawful) in [(3101, true), (5101, true), (2050, false)] {
            let (mut story, _) = story(false);
            slot_runs(&mut story, "one", slot, slot + 100, &of_schedule(2));
            story.judge(lawful, "I11");
        }
    }
}

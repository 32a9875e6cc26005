//! I11 and I12: schedules and delays.

use std::collections::BTreeMap;

use queue::JobId;

use super::evidence::{Evidence, Job, Run};
use crate::{
    history::{Kind, Micros},
    report::Violation,
};

/// The most that a delayed job may be late, with the exceptions of a 99th percentile.
const LATE: Micros = 150_000;
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
        let first = *fired.entry((name, *slot)).or_insert(job.id);
        if first != job.id {
            let sentence = format!("is a second job for one slot of {name}, beside {first}");
            found.push(job.violates("I11", run.at, sentence));
        }
    }
    found
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
            let known = matches!(job.kind, Kind::Delayed | Kind::Once | Kind::Plain);
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

fn runs<'a>(evidence: &'a Evidence) -> impl Iterator<Item = (&'a Job, &'a Run)> {
    let jobs = evidence.jobs.values();
    jobs.flat_map(|job| job.runs.iter().map(move |run| (job, run)))
}

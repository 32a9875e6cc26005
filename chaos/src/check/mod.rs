//! Judges a history: what the queue promises against what was written down.
//!
//! Each invariant is a function from the evidence to its violations. The numbers are
//! those of the design's list; each function says what it looks at and what it excuses.

mod asked;
mod cancel;
mod cut_short;
mod drain;
mod evidence;
mod faults;
mod job;
mod latest;
mod limits;
mod loss;
mod once;
mod overlap;
mod partitions;
mod pause;
mod poison;
mod priorities;
mod recovery;
mod residue;
mod sealed;
mod slots;
mod spans;
mod starts;
mod ties;
mod times;
mod unique;
mod versions;
mod windows;

#[cfg(test)]
mod lawful;
#[cfg(test)]
mod model;
#[cfg(test)]
pub(crate) mod story;

use evidence::Evidence;
pub(crate) use spans::{Span, spans};
pub(crate) use starts::Causes;

use crate::{
    history::{Fault, Final, Kind, Micros, Record},
    report::{Figures, Report, Violation},
};

/// Invariants that need nothing but the evidence.
const INVARIANTS: &[fn(&Evidence) -> Vec<Violation>] = &[
    loss::every_job_ends,
    loss::every_job_ends_once,
    loss::only_offered_jobs_run,
    once::effects_happen_once,
    once::outbox_is_empty,
    cut_short::cancellations_have_causes,
    loss::jobs_are_in_one_place,
    partitions::jobs_stay_in_their_partitions,
    overlap::runs_do_not_overlap,
    overlap::the_doubtful_do_nothing,
    overlap::runners_own_their_jobs,
    poison::poison_is_limited,
    poison::neighbours_survive,
    times::slots_fire_once,
    times::slots_are_fired,
    times::none_is_early,
    asked::answers_become_jobs,
    asked::nothing_comes_unasked,
    unique::one_lives_per_key,
    latest::the_replaced_stay_away,
    latest::the_newest_runs_last,
    ties::links_follow,
    ties::batches_are_followed,
    unique::locks_end_with_their_jobs,
    unique::the_living_have_locks,
    residue::nothing_is_left,
    versions::old_workers_run_what_they_know,
    versions::unknown_jobs_wait,
    sealed::runners_have_the_key,
    sealed::payloads_stay_sealed,
    slots::limits_of_keys_are_kept,
    slots::gates_are_kept,
    slots::rates_are_kept,
    slots::free_slots_are_taken,
    pause::paused_queues_start_nothing,
    priorities::each_level_has_its_share,
    pause::resumed_queues_start_again,
    pause::deliveries_have_causes,
    limits::limits_are_kept,
    limits::refused_jobs_do_not_run,
    limits::full_queues_are_full,
    cancel::removed_jobs_stay_away,
    cancel::the_done_are_not_removed,
    cancel::requests_are_obeyed,
    cancel::the_cancelled_are_counted,
    loss::jobs_are_somewhere,
];

/// Checks every invariant on a history, in whatever order its records are.
pub(crate) fn check(records: &[Record], end: &Final) -> Report {
    let mut records = records.to_vec();
    records.sort_by_key(|record| record.at);
    let evidence = Evidence::new(&records, end);
    let mut violations: Vec<Violation> = INVARIANTS
        .iter()
        .flat_map(|invariant| invariant(&evidence))
        .collect();
    let (doubled, causes) = starts::starts_have_causes(&evidence);
    violations.extend(doubled);
    let (late, recovery) = recovery::recovery_is_quick(&evidence);
    violations.extend(late);
    violations.extend(drain::drains_are_in_time(&evidence, &records));
    violations.extend(drain::processes_end_when_told(&evidence, &records));
    let (late, lateness) = times::few_are_late(&evidence);
    violations.extend(late);
    // By invariant, and the first of each first: the rest often follows from it.
    violations.sort_by_key(|violation| (violation.number(), violation.at));
    let figures = Figures {
        lateness,
        ..count(&evidence, &records)
    };
    Report {
        violations,
        figures,
        recovery,
        causes,
    }
}

fn count(evidence: &Evidence, records: &[Record]) -> Figures {
    let faults = |wanted: &[Fault]| {
        let spans = evidence.faults.spans.iter();
        spans.filter(|span| wanted.contains(&span.fault)).count()
    };
    let starts: usize = evidence.jobs.values().map(|job| job.runs.len()).sum();
    let started = evidence.jobs.values().filter(|job| !job.runs.is_empty());
    let span = |first: &Record| evidence.last - first.at;
    Figures {
        seed: evidence.end.seed,
        seconds: records.first().map_or(0, span) / 1_000_000,
        jobs: evidence.accepted().count(),
        once: evidence
            .accepted()
            .filter(|job| job.kind == Kind::Once)
            .count(),
        dead: evidence.dead.len(),
        lost: evidence
            .accepted()
            .filter(|job| {
                let ended = job.done_at().is_some() || evidence.dead.contains_key(&job.id);
                let replaced = evidence.replaced_from(job) < Micros::MAX;
                !ended && !replaced && !job.may_be_cancelled() && evidence.may_be_lost(job)
            })
            .count(),
        starts,
        restarts: starts - started.count(),
        kills: faults(&[Fault::Kill]),
        stops: faults(&[Fault::Stop]),
        terms: faults(&[Fault::Term]),
        redis_kept: faults(&[Fault::RedisRestart]),
        redis_lost: faults(&[Fault::RedisLoss]),
        failovers: faults(&[Fault::Failover]),
        redis_paused: faults(&[Fault::RedisPause]),
        postgres: faults(&[Fault::PostgresRestart]),
        cuts: faults(&[
            Fault::Cut,
            Fault::Refuse,
            Fault::SwallowReplies,
            Fault::BlackHole,
            Fault::Delay,
            Fault::Disconnect,
        ]),
        pauses: evidence.pauses.len(),
        full: evidence
            .offers
            .values()
            .filter(|offer| {
                matches!(
                    offer.answer,
                    evidence::Answer::Refused { full: Some(_), .. }
                )
            })
            .count(),
        cancelled: usize::try_from(evidence.end.snapshot.cancelled).unwrap_or(usize::MAX),
        oom: faults(&[Fault::RedisOom]),
        snapshots: evidence.snapshots.len(),
        effects: evidence.end.effects.len(),
        lateness: None,
    }
}

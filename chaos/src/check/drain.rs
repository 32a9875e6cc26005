//! I10: a worker that is told to end does so, in time and in order.

use super::{Span, evidence::Evidence};
use crate::{
    history::{Event, Fault, Kind, Micros, Record},
    report::Violation,
};

/// The conductor's look-out for ended processes.
const NOTICED: Micros = 300_000;

/// I10: after SIGTERM a worker exits with code 0 within its deadline.
///
/// Excused: one that was killed after it was told, and one that a poisonous job killed.
/// Faults of it or of Redis that overlap the drain, and what this machine stood still,
/// are added to the deadline. That what it hands back keeps its number of attempts, and that
/// what it finished does not run again, is looked for with I3 and I4.
pub(super) fn drains_are_in_time(evidence: &Evidence, records: &[Record]) -> Vec<Violation> {
    let faults = &evidence.faults;
    let mut found = Vec::new();
    for (process, _) in evidence.workers() {
        let Some(told) = faults.told_to_end(process) else {
            continue;
        };
        let killed = faults
            .spans
            .iter()
            .any(|span| span.fault == Fault::Kill && span.hits(process) && span.target == process);
        if killed || died_of_poison(evidence, process) {
            continue;
        }
        let exit = records.iter().find_map(|record| match &record.event {
            Event::Exited {
                process: of, code, ..
            } if of == process => Some((record.at, *code)),
            _ => None,
        });
        let (at, code) = exit.unwrap_or((evidence.last, Some(0)));
        let took = at.saturating_sub(told);
        let hindered =
            |span: &&Span| span.hits_redis() || span.hits(process) && span.fault != Fault::Term;
        let spans = faults.within(told, at).filter(hindered);
        let lost: Micros = spans
            .map(|span| span.to.min(at) - span.from.max(told) + faults.limits.resend)
            .sum();
        let limit = evidence.end.drain_ms * 1000 + NOTICED + lost + faults.stalled(told, at);
        if took > limit {
            let sentence = format!(
                "{process} took {} ms to end, {} ms too long",
                took / 1000,
                (took - limit) / 1000
            );
            found.push(Violation::new("I10", sentence).at(at).process(process));
        }
        if code != Some(0) {
            let sentence = format!("{process} was told to end, and ended with {code:?}");
            found.push(Violation::new("I10", sentence).at(at).process(process));
        }
    }
    found
}

/// I10: no process ends unless it is told to, killed, or the victim of poison.
pub(super) fn processes_end_when_told(evidence: &Evidence, records: &[Record]) -> Vec<Violation> {
    let mut found = Vec::new();
    for record in records {
        let Event::Exited {
            process,
            code,
            signal,
        } = &record.event
        else {
            continue;
        };
        let told = evidence
            .faults
            .spans
            .iter()
            .any(|span| matches!(span.fault, Fault::Kill | Fault::Term) && span.hits(process));
        if !told && !died_of_poison(evidence, process) {
            let sentence = format!("{process} ended by itself: code {code:?}, signal {signal:?}");
            found.push(
                Violation::new("I10", sentence)
                    .at(record.at)
                    .process(process),
            );
        }
    }
    found
}

/// Whether the last that was heard of a process is the start of a poisonous job.
fn died_of_poison(evidence: &Evidence, process: &str) -> bool {
    let mut jobs = evidence
        .jobs
        .values()
        .filter(|job| job.kind == Kind::Poison);
    jobs.any(|job| {
        job.runs
            .iter()
            .any(|run| run.by == process && run.end.is_none())
    })
}

#[cfg(test)]
mod tests {
    use crate::{
        check::story::Story,
        history::{Fault, Kind},
    };

    #[test]
    fn a_worker_ends_in_time_and_in_order() {
        for (took, code, lawful) in [
            (9000, Some(0), true),
            (11_000, Some(0), false),
            (1000, Some(1), false),
            (1000, None, false),
        ] {
            let mut story = Story::new();
            story.fault(100, 100, Fault::Term, "w1.1");
            story.exit(100 + took, "w1.1", code);
            if lawful {
                story.is_lawful();
            } else {
                story.breaks("I10");
            }
        }
    }

    #[test]
    fn a_worker_that_never_ends_is_found() {
        let mut story = Story::new();
        story.fault(100, 100, Fault::Term, "w1.1");
        story.exit(12_000, "w2.1", Some(0));
        story.fault(11_000, 11_000, Fault::Term, "w2.1");
        story.breaks("I10");
    }

    #[test]
    fn a_kill_after_it_is_an_end_too() {
        let mut story = Story::new();
        story.fault(100, 100, Fault::Term, "w1.1");
        story.kill(1000, "w1.1");
        story.is_lawful();
    }

    #[test]
    fn an_outage_of_redis_takes_its_time() {
        let mut story = Story::new();
        story.fault(100, 100, Fault::Term, "w1.1");
        story.fault(200, 3000, Fault::RedisRestart, "redis");
        story.exit(12_000, "w1.1", Some(0));
        story.is_lawful();
    }

    #[test]
    fn nobody_ends_by_himself() {
        let mut story = Story::new();
        story.exit(100, "w1.1", Some(101));
        story.breaks("I10");

        let mut story = Story::new();
        let job = story.enqueue(0, Kind::Poison);
        story.start(90, "w1.1", &job, 1);
        story.exit(100, "w1.1", None);
        assert!(!story.broken().contains("I10"));
    }
}

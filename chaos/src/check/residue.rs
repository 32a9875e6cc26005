//! I18: at the end nothing is left.

use super::evidence::Evidence;
use crate::report::Violation;

/// I18: after quiet Redis holds nothing but dead letters and what has a time to live.
///
/// No entry in the stream or pending, nothing delayed or parked, no payload, no lock,
/// no consumer of a process that is gone, no key that should not be there. Requests to
/// cancel are remembered for a day: each is one that somebody made. No excuses.
pub(super) fn nothing_is_left(evidence: &Evidence) -> Vec<Violation> {
    let end = evidence.end;
    let left = &end.snapshot;
    let mut found = Vec::new();
    let mut say = |sentence: String| found.push(Violation::new("I18", sentence).at(evidence.last));
    if end.pending > 0 {
        say(format!("{} entries are pending in the group", end.pending));
    }
    if !end.consumers.is_empty() {
        say(format!("consumers are left: {}", end.consumers.join(", ")));
    }
    for residue in &end.residue {
        say(residue.clone());
    }
    let asked = |id| {
        evidence
            .jobs
            .get(id)
            .is_some_and(|job| job.cancel.is_some())
    };
    for id in left.requests.iter().filter(|id| !asked(id)) {
        let sentence = "is to be cancelled, and nobody asked for that";
        found.push(Violation::new("I18", sentence).at(evidence.last).job(*id));
    }
    let stream = left.stream.iter().map(|(id, _)| (*id, "the stream"));
    let delayed = left.delayed.iter().map(|id| (*id, "the delayed"));
    let parked = left.parked.iter().map(|id| (*id, "the parked"));
    let blocked = left.blocked.iter().map(|id| (*id, "the blocked"));
    let payloads = left.payloads.iter().map(|id| (*id, "the payloads"));
    let locks = left.locks.iter().map(|(_, id)| (*id, "the locks"));
    let places = stream
        .chain(delayed)
        .chain(parked)
        .chain(blocked)
        .chain(payloads)
        .chain(locks);
    for (id, place) in places {
        let sentence = format!("is left in {place}");
        found.push(Violation::new("I18", sentence).at(evidence.last).job(id));
    }
    found
}

#[cfg(test)]
mod tests {
    use crate::{
        check::story::{Story, letter},
        history::{CancelAnswer, How, Kind},
    };

    #[test]
    fn dead_letters_may_stay() {
        let mut story = Story::new();
        let job = story.enqueue(0, Kind::Plain);
        story.start(10, "w1.1", &job, 1);
        story.end(20, "w1.1", &job, 1, How::Discard);
        story.end.snapshot.dead.push(letter(&job, "discarded"));
        story.is_lawful();
    }

    #[test]
    fn requests_to_cancel_may_stay() {
        let mut story = Story::new();
        let job = story.enqueue(0, Kind::Plain);
        story.run(10, "w1.1", &job, 1);
        story.cancel(12, &job, CancelAnswer::Asked);
        story.end.snapshot.requests.push(job.id);
        story.is_lawful();
    }

    #[test]
    fn nothing_else_may() {
        let change: [fn(&mut Story); 6] = [
            |story| story.end.pending = 1,
            |story| story.end.snapshot.requests.push(queue::JobId::new()),
            |story| story.end.consumers.push("host:1:x".to_owned()),
            |story| {
                story
                    .end
                    .residue
                    .push("once:x has no time to live".to_owned());
            },
            |story| {
                let job = story.enqueue(0, Kind::Plain);
                story.run(10, "w1.1", &job, 1);
                story.end.snapshot.stream.push((job.id, None));
            },
            |story| {
                let job = story.enqueue(0, Kind::Plain);
                story.run(10, "w1.1", &job, 1);
                story.end.snapshot.locks.push(("u:1".to_owned(), job.id));
            },
        ];
        for change in change {
            let mut story = Story::new();
            change(&mut story);
            story.breaks("I18");
        }
    }
}

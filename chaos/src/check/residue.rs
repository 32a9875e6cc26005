//! I18: at the end nothing is left.

use super::evidence::Evidence;
use crate::report::Violation;

/// I18: after quiet Redis holds nothing but dead letters and what has a time to live.
///
/// No entry in the stream or pending, nothing delayed or parked, no payload, no lock,
/// no consumer of a process that is gone, no key that should not be there. No excuses.
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
    let stream = left.stream.iter().map(|(id, _)| (*id, "the stream"));
    let delayed = left.delayed.iter().map(|id| (*id, "the delayed"));
    let parked = left.parked.iter().map(|id| (*id, "the parked"));
    let payloads = left.payloads.iter().map(|id| (*id, "the payloads"));
    let locks = left.locks.iter().map(|(_, id)| (*id, "the locks"));
    let places = stream
        .chain(delayed)
        .chain(parked)
        .chain(payloads)
        .chain(locks);
    for (id, place) in places {
        let sentence = format!("is left in {place}");
        found.push(Violation::new("I18", sentence).at(evidence.last).job(id));
    }
    found
}

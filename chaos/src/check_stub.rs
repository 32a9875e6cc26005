//! Stands in for the checker.
use crate::history::{Event, Final, Record};
pub(crate) struct Report {
    pub(crate) violations: Vec<String>,
    figures: String,
}
impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.figures)
    }
}
pub(crate) fn check(records: &[Record], end: &Final) -> Report {
    let count = |is: &dyn Fn(&Event) -> bool| records.iter().filter(|r| is(&r.event)).count();
    Report {
        violations: vec![],
        figures: format!(
            "offers {} accepted {} refused {} starts {} ends {} faults {} snaps {} stalls {} exits {} | end: stream {} pending {} delayed {} parked {} dead {} consumers {:?} residue {:?} outbox {} effects {}",
            count(&|e| matches!(e, Event::Offer { .. })),
            count(&|e| matches!(e, Event::Accepted { .. })),
            count(&|e| matches!(e, Event::Refused { .. })),
            count(&|e| matches!(e, Event::Start { .. })),
            count(&|e| matches!(e, Event::End { .. })),
            count(&|e| matches!(e, Event::Fault { .. })),
            count(&|e| matches!(e, Event::Snapshot(_))),
            count(&|e| matches!(e, Event::Stall { .. })),
            count(&|e| matches!(e, Event::Exited { .. })),
            end.snapshot.stream.len(),
            end.pending,
            end.snapshot.delayed.len(),
            end.snapshot.parked.len(),
            end.snapshot.dead.len(),
            end.consumers,
            end.residue,
            end.outbox.len(),
            end.effects.len()
        ),
    }
}

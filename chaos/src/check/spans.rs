//! Faults as the conductor wrote them down.

use crate::history::{Event, Fault, Micros, Record};

/// One fault, from its beginning until it was undone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) fault: Fault,
    pub(crate) target: String,
    pub(crate) from: Micros,
    pub(crate) to: Micros,
    /// How late answers came, for a delay.
    pub(crate) late: Option<Micros>,
}

impl Span {
    /// Whether it was done to this process, by its name or by that of its slot.
    pub(crate) fn hits(&self, process: &str) -> bool {
        self.target == process
            || process
                .strip_prefix(&*self.target)
                .is_some_and(|life| life.starts_with('.'))
    }

    /// Whether it was done to Redis, and so to everybody.
    pub(crate) fn hits_redis(&self) -> bool {
        matches!(
            self.fault,
            Fault::RedisRestart
                | Fault::RedisLoss
                | Fault::RedisPause
                | Fault::Failover
                | Fault::Disconnect
        )
    }

    /// Whether it keeps one process from Redis, or from running.
    pub(super) fn isolates(&self) -> bool {
        matches!(
            self.fault,
            Fault::Stop
                | Fault::Cut
                | Fault::Refuse
                | Fault::SwallowReplies
                | Fault::BlackHole
                | Fault::Delay
        )
    }
}

/// The faults of a history in the order of time.
pub(crate) fn spans(records: &[Record]) -> Vec<Span> {
    let last = records.last().map_or(0, |record| record.at);
    let mut spans: Vec<Span> = Vec::new();
    let mut open: Vec<usize> = Vec::new();
    for record in records {
        match &record.event {
            Event::Fault {
                fault,
                target,
                late_ms,
            } => {
                let momentary = matches!(
                    fault,
                    Fault::Kill | Fault::Term | Fault::Cut | Fault::ScriptFlush | Fault::Disconnect
                );
                if !momentary {
                    open.push(spans.len());
                }
                spans.push(Span {
                    fault: *fault,
                    target: target.clone(),
                    from: record.at,
                    to: if momentary { record.at } else { last },
                    late: late_ms.map(|ms| ms * 1000),
                });
            }
            Event::Healed { fault, target } => {
                let of = open
                    .iter()
                    .position(|&at| spans[at].fault == *fault && spans[at].target == *target);
                if let Some(of) = of {
                    spans[open.remove(of)].to = record.at;
                }
            }
            _ => {}
        }
    }
    spans
}

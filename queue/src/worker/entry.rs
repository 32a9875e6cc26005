use std::{fmt, sync::Arc, time::Instant};

use redis::Value;

use crate::{EntryId, Priority, keys::ENVELOPE, reply::parse};

/// An entry of one of a queue's streams; it prints as the id that it has there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct EntryRef {
    pub(super) id: EntryId,
    /// That of the stream.
    pub(super) priority: Priority,
}

impl fmt::Display for EntryRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.id.fmt(f)
    }
}

/// A stream entry in the hands of this process.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: EntryRef,
    /// How often it has been delivered, this time included.
    pub(super) deliveries: u32,
    /// The consumer that owns it.
    pub(super) consumer: Arc<str>,
    pub(super) envelope: Vec<u8>,
    /// When it came into this process.
    pub(super) since: Instant,
}

impl Entry {
    /// Reads `[id, fields, deliveries, number of its stream in this order, from 1 on]`.
    pub(super) fn read(
        row: Value,
        order: [Priority; Priority::LEVELS],
        consumer: &Arc<str>,
    ) -> Option<Self> {
        let Value::Array(mut parts) = row else {
            return None;
        };
        let number = usize::try_from(parse_number(&parts.pop()?)?).ok()?;
        let deliveries = parse_number(&parts.pop()?)?;
        let (id, envelope) = parse_entry(Value::Array(parts))?;
        let priority = *order.get(number.checked_sub(1)?)?;
        Some(Self {
            id: EntryRef { id, priority },
            deliveries: u32::try_from(deliveries).unwrap_or(u32::MAX),
            consumer: Arc::clone(consumer),
            envelope,
            since: Instant::now(),
        })
    }
}

/// An entry as Redis sends it: its id and its envelope.
pub(crate) type Raw = (EntryId, Vec<u8>);

/// Reads `[id, [field, value, ...]]`; `None` for an entry that is gone.
pub(crate) fn parse_entry(value: Value) -> Option<Raw> {
    let Value::Array(parts) = value else {
        return None;
    };
    let mut parts = parts.into_iter();
    let id = parse(&parts.next()?)?;
    Some((id, envelope(parts.next()?)?))
}

/// Reads the envelope out of `[field, value, ...]`.
///
/// An entry without one is somebody else's writing: its envelope is empty, which
/// no decoder takes, so it ends among the dead letters and not in limbo.
pub(super) fn envelope(fields: Value) -> Option<Vec<u8>> {
    let Value::Array(fields) = fields else {
        return None;
    };
    let mut fields = fields.into_iter();
    while let (Some(field), Some(value)) = (fields.next(), fields.next()) {
        if let (Value::BulkString(field), Value::BulkString(bytes)) = (field, value)
            && field == ENVELOPE.as_bytes()
        {
            return Some(bytes);
        }
    }
    Some(Vec::new())
}

/// Reads a non-negative number.
pub(super) fn parse_number(value: &Value) -> Option<u64> {
    match value {
        Value::Int(number) => u64::try_from(*number).ok(),
        _ => None,
    }
}

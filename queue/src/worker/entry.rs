use std::{sync::Arc, time::Instant};

use redis::Value;

pub(super) use crate::EntryId;
use crate::{keys::ENVELOPE, reply::parse};

/// A stream entry in the hands of this process.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: EntryId,
    /// How often it has been delivered, this time included.
    pub(super) deliveries: u32,
    /// The consumer that owns it.
    pub(super) consumer: Arc<str>,
    pub(super) envelope: Vec<u8>,
    /// When it came into this process.
    pub(super) since: Instant,
}

/// An entry as Redis sends it: its id and its envelope.
pub(super) type Raw = (EntryId, Vec<u8>);

/// Reads `[id, [field, value, ...]]`; `None` for an entry that is gone.
pub(super) fn parse_entry(value: Value) -> Option<Raw> {
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

/// Reads the answer of `XREADGROUP` on one stream, in either protocol.
pub(super) fn parse_read(value: Value) -> Option<Vec<Raw>> {
    let entries = match value {
        Value::Nil => return Some(Vec::new()),
        Value::Map(streams) => streams.into_iter().next()?.1,
        Value::Array(streams) => match streams.into_iter().next()? {
            Value::Array(stream) => stream.into_iter().nth(1)?,
            _ => return None,
        },
        _ => return None,
    };
    match entries {
        Value::Array(entries) => Some(entries.into_iter().filter_map(parse_entry).collect()),
        _ => None,
    }
}

/// Reads a non-negative number.
pub(super) fn parse_number(value: &Value) -> Option<u64> {
    match value {
        Value::Int(number) => u64::try_from(*number).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    #[test]
    fn both_protocols_read_the_same() {
        let entry = Value::Array(vec![
            bulk("5-1"),
            Value::Array(vec![bulk("x"), bulk("y"), bulk("e"), bulk("body")]),
        ]);
        let entries = Value::Array(vec![entry]);
        let resp3 = Value::Map(vec![(bulk("s"), entries.clone())]);
        let resp2 = Value::Array(vec![Value::Array(vec![bulk("s"), entries])]);
        let expected = vec![("5-1".parse().unwrap(), b"body".to_vec())];
        assert_eq!(parse_read(resp3), Some(expected.clone()));
        assert_eq!(parse_read(resp2), Some(expected));
        assert_eq!(parse_read(Value::Nil), Some(Vec::new()));
        assert_eq!(parse_read(Value::Int(1)), None);
    }
}

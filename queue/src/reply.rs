//! Reads the parts of Redis' answers.

use std::str::FromStr;

use redis::Value;

/// What a text stands for; `None` where it is no text, or stands for no such thing.
pub(crate) fn parse<T: FromStr>(value: &Value) -> Option<T> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok()?.parse().ok(),
        Value::SimpleString(text) => text.parse().ok(),
        _ => None,
    }
}

/// A number, or a text of one; 0 for anything else.
pub(crate) fn number(value: &Value) -> u64 {
    match value {
        Value::Int(number) => u64::try_from(*number).unwrap_or(0),
        // A score: milliseconds are exact up to 2^53, and the conversion saturates.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "saturates"
        )]
        Value::Double(score) => *score as u64,
        text => parse(text).unwrap_or(0),
    }
}

/// A text, with a mark in the place of what is none.
pub(crate) fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// The value of a name in a map.
pub(crate) fn field<'a>(map: &'a Value, name: &str) -> Option<&'a Value> {
    let Value::Map(pairs) = map else {
        return None;
    };
    let is_it = |key: &Value| {
        matches!(key, Value::BulkString(key) if key == name.as_bytes())
            || matches!(key, Value::SimpleString(key) if key == name)
    };
    pairs
        .iter()
        .find(|(key, _)| is_it(key))
        .map(|(_, value)| value)
}

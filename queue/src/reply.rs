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
        text => parse(text).unwrap_or(0),
    }
}

/// A text, with a mark in the place of what is none.
pub(crate) fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

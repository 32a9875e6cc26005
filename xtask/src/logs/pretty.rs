//! A JSON line of our services, for people. Pure.
//!
//! `15:35:04.123  INFO answered POST /v1/accounts 202 12 ms  api::request  request=..1a2b3c4d`, and
//! what is long (an error with its causes, a backtrace) on lines below. `--raw` has the rest.

use std::fmt::Write;

use serde_json::{Map, Value};

use super::line::Level;
use crate::clock::{self, Nanos};
use crate::terminal::{BOLD, DIM, RED, Style, YELLOW};

/// Fields that are only there to be joined with other systems, or that another field says better.
const HIDDEN: [&str; 6] = [
    "timestamp",
    "level",
    "message",
    "target",
    "trace.id",
    "http.route",
];

/// Fields that are said in words, not as `name=value`.
const WORDED: [&str; 5] = [
    "http.method",
    "http.path",
    "http.status",
    "latency_ms",
    "request.id",
];

/// How many characters of a request's id are shown, its last: the first are the time.
const SHORT_ID: usize = 8;

/// Where styles come from: `terminal::paint`, or nothing where nobody would see them.
pub(crate) type Paint = fn(Style, &str) -> String;

/// The event's lines. `today` decides whether the date is worth saying.
pub(crate) fn event(
    event: &Map<String, Value>,
    at: Nanos,
    level: Level,
    today: Nanos,
    paint: Paint,
) -> Vec<String> {
    let text = |name: &str| event.get(name).map(plain);
    let mut first = format!(
        "{} {} {}",
        paint(DIM, &time(at, today)),
        paint_level(level, paint),
        one_line(&text("message").unwrap_or_default()),
    );
    first.push_str(&http(event, paint));
    if let Some(target) = text("target") {
        let _ = write!(first, "  {}", paint(DIM, &one_line(&target)));
    }
    let mut below = Vec::new();
    for (name, value) in event {
        let is_worded = HIDDEN.contains(&name.as_str()) || WORDED.contains(&name.as_str());
        let value = plain(value);
        if name == "error" {
            below.extend(causes(&value, paint));
        } else if value.contains('\n') {
            below.push(format!(
                "    {}",
                paint(DIM, &format!("{}:", one_line(name)))
            ));
            below.extend(
                value
                    .lines()
                    .map(|line| format!("      {}", one_line(line))),
            );
        } else if !is_worded {
            let name = paint(DIM, &format!("{}=", one_line(name)));
            let _ = write!(first, "  {name}{}", quoted(&value));
        }
    }
    if let Some(id) = text("request.id") {
        let _ = write!(first, "  {}{}", paint(DIM, "request="), short(&id));
    }
    below.insert(0, first);
    below
}

/// A request's line: ` POST /v1/accounts 202 12 ms`.
fn http(event: &Map<String, Value>, paint: Paint) -> String {
    let mut words = String::new();
    for name in &WORDED[..4] {
        let Some(value) = event.get(*name).map(plain) else {
            continue;
        };
        let word = match (*name, value.chars().next()) {
            ("http.status", Some('5')) => paint(RED, &value),
            ("http.status", Some('4')) => paint(YELLOW, &value),
            ("latency_ms", _) => format!("{} ms", one_line(&value)),
            _ => one_line(&value),
        };
        let _ = write!(words, " {word}");
    }
    words
}

/// An error and what it was caused by, a line each. `service::telemetry` joins them by a colon.
fn causes(error: &str, paint: Paint) -> Vec<String> {
    let mut lines = Vec::new();
    for cause in error.split_inclusive(": ") {
        // One that is deep is not pushed off the screen.
        let indent = 4 + 2 * lines.len().min(6);
        let cause = one_line(cause.trim_end());
        lines.push(format!("{:indent$}{}", "", paint(RED, &cause)));
    }
    lines
}

/// `15:35:04.123`, after its date on another day than today.
fn time(at: Nanos, today: Nanos) -> String {
    let (hour, minute, second, milli) = clock::time_of_day(at);
    let time = format!("{hour:02}:{minute:02}:{second:02}.{milli:03}");
    let date = clock::date(at);
    if date == clock::date(today) {
        return time;
    }
    let (year, month, day) = date;
    format!("{year}-{month:02}-{day:02} {time}")
}

fn paint_level(level: Level, paint: Paint) -> String {
    match level {
        Level::Trace => paint(DIM, "TRACE"),
        Level::Debug => paint(DIM, "DEBUG"),
        Level::Info => paint(BOLD, " INFO"),
        Level::Warn => paint(YELLOW, " WARN"),
        Level::Error => paint(RED, "ERROR"),
    }
}

/// A text as it is, anything else as JSON.
fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

/// In quotes where it would not be seen where it ends.
fn quoted(value: &str) -> String {
    let is_plain = !value.is_empty() && !value.contains(|c: char| c.is_whitespace() || c == '"');
    if is_plain {
        one_line(value)
    } else {
        one_line(&Value::from(value).to_string())
    }
}

/// What a stranger may have sent moves no cursor and changes no colour.
fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
    line
}

fn short(id: &str) -> String {
    let length = id.chars().count();
    if length <= 2 * SHORT_ID {
        return one_line(id);
    }
    let end: String = id.chars().skip(length - SHORT_ID).collect();
    format!("..{}", one_line(&end))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn unpainted(_: Style, text: &str) -> String {
        text.to_owned()
    }

    fn lines(fields: Value) -> Vec<String> {
        let Value::Object(fields) = fields else {
            panic!("no object")
        };
        let at = clock::parse("2026-11-22T15:35:04.123Z").unwrap();
        event(&fields, at, Level::Info, at, unpainted)
    }

    #[test]
    fn a_request_is_one_line() {
        let fields = json!({
            "message": "answered", "target": "api::request", "http.method": "POST",
            "http.path": "/v1/accounts", "http.route": "/v1/accounts", "http.status": 202,
            "latency_ms": 12, "trace.id": "abc", "request.id": "01997d0c-5b1f-7c1a-8f00-a1b2c3d4e5f6",
        });
        assert_eq!(
            lines(fields),
            [
                "15:35:04.123  INFO answered POST /v1/accounts 202 12 ms  api::request  request=..c3d4e5f6"
            ]
        );
    }

    #[test]
    fn an_error_shows_its_whole_chain_below() {
        let fields = json!({
            "message": "request failed", "target": "api::failure", "job.attempt": 2, "to": "a b",
            "error": "cannot ask: pool timed out: refused", "request.id": "mine",
        });
        assert_eq!(
            lines(fields),
            [
                "15:35:04.123  INFO request failed  api::failure  job.attempt=2  to=\"a b\"  request=mine",
                "    cannot ask:",
                "      pool timed out:",
                "        refused",
            ]
        );
    }

    #[test]
    fn another_day_is_named() {
        let at = clock::parse("2026-11-21T23:59:59.999Z").unwrap();
        assert_eq!(time(at, at + 1_000_000), "2026-11-21 23:59:59.999");
    }

    /// With what moves a cursor or changes a colour.
    const TEXT: &str = "(\\PC|\\pC|[\\n\\r\\x1b:] ?){0,20}";

    proptest! {
        /// The words of an event are all there, and none of them is a command to the terminal.
        #[test]
        fn nothing_is_lost_and_nothing_is_obeyed(
            message in TEXT,
            fields in proptest::collection::btree_map("[a-z.]{1,9}|error", TEXT, 0..6),
        ) {
            let mut object: Map<String, Value> = Map::new();
            object.insert("message".to_owned(), message.clone().into());
            for (name, value) in fields.iter().filter(|(name, _)| name.as_str() != "message") {
                object.insert(name.clone(), value.clone().into());
            }
            let shown = lines(object.clone().into());
            prop_assert!(!shown.concat().contains(char::is_control));
            // Compared without what escapes, quotes and line breaks add.
            let squeeze = |text: &str| -> String { text.chars().filter(|c| c.is_alphanumeric() && *c > '\u{7f}').collect() };
            let shown = squeeze(&shown.concat());
            for (name, value) in object.iter().filter(|(name, _)| !HIDDEN[3..].contains(&name.as_str())) {
                let value = squeeze(&plain(value));
                let is_there = shown.contains(&value) || name == "request.id";
                prop_assert!(is_there, "{} is lost", name);
            }
        }
    }
}

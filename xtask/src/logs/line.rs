//! One line of a log: when it was written, how bad it is, and what it says. Pure, for any bytes.

use clap::ValueEnum;
use serde_json::{Map, Value};

use crate::clock::{self, Nanos};

/// How bad it is, least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

/// What a line turned out to be.
#[derive(Debug, PartialEq)]
pub(crate) struct Line<'a> {
    /// When its writer says that it was written, if it says so in UTC.
    pub(crate) at: Option<Nanos>,
    /// None where the words do not tell.
    pub(crate) level: Option<Level>,
    pub(crate) body: Body<'a>,
}

/// The three kinds of lines.
#[derive(Debug, PartialEq)]
pub(crate) enum Body<'a> {
    /// A JSON object of one of our services.
    Event(Map<String, Value>),
    /// Anybody's words, as they are.
    Text(&'a [u8]),
    /// Words that belong to the line before: a backtrace, Postgres' DETAIL.
    More(&'a [u8]),
}

impl Line<'_> {
    /// Reads a line without its end.
    pub(crate) fn parse(bytes: &[u8]) -> Line<'_> {
        if let Some(event) = event(bytes) {
            return event;
        }
        let text = String::from_utf8_lossy(bytes);
        let (at, level) = of_ours(&text)
            .or_else(|| of_postgres(&text))
            .or_else(|| of_redis(&text))
            .or_else(|| of_nginx(&text))
            .unwrap_or((None, None));
        let is_more = level.is_none() && (text.starts_with([' ', '\t']) || goes_on(&text));
        let body = if is_more {
            Body::More(bytes)
        } else {
            Body::Text(bytes)
        };
        Line { at, level, body }
    }
}

/// JSON as `service::telemetry` writes it; another program's JSON is text.
fn event(bytes: &[u8]) -> Option<Line<'_>> {
    if !bytes.starts_with(b"{") {
        return None;
    }
    let event: Map<String, Value> = serde_json::from_slice(bytes).ok()?;
    event.get("message")?;
    let at = clock::parse(event.get("timestamp")?.as_str()?)?;
    let level = named(event.get("level")?.as_str()?)?;
    Some(Line {
        at: Some(at),
        level: Some(level),
        body: Body::Event(event),
    })
}

fn named(word: &str) -> Option<Level> {
    Some(match word {
        "TRACE" => Level::Trace,
        "DEBUG" => Level::Debug,
        "INFO" => Level::Info,
        "WARN" => Level::Warn,
        "ERROR" => Level::Error,
        _ => return None,
    })
}

/// How bad words sound that do not tell their level.
pub(crate) fn spoken(text: &str) -> Level {
    const BAD: [&str; 7] = [
        "error", "fatal", "panic", "failed", "cannot", "can't", "killed",
    ];
    let text = text.to_lowercase();
    let mut level = Level::Info;
    for word in text.split(|c: char| !c.is_alphanumeric() && c != '\'') {
        if BAD.contains(&word) {
            return Level::Error;
        }
        if matches!(word, "warn" | "warning") {
            level = Level::Warn;
        }
    }
    level
}

type Found = Option<(Option<Nanos>, Option<Level>)>;

/// `2026-11-22T15:35:04.123456Z  INFO api::serve: listening`: with LOG_FORMAT=pretty.
fn of_ours(text: &str) -> Found {
    let mut words = text.split_whitespace();
    let at = words.next().filter(|word| word.contains('T'))?;
    let at = clock::parse(at)?;
    Some((Some(at), Some(named(words.next()?)?)))
}

/// `2026-11-22 15:35:04.123 UTC [66] LOG:  checkpoint starting: time`. Between the bracket and the
/// severity, a distribution's prefix may name user and database.
fn of_postgres(text: &str) -> Found {
    let (stamp, rest) = text.split_once(" [")?;
    let (_, rest) = rest.split_once("] ")?;
    let (stamp, zone) = stamp.rsplit_once(' ')?;
    let at = clock::parse(stamp)?;
    let severity = rest.split(' ').take(3).find_map(|word| {
        Some(match word.strip_suffix(':')? {
            "DEBUG1" | "DEBUG2" | "DEBUG3" | "DEBUG4" | "DEBUG5" => Level::Debug,
            "LOG" | "INFO" | "NOTICE" => Level::Info,
            "WARNING" => Level::Warn,
            "ERROR" | "FATAL" | "PANIC" => Level::Error,
            _ => return None,
        })
    });
    let at = matches!(zone, "UTC" | "GMT").then_some(at);
    Some((at, severity))
}

/// Whether Postgres says more about the message before.
fn goes_on(text: &str) -> bool {
    const MORE: [&str; 6] = [
        "DETAIL",
        "HINT",
        "QUERY",
        "CONTEXT",
        "LOCATION",
        "STATEMENT",
    ];
    let rest = text.split_once("] ").map_or("", |(_, rest)| rest);
    let mut words = rest.split(' ').take(3);
    words.any(|word| {
        word.strip_suffix(':')
            .is_some_and(|word| MORE.contains(&word))
    })
}

/// `1:M 22 Nov 2026 15:35:04.123 * Ready to accept connections`: one sign is the level.
fn of_redis(text: &str) -> Found {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let words: Vec<&str> = text.splitn(7, ' ').collect();
    let [who, day, month, year, time, sign, rest] = words[..] else {
        return None;
    };
    let (pid, role) = who.split_once(':')?;
    if role.len() != 1 || pid.is_empty() || !pid.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    let at = clock::parse(&format!("{year}-{month:02}-{day:0>2}T{time}"))?;
    let level = match sign {
        "." | "-" => Level::Debug,
        "*" => Level::Info,
        // Greetings and farewells have this sign too.
        "#" => spoken(rest).min(Level::Warn),
        _ => return None,
    };
    Some((Some(at), Some(level)))
}

/// `2026/11/22 15:35:04 [error] 30#30: ...`
fn of_nginx(text: &str) -> Found {
    let mut words = text.split(' ');
    let (date, time) = (words.next()?, words.next()?);
    let at = clock::parse(&format!("{}T{time}", date.replace('/', "-")))?;
    let level = match words.next()?.strip_prefix('[')?.strip_suffix(']')? {
        "debug" => Level::Debug,
        "info" | "notice" => Level::Info,
        "warn" => Level::Warn,
        "error" | "crit" | "alert" | "emerg" => Level::Error,
        _ => return None,
    };
    Some((Some(at), Some(level)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn level(line: &str) -> Option<Level> {
        Line::parse(line.as_bytes()).level
    }

    #[test]
    fn a_level_is_found_in_the_words_of_each_program() {
        let at = clock::parse("2026-11-22T15:35:04.123Z");
        let cases = [
            (
                r#"{"timestamp":"2026-11-22T15:35:04.123Z","level":"WARN","message":"careful"}"#,
                Level::Warn,
            ),
            ("2026-11-22T15:35:04.123Z ERROR api: bad", Level::Error),
            ("2026-11-22 15:35:04.123 UTC [66] LOG:  ready", Level::Info),
            (
                "2026-11-22 15:35:04.123 UTC [66] app@shop FATAL:  no",
                Level::Error,
            ),
            ("2026-11-22 15:35:04.123 GMT [66] WARNING:  hm", Level::Warn),
            ("12:M 22 Nov 2026 15:35:04.123 * Ready", Level::Info),
            ("12:M 22 Nov 2026 15:35:04.123 # Warning: no", Level::Warn),
            ("12:C 22 Nov 2026 15:35:04.123 - verbose", Level::Debug),
            ("12:C 22 Nov 2026 15:35:04.123 # oO0OoO0 Redis", Level::Info),
            (
                "12:M 22 Nov 2026 15:35:04.123 # Can't save: no",
                Level::Warn,
            ),
            ("2026/11/22 15:35:04.123 [emerg] 1#1: no", Level::Error),
        ];
        for (line, expected) in cases {
            let parsed = Line::parse(line.as_bytes());
            assert_eq!((parsed.at, parsed.level), (at, Some(expected)), "{line}");
        }
    }

    #[test]
    fn what_does_not_say_its_level_is_not_guessed() {
        for line in [
            "MailDev webapp running at http://0.0.0.0:1080/",
            "ERROR",
            "2026-11-22 15:35:04.123 CET [66]",
            r#"{"level":"WARN","text":"another program's"}"#,
            r#"{"timestamp":"soon","level":"WARN","message":"careful"}"#,
            "12:M 22 Foo 2026 15:35:04.123 * Ready",
            "{",
            "",
        ] {
            assert_eq!(level(line), None, "{line}");
        }
        // Local times of who knows where are no times.
        let line = Line::parse(b"2026-11-22 15:35:04.123 CET [66] ERROR:  no");
        assert_eq!((line.at, line.level), (None, Some(Level::Error)));
    }

    #[test]
    fn some_lines_belong_to_the_one_before() {
        for line in [
            "   0: std::panicking::begin",
            "\t\tSELECT 1",
            "2026-11-22 15:35:04.123 UTC [66] STATEMENT:  SELECT 1",
            "2026-11-22 15:35:04.123 UTC [66] app@shop DETAIL:  Key (id)",
        ] {
            let body = Line::parse(line.as_bytes()).body;
            assert_eq!(body, Body::More(line.as_bytes()), "{line}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_line_and_none_is_lost(bytes in any::<Vec<u8>>()) {
            match Line::parse(&bytes).body {
                Body::Text(text) | Body::More(text) => prop_assert_eq!(text, &bytes[..]),
                Body::Event(event) => {
                    let same = serde_json::from_slice::<Map<String, Value>>(&bytes).unwrap();
                    prop_assert_eq!(event, same);
                }
            }
        }

        /// Near to what is understood, where mistakes would be.
        #[test]
        fn lines_that_are_almost_right_are_lines_too(
            line in r#"(\d{1,2}:M |20\d\d[-/]1?\d[-/]\d\d[T ]|\{"level":)[\d:\. ä]{0,20}( UTC)?( \[\d*\]?)? ?(LOG|ERROR|#|\*)?:? .{0,9}"#
        ) {
            let parsed = Line::parse(line.as_bytes());
            let is_whole = matches!(parsed.body, Body::Text(text) | Body::More(text) if text == line.as_bytes());
            prop_assert!(is_whole);
        }
    }
}

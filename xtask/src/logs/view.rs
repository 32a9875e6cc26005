//! What of the logs is shown, and how: the one way for both modes.

use std::collections::BTreeMap;
use std::io::{self, Write};

use super::line::{Body, Level, Line, spoken};
use super::pretty::{self, Paint};
use crate::clock::{self, Nanos};
use crate::stack::{LogOptions, service_of};
use crate::terminal::{PREFIXES, RED, Style, YELLOW};

/// Services that say much without a level while they start: what does not sound bad is not.
const CHATTY: [&str; 4] = ["migrate", "maildev", "postgres", "redis"];

/// A line of a service's log.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    /// The service; `worker-2` for its second process.
    pub(crate) source: String,
    /// When it was written, as far as it is known: what a merge goes by.
    pub(crate) at: Nanos,
    /// Without the line's end.
    pub(crate) bytes: Vec<u8>,
}

/// Filters, formats and prints entries.
pub(crate) struct View<W> {
    out: W,
    paint: Paint,
    raw: bool,
    level: Option<Level>,
    since: Option<Nanos>,
    tail: usize,
    /// In the order of their colours; whether the last line of each was shown.
    sources: BTreeMap<String, Source>,
    width: usize,
}

struct Source {
    style: Style,
    is_shown: bool,
}

impl<W: Write> View<W> {
    /// Prints to `out`, styled by `paint`.
    pub(crate) fn new(options: &LogOptions, out: W, paint: Paint) -> Self {
        Self {
            out,
            paint,
            raw: options.raw,
            level: options.level,
            since: options.since,
            tail: options.tail.unwrap_or(usize::MAX),
            sources: BTreeMap::new(),
            width: 0,
        }
    }

    /// Makes room for these names, so that all lines begin in the same column.
    pub(crate) fn expect<'a>(&mut self, names: impl IntoIterator<Item = &'a str>) {
        for name in names {
            let style = PREFIXES[self.sources.len() % PREFIXES.len()];
            self.sources.entry(name.to_owned()).or_insert(Source {
                style,
                is_shown: true,
            });
            self.width = self.width.max(name.len());
        }
    }

    /// Prints the past of several logs in the order of time: of each, the last lines that pass.
    ///
    /// # Errors
    /// When nobody reads any more, or standard output cannot be written to.
    pub(crate) fn past(&mut self, logs: Vec<Vec<Entry>>) -> io::Result<()> {
        let mut all = Vec::new();
        for mut log in logs {
            log.retain(|entry| self.passes(entry));
            all.extend(log.split_off(log.len().saturating_sub(self.tail)));
        }
        // Stable: lines of one moment stay in the order of their log.
        all.sort_by_key(|entry| entry.at);
        for entry in &all {
            self.print(entry)?;
        }
        self.out.flush()
    }

    /// Prints a new line, if it passes.
    ///
    /// # Errors
    /// As [`View::past`].
    pub(crate) fn show(&mut self, entry: &Entry) -> io::Result<()> {
        if self.passes(entry) {
            self.print(entry)?;
        }
        self.out.flush()
    }

    fn passes(&mut self, entry: &Entry) -> bool {
        if self.since.is_some_and(|since| entry.at < since) {
            return false;
        }
        let Some(least) = self.level else {
            return true;
        };
        let text = String::from_utf8_lossy(&entry.bytes);
        if text.trim().is_empty() {
            return false;
        }
        self.expect([entry.source.as_str()]);
        let line = Line::parse(&entry.bytes);
        let Some(source) = self.sources.get_mut(&entry.source) else {
            return true;
        };
        source.is_shown = match (line.level, line.body) {
            (Some(level), _) => level >= least,
            // It goes the way of what it belongs to.
            (None, Body::More(_)) => source.is_shown,
            (None, _) => !CHATTY.contains(&service_of(&entry.source)) || spoken(&text) >= least,
        };
        source.is_shown
    }

    fn print(&mut self, entry: &Entry) -> io::Result<()> {
        if self.raw {
            self.out.write_all(&entry.bytes)?;
            return self.out.write_all(b"\n");
        }
        self.expect([entry.source.as_str()]);
        let style = self.sources[&entry.source].style;
        let prefix = (self.paint)(style, &format!("{:1$} |", entry.source, self.width));
        let line = Line::parse(&entry.bytes);
        match (line.body, line.at, line.level) {
            (Body::Event(event), Some(at), Some(level)) => {
                for line in pretty::event(&event, at, level, clock::now(), self.paint) {
                    writeln!(self.out, "{prefix} {line}")?;
                }
            }
            _ => {
                let style = match line.level {
                    Some(Level::Error) => Some(RED),
                    Some(Level::Warn) => Some(YELLOW),
                    _ => None,
                };
                // The words of others pass as bytes: they are painted around.
                let painted = style.map_or(String::new(), |style| (self.paint)(style, "\0"));
                let (before, after) = painted.split_once('\0').unwrap_or_default();
                write!(self.out, "{prefix} {before}")?;
                self.out.write_all(&entry.bytes)?;
                writeln!(self.out, "{after}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(source: &str, at: Nanos, text: &str) -> Entry {
        Entry {
            source: source.to_owned(),
            at,
            bytes: text.as_bytes().to_vec(),
        }
    }

    fn shown(options: &LogOptions, logs: Vec<Vec<Entry>>) -> String {
        let mut out = Vec::new();
        let mut view = View::new(options, &mut out, |_, text| text.to_owned());
        view.expect(["api", "postgres"]);
        view.past(logs).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_past_is_merged_by_time_and_aligned() {
        let logs = vec![
            vec![entry("api", 1, "one"), entry("api", 3, "three")],
            vec![entry("postgres", 2, "two"), entry("postgres", 3, "last")],
        ];
        assert_eq!(
            shown(&LogOptions::default(), logs),
            "api      | one\npostgres | two\napi      | three\npostgres | last\n"
        );
    }

    #[test]
    fn the_last_lines_are_counted_after_the_filter() {
        let log = vec![
            entry("api", 1, "2026-11-22T15:35:04Z ERROR api: first"),
            entry("api", 2, "2026-11-22T15:35:04Z  WARN api: second"),
            entry("api", 3, "   0: of the second"),
            entry("api", 4, "2026-11-22T15:35:04Z  INFO api: third"),
            entry("api", 5, "   0: of the third"),
            entry("api", 6, "who knows"),
        ];
        let options = LogOptions {
            level: Some(Level::Warn),
            tail: Some(3),
            raw: true,
            ..LogOptions::default()
        };
        assert_eq!(
            shown(&options, vec![log]),
            "2026-11-22T15:35:04Z  WARN api: second\n   0: of the second\nwho knows\n"
        );
    }

    #[test]
    fn chatter_is_no_warning() {
        let chatter = [
            "",
            "CREATE ROLE",
            "initdb: fixing permissions on existing directory ... ok",
            "initdb: warning: enabling \"trust\" authentication",
            "initdb: error: could not write",
        ];
        let entries = |source| chatter.map(|text| entry(source, 1, text)).to_vec();
        let options = LogOptions {
            level: Some(Level::Warn),
            ..LogOptions::default()
        };
        assert_eq!(
            shown(&options, vec![entries("postgres")]).lines().count(),
            2
        );
        // A panic of ours tells no level.
        assert_eq!(shown(&options, vec![entries("api")]).lines().count(), 4);
    }

    #[test]
    fn raw_lines_are_what_was_written_and_nothing_else() {
        let json = r#"{"timestamp":"2026-11-22T15:35:04Z","level":"INFO","message":"m"}"#;
        let options = LogOptions {
            raw: true,
            ..LogOptions::default()
        };
        let bytes = b"\xff\x1b[31m".to_vec();
        let mut log = vec![entry("api", 1, json), entry("api", 2, "")];
        log[1].bytes.clone_from(&bytes);
        let mut out = Vec::new();
        View::new(&options, &mut out, |_, text| text.to_owned())
            .past(vec![log])
            .unwrap();
        assert_eq!(out, [json.as_bytes(), b"\n", &bytes, b"\n"].concat());
    }

    #[test]
    fn what_is_older_is_left_out() {
        let options = LogOptions {
            since: Some(2),
            ..LogOptions::default()
        };
        let log = vec![entry("api", 1, "one"), entry("api", 2, "two")];
        assert_eq!(shown(&options, vec![log]), "api      | two\n");
    }
}

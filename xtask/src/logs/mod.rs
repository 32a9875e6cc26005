//! `cargo xtask logs`: what the services say.
//!
//! Each mode reads lines in its own way and hands them to one [`view::View`], which filters,
//! formats and prints them.

pub(crate) mod line;
mod pretty;
pub(crate) mod view;

use std::io::{self, BufWriter};

use anyhow::Result;
use clap::Args;

use self::line::{Body, Level, Line};
use crate::clock::{self, Nanos, SECOND};
use crate::project::Project;
use crate::stack::{self, LogOptions, Stack};
use crate::terminal;

/// How many past lines of each service are shown when nothing else is said.
const TAIL: usize = 200;

/// Options of `logs`.
#[derive(Args)]
pub(crate) struct Logs {
    /// Go on with new lines until Ctrl-C, also when services are restarted or added
    #[arg(long, short)]
    follow: bool,
    /// How many past lines of each service to begin with [default: 200, and all with --since]
    #[arg(long, short = 'n', value_name = "LINES")]
    tail: Option<usize>,
    /// Nothing older: 10m, 2h, 1d, or a time (UTC unless it says otherwise): 2026-11-22T15:00
    #[arg(long, value_name = "WHEN", value_parser = since)]
    since: Option<Nanos>,
    /// This level and above; lines of api and worker that do not tell theirs are kept
    #[arg(long, value_enum)]
    level: Option<Level>,
    /// As they were written, without the service's name: JSON for machines, as in `logs api --raw | jq`
    #[arg(long)]
    raw: bool,
    /// api, worker, postgres, redis, ...; all when none is named
    services: Vec<String>,
}

/// Where lines go: to standard output, many at a time.
pub(crate) type View = view::View<BufWriter<terminal::Out>>;

/// Prints the logs of these services, or of all.
pub(crate) fn run(project: &Project, args: Logs) -> Result<()> {
    let options = LogOptions {
        follow: args.follow,
        // All that is young enough, unless a number is given as well.
        tail: args.tail.or(args.since.is_none().then_some(TAIL)),
        since: args.since,
        level: args.level,
        raw: args.raw,
        services: args.services,
    };
    show(&*stack::current(project)?, &options)
}

/// Prints what these services say from now on, above the lines that show progress.
pub(crate) fn follow(stack: &dyn Stack, services: Vec<String>) -> Result<()> {
    let options = LogOptions {
        follow: true,
        since: Some(clock::now()),
        services,
        ..LogOptions::default()
    };
    show(stack, &options)
}

fn show(stack: &dyn Stack, options: &LogOptions) -> Result<()> {
    let mut view = View::new(options, BufWriter::new(terminal::Out), terminal::paint);
    match stack.logs(options, &mut view) {
        // `logs | head`: the reader has seen enough.
        Err(error) if is_broken_pipe(&error) => Ok(()),
        other => other,
    }
}

/// The last lines of a log as people read them, for the error of a service that failed.
pub(crate) fn readable(lines: &[String]) -> Vec<String> {
    let now = clock::now();
    let readable = |line: &String| {
        let parsed = Line::parse(line.as_bytes());
        match (parsed.body, parsed.at, parsed.level) {
            (Body::Event(event), Some(at), Some(level)) => {
                pretty::event(&event, at, level, now, terminal::mark)
            }
            _ => vec![line.clone()],
        }
    };
    let has_words = |line: &&String| !line.trim().is_empty();
    lines.iter().filter(has_words).flat_map(readable).collect()
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// `10m` before now, or a time.
fn since(text: &str) -> Result<Nanos, String> {
    since_before(clock::now(), text)
}

fn since_before(now: Nanos, text: &str) -> Result<Nanos, String> {
    let ago = || {
        let unit = text.chars().last()?;
        let seconds = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            _ => return None,
        };
        let count: i64 = text.strip_suffix(unit)?.parse().ok()?;
        let ago = count.checked_mul(seconds)?.checked_mul(SECOND)?;
        (ago >= 0).then(|| now.saturating_sub(ago))
    };
    ago()
        .or_else(|| clock::parse(text))
        .ok_or_else(|| "say how long ago (30s, 10m, 2h, 1d) or when (2026-11-22T15:00)".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_lines_that_can_be_read() {
        let json =
            r#"{"timestamp":"2025-11-22T10:00:01Z","level":"ERROR","message":"no","error":"a: b"}"#;
        assert_eq!(
            readable(&[json.to_owned()]),
            ["2025-11-22 10:00:01.000 ERROR no", "    a:", "      b"]
        );
        assert_eq!(readable(&["plain".to_owned()]), ["plain"]);
    }

    #[test]
    fn since_is_a_duration_or_a_time() {
        let ago = |text| -since_before(0, text).unwrap() / SECOND;
        assert_eq!(
            [ago("30s"), ago("10m"), ago("2h"), ago("1d")],
            [30, 600, 7200, 86_400]
        );
        assert_eq!(since("1970-01-02"), Ok(86_400 * SECOND));
        for text in ["", "m", "-5m", "10", "10y", "99999999999999d", "now"] {
            assert!(since(text).is_err(), "{text}");
        }
    }
}

//! Everything that was written about one job or process, among the faults of that time.

use std::io::{self, Write};

use queue::JobId;

use super::{Ink, Violation};
use crate::{
    check::{Span, spans},
    history::{Event, Micros, Record, Serial, Ties},
};

/// How long before a job's first record a fault still belongs to its history.
const BEFORE: Micros = 3_000_000;

/// One line of a history.
struct Line {
    at: Micros,
    by: String,
    what: String,
    fault: bool,
}

/// Everything that was written about a violation's job or process, with the faults
/// of that time.
pub(super) fn print(
    out: &mut impl Write,
    violation: &Violation,
    records: &[Record],
    start: Micros,
    ink: Ink,
) -> io::Result<()> {
    let mut records: Vec<&Record> = records.iter().collect();
    records.sort_by_key(|record| record.at);
    let mut lines = job_lines(violation, &records);
    let at = violation.at.unwrap_or(start);
    let first = lines
        .first()
        .map_or(at, |line| line.at)
        .min(at)
        .saturating_sub(BEFORE);
    let last = lines.last().map_or(at, |line| line.at).max(at);
    let owned: Vec<Record> = records.iter().map(|record| (*record).clone()).collect();
    for span in spans(&owned)
        .iter()
        .filter(|span| span.from <= last && span.to >= first)
    {
        lines.push(fault_line(span, start));
    }
    lines.sort_by_key(|line| line.at);
    for line in &lines {
        let text = format!(
            "  {:>11} {:<9} {}",
            seconds(line.at, start),
            line.by,
            line.what
        );
        let text = if line.fault { ink.dim(&text) } else { text };
        writeln!(out, "{text}")?;
    }
    writeln!(out)
}

fn fault_line(span: &Span, start: Micros) -> Line {
    let what = if span.to > span.from {
        format!(
            "{:?} of {} until {}",
            span.fault,
            span.target,
            seconds(span.to, start)
        )
    } else {
        format!("{:?} of {}", span.fault, span.target)
    };
    Line {
        at: span.from,
        by: "conductor".to_owned(),
        what,
        fault: true,
    }
}

fn job_lines(violation: &Violation, records: &[&Record]) -> Vec<Line> {
    let serial = records.iter().find_map(|record| match &record.event {
        Event::Accepted { serial, id } | Event::Start { serial, id, .. }
            if Some(*id) == violation.job =>
        {
            Some(*serial)
        }
        _ => None,
    });
    let mut lines = Vec::new();
    let mut place = None;
    for record in records {
        let what = match &record.event {
            Event::Snapshot(snapshot) => {
                let Some(id) = violation.job else { continue };
                let now = snapshot.place_of(id);
                if place.as_ref() == Some(&now) {
                    continue;
                }
                place = Some(now.clone());
                format!("seen in {now}")
            }
            event => match about(event, violation, serial) {
                Some(what) => what,
                None => continue,
            },
        };
        lines.push(Line {
            at: record.at,
            by: record.by.clone(),
            what,
            fault: false,
        });
    }
    // Before its first word a job is nowhere, which says nothing.
    let first = lines
        .iter()
        .position(|line| !line.what.starts_with("seen in nothing"));
    lines.drain(..first.unwrap_or(lines.len()));
    lines
}

/// What an event says about a violation's job or process; `None` if nothing.
fn about(event: &Event, violation: &Violation, serial: Option<Serial>) -> Option<String> {
    let of_job = |id: &JobId| violation.job == Some(*id);
    let of_serial = |of: &Serial| serial == Some(*of);
    match event {
        Event::Offer {
            serial,
            kind,
            route,
            due,
            unique,
            extras,
            ties,
        } if of_serial(serial) => {
            let mut what = format!("offers it: {kind:?}, {route:?}, serial {serial}");
            if let Some(due) = due {
                what += &format!(", due {due}");
            }
            if *ties != Ties::default() {
                what += &format!(", {ties:?}");
            }
            if !extras.is_none() {
                what += &format!(", {extras:?}");
            }
            if let Some(key) = unique {
                what += &format!(", key {key}");
            }
            Some(what)
        }
        Event::Accepted { id, .. } if of_job(id) => Some("is told that it is accepted".to_owned()),
        Event::Duplicate { serial, of } if of_job(of) || of_serial(serial) => Some(format!(
            "is told that serial {serial} is a duplicate of {of}"
        )),
        Event::Refused {
            serial,
            certain,
            error,
            ..
        } if of_serial(serial) => {
            let sure = if *certain { "surely" } else { "perhaps" };
            Some(format!("is told that it is {sure} refused: {error}"))
        }
        Event::Replaced { serial, old } if of_job(old) || of_serial(serial) => {
            Some(format!("is told that serial {serial} has replaced {old}"))
        }
        Event::Cancel { id } if of_job(id) => Some("asks to cancel it".to_owned()),
        Event::Cancelled { id, answer } if of_job(id) => {
            Some(format!("is told of the request to cancel it: {answer:?}"))
        }
        Event::Start {
            id,
            attempt,
            slot,
            version,
            ..
        } if of_job(id) => {
            let mut what = format!("starts it, attempt {attempt}");
            if let Some((name, slot)) = slot {
                what += &format!(", {name} at {slot}");
            }
            if let Some(version) = version {
                what += &format!(", version {version}");
            }
            Some(what)
        }
        Event::End {
            id, attempt, how, ..
        } if of_job(id) => Some(format!("ends it, attempt {attempt}: {how:?}")),
        Event::Exited {
            process,
            code,
            signal,
        } if violation.process.as_ref() == Some(process) => Some(format!(
            "sees {process} end: code {code:?}, signal {signal:?}"
        )),
        _ => None,
    }
}

fn seconds(at: Micros, start: Micros) -> String {
    let since = at.saturating_sub(start);
    format!("{}.{:06}", since / 1_000_000, since % 1_000_000)
}

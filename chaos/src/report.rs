//! What the check has found, for people.

use std::{
    collections::BTreeSet,
    fmt,
    io::{self, Write},
};

use queue::JobId;

use crate::{
    check::{Span, spans},
    history::{Event, Final, Micros, Record, Serial},
};

/// Violations whose history is printed; the others are only counted.
const TOLD: usize = 10;
/// How long before a job's first record a fault still belongs to its history.
const BEFORE: Micros = 3_000_000;
/// Width of a histogram's longest bar.
const BAR: usize = 40;

/// A promise that was not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    /// The invariant's name in the design: `I1` to `I20`.
    pub(crate) invariant: &'static str,
    /// What happened; it reads on from the job's id, where there is one.
    pub(crate) sentence: String,
    pub(crate) at: Option<Micros>,
    pub(crate) job: Option<JobId>,
    pub(crate) process: Option<String>,
}

impl Violation {
    pub(crate) fn new(invariant: &'static str, sentence: impl Into<String>) -> Self {
        Self {
            invariant,
            sentence: sentence.into(),
            at: None,
            job: None,
            process: None,
        }
    }

    pub(crate) fn at(self, at: Micros) -> Self {
        Self {
            at: Some(at),
            ..self
        }
    }

    pub(crate) fn job(self, job: JobId) -> Self {
        Self {
            job: Some(job),
            ..self
        }
    }

    pub(crate) fn process(self, process: &str) -> Self {
        Self {
            process: Some(process.to_owned()),
            ..self
        }
    }

    /// The invariant's number.
    pub(crate) fn number(&self) -> u32 {
        self.invariant[1..].parse().unwrap_or(u32::MAX)
    }
}

/// How long jobs of dead workers took to start elsewhere, sorted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Recovery {
    /// With no other fault around: the limit holds for these.
    pub(crate) alone: Vec<Micros>,
    /// Among other faults.
    pub(crate) mixed: Vec<Micros>,
}

/// How much was done, and how well.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Figures {
    pub(crate) seed: u64,
    pub(crate) seconds: u64,
    pub(crate) jobs: usize,
    pub(crate) once: usize,
    pub(crate) dead: usize,
    pub(crate) lost: usize,
    pub(crate) starts: usize,
    pub(crate) restarts: usize,
    pub(crate) kills: usize,
    pub(crate) stops: usize,
    pub(crate) terms: usize,
    pub(crate) redis_kept: usize,
    pub(crate) redis_lost: usize,
    pub(crate) redis_paused: usize,
    pub(crate) postgres: usize,
    pub(crate) cuts: usize,
    pub(crate) oom: usize,
    pub(crate) snapshots: usize,
    pub(crate) effects: usize,
    /// 99th percentile of delayed jobs in calm times.
    pub(crate) lateness: Option<Micros>,
}

/// The outcome of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) violations: Vec<Violation>,
    pub(crate) figures: Figures,
    pub(crate) recovery: Recovery,
}

impl Report {
    /// Prints violations with their jobs' histories, and the histogram of recoveries.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub(crate) fn print(
        &self,
        out: &mut impl Write,
        records: &[Record],
        end: &Final,
        colour: bool,
    ) -> io::Result<()> {
        let ink = Ink(colour);
        let start = records.iter().map(|record| record.at).min().unwrap_or(0);
        let mut told = BTreeSet::new();
        for violation in &self.violations {
            if told.len() >= TOLD && !told.contains(violation.invariant) {
                continue;
            }
            // The first of each invariant says the most; all of them would say less.
            if !told.insert(violation.invariant) {
                continue;
            }
            let alike = self.violations.iter();
            let alike = alike.filter(|other| other.invariant == violation.invariant);
            let subject = violation.job.map(|id| format!("job {id} "));
            writeln!(
                out,
                "{} {}{} (seed {}, {} in all)",
                ink.red(violation.invariant),
                subject.unwrap_or_default(),
                violation.sentence,
                end.seed,
                alike.count(),
            )?;
            history(out, violation, records, start, ink)?;
        }
        self.recovery.print(out)
    }
}

impl Recovery {
    /// One percentile of the recoveries with no other fault around.
    fn percentile(&self, percent: usize) -> Option<Micros> {
        let last = self.alone.len().checked_sub(1)?;
        Some(self.alone[last * percent / 100])
    }

    /// A histogram in steps of a quarter of a second.
    fn print(&self, out: &mut impl Write) -> io::Result<()> {
        const STEP: Micros = 250_000;
        let Some(longest) = self.alone.last().max(self.mixed.last()) else {
            return Ok(());
        };
        writeln!(
            out,
            "recovery of killed workers' jobs, `#` alone, `+` among other faults:"
        )?;
        let count = |times: &[Micros], from: Micros| {
            let within = times
                .iter()
                .filter(|&&took| took >= from && took < from + STEP);
            within.count()
        };
        let steps = 0..=longest / STEP;
        let rows: Vec<_> = steps
            .map(|step| {
                (
                    step,
                    count(&self.alone, step * STEP),
                    count(&self.mixed, step * STEP),
                )
            })
            .collect();
        let most = rows
            .iter()
            .map(|(_, alone, mixed)| alone + mixed)
            .max()
            .unwrap_or(1)
            .max(1);
        let bar = |count: usize| (count * BAR).div_ceil(most);
        for (step, alone, mixed) in rows {
            writeln!(
                out,
                "  {:>5} ms {:>5} {}{}",
                (step + 1) * STEP / 1000,
                alone + mixed,
                "#".repeat(bar(alone)),
                "+".repeat(bar(mixed)),
            )?;
        }
        Ok(())
    }
}

/// The line of figures that ends a good run.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let figures = &self.figures;
        let ms = |time: Option<Micros>| {
            time.map_or("-".to_owned(), |time| format!("{}", time.div_ceil(1000)))
        };
        write!(
            f,
            "seed={} seconds={} jobs={} once={} dead={} lost_with_redis={} starts={} restarts={} \
             kills={} stops={} terms={} redis_restarts={} redis_losses={} redis_pauses={} \
             postgres_restarts={} cuts={} oom={} snapshots={} effects={} recoveries={} \
             recovery_p50_ms={} recovery_p99_ms={} recovery_p100_ms={} lateness_p99_ms={} \
             violations={}",
            figures.seed,
            figures.seconds,
            figures.jobs,
            figures.once,
            figures.dead,
            figures.lost,
            figures.starts,
            figures.restarts,
            figures.kills,
            figures.stops,
            figures.terms,
            figures.redis_kept,
            figures.redis_lost,
            figures.redis_paused,
            figures.postgres,
            figures.cuts,
            figures.oom,
            figures.snapshots,
            figures.effects,
            self.recovery.alone.len() + self.recovery.mixed.len(),
            ms(self.recovery.percentile(50)),
            ms(self.recovery.percentile(99)),
            ms(self.recovery.percentile(100)),
            ms(figures.lateness),
            self.violations.len(),
        )
    }
}

/// Colour, on a terminal.
#[derive(Clone, Copy)]
struct Ink(bool);

impl Ink {
    fn red(self, text: &str) -> String {
        self.paint("1;31", text)
    }

    fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.0 {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// One line of a history.
struct Line {
    at: Micros,
    by: String,
    what: String,
    fault: bool,
}

/// Everything that was written about a violation's job or process, with the faults
/// of that time.
fn history(
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
        } if of_serial(serial) => {
            let mut what = format!("offers it: {kind:?}, {route:?}, serial {serial}");
            if let Some(due) = due {
                what += &format!(", due {due}");
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
        } if of_serial(serial) => {
            let sure = if *certain { "surely" } else { "perhaps" };
            Some(format!("is told that it is {sure} refused: {error}"))
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

//! What the check has found, for people.

mod timeline;

use std::{
    collections::BTreeSet,
    fmt,
    io::{self, Write},
};

use queue::JobId;

use crate::{
    check::Causes,
    history::{Final, Micros, Record},
};

/// Violations whose history is printed; the others are only counted.
const TOLD: usize = 10;
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
    pub(crate) failovers: usize,
    pub(crate) redis_paused: usize,
    pub(crate) postgres: usize,
    pub(crate) cuts: usize,
    pub(crate) pauses: usize,
    /// Offers refused by a queue without room.
    pub(crate) full: usize,
    pub(crate) cancelled: usize,
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
    pub(crate) causes: Causes,
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
            timeline::print(out, violation, records, start, ink)?;
        }
        for (cause, count) in &self.causes {
            writeln!(out, "{count:>7} jobs started again: {cause}")?;
        }
        self.recovery.print(out)
    }
}

impl Recovery {
    /// One percentile of the recoveries with no other fault around.
    fn percentile(&self, percent: usize) -> Option<Micros> {
        let rank = (self.alone.len() * percent).div_ceil(100);
        self.alone.get(rank.checked_sub(1)?).copied()
    }

    /// A histogram in steps of a quarter of a second; steps without any are left out.
    pub(crate) fn print(&self, out: &mut impl Write) -> io::Result<()> {
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
            .filter(|(_, alone, mixed)| alone + mixed > 0)
            .collect();
        let most = rows
            .iter()
            .map(|(_, alone, mixed)| alone + mixed)
            .max()
            .unwrap_or(1)
            .max(1);
        let bar = |count: usize| (count * BAR).div_ceil(most);
        let mut next = rows.first().map_or(0, |(step, ..)| *step);
        for (step, alone, mixed) in rows {
            if step > next {
                writeln!(out, "        ...")?;
            }
            next = step + 1;
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
             kills={} stops={} terms={} redis_restarts={} redis_losses={} failovers={} redis_pauses={} \
             postgres_restarts={} cuts={} oom={} pauses={} full={} cancelled={} snapshots={} \
             effects={} recoveries={} \
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
            figures.failovers,
            figures.redis_paused,
            figures.postgres,
            figures.cuts,
            figures.oom,
            figures.pauses,
            figures.full,
            figures.cancelled,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        check::story::Story,
        history::{Fault, Kind},
    };

    fn printed(story: &Story, colour: bool) -> String {
        let mut out = Vec::new();
        let report = story.report();
        report
            .print(&mut out, &story.records, &story.end, colour)
            .unwrap();
        String::from_utf8(out).unwrap()
    }

    /// A job that runs twice, beside another one, with a fault in between.
    fn doubled() -> (Story, JobId) {
        let mut story = Story::new();
        let job = story.enqueue(0, Kind::Plain);
        let other = story.enqueue(0, Kind::Plain);
        story.run(10, "w1.1", &job, 1);
        story.run(12, "w1.1", &other, 1);
        story.fault(100, 200, Fault::RedisPause, "redis");
        story.fault(9000, 9100, Fault::Delay, "w3.1");
        story.run(500, "w2.1", &job, 1);
        (story, job.id)
    }

    #[test]
    fn a_violation_tells_the_seed_and_the_history_of_its_job() {
        let (story, job) = doubled();
        let text = printed(&story, false);
        let first = text.lines().next().unwrap();
        assert!(
            first.starts_with(&format!("I3 job {job} started on w1.1")),
            "{text}"
        );
        assert!(first.ends_with("(seed 7, 1 in all)"), "{text}");
        let rest: Vec<_> = text
            .lines()
            .skip(1)
            .take_while(|line| !line.is_empty())
            .collect();
        let told = [
            "offers it",
            "is told that it is accepted",
            "starts it",
            "ends it",
            "RedisPause of redis until 0.200000",
            "starts it",
            "ends it",
        ];
        assert_eq!(rest.len(), told.len(), "{text}");
        for (line, told) in rest.iter().zip(told) {
            assert!(line.contains(told), "{text}");
        }
    }

    #[test]
    fn colours_are_for_terminals() {
        let (story, _) = doubled();
        assert!(!printed(&story, false).contains('\x1b'));
        assert!(printed(&story, true).contains('\x1b'));
    }

    #[test]
    fn recoveries_are_a_histogram_and_a_line_of_figures() {
        let mut story = Story::new();
        for at in [5000, 5010, 5020] {
            let job = story.enqueue(at, Kind::Plain);
            story.start(at + 1, "w1.1", &job, 1);
            story.run(6000 + 2 * (at - 4000), "w2.1", &job, 1);
        }
        story.kill(6000, "w1.1");
        let text = printed(&story, false);
        assert!(
            text.contains("   2250 ms     3 ########################################"),
            "{text}"
        );
        let figures = story.report().to_string();
        assert!(!figures.contains('\n'));
        for figure in [
            "seed=7 ",
            "kills=1 ",
            "recoveries=3 ",
            "recovery_p50_ms=2020 ",
            "recovery_p100_ms=2040 ",
            "violations=0",
        ] {
            assert!(figures.contains(figure), "{figures}");
        }
    }
}

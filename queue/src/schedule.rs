use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use croner::{
    Cron,
    parser::{CronParser, Seconds, Year},
};
use jiff::{Timestamp, Zoned, tz::TimeZone};
use sha2::{Digest, Sha256};

use crate::{EnqueueError, Envelope, Job, JobId, job::is_name};

/// How late [`CatchUp::Skip`] still fires a slot, in ms: what a restart takes.
const SKIP_AFTER_MS: u64 = 60_000;
/// Stands before the name of a schedule where somebody has asked for a slot of it.
pub(crate) const ASKED: char = '!';
/// Shortest and longest period in ms; a score in Redis is exact up to 2^53.
const PERIODS_MS: std::ops::RangeInclusive<u64> = 1_000..=315_360_000_000;

/// When jobs come by themselves: each moment of its rule is a slot, and a job.
///
/// It is handed to [`crate::Registry::schedule`], with what makes the job. All
/// workers that know it follow it, without a leader, and each slot is one job.
/// Slots are counted by the clock of the Redis server.
#[derive(Debug, Clone)]
pub struct Schedule {
    name: String,
    rule: Rule,
    zone: Option<String>,
    catch_up: CatchUp,
}

#[derive(Debug, Clone)]
enum Rule {
    Cron(String),
    Every(Duration),
}

/// What becomes of slots that came while Redis or all workers were away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CatchUp {
    /// Only the latest fires, and only when it is at most a minute late.
    #[default]
    Skip,
    /// Only the latest fires, however late it is.
    One,
    /// The newest fire, the oldest of them first, however late they are.
    All {
        /// Most of them, 1 to 1000; the older ones are skipped.
        at_most: u16,
    },
}

impl Schedule {
    /// A cron expression of five fields: minute, hour, day of month, month, day of week.
    ///
    /// Its clock is UTC, or that of [`Schedule::zone`]. The name identifies the schedule
    /// in its queue: lower case letters, digits, `_`, `-` and `.`. Beyond lists, ranges
    /// and steps there are names (`MON`, `JAN`), `L` (last), `W` (nearest weekday), `#`
    /// (nth weekday), and `@hourly` to `@yearly`. When both days are given, either is
    /// enough, as in every cron since Vixie's.
    ///
    /// Where the clock changes, the rules are Vixie cron's too. One fixed time of day
    /// (`30 2 * * *`) fires once every day: at the first moment after the gap when the
    /// clock leaps over it, and the first time only when the clock shows it twice. All
    /// others (`*/15 * * * *`, `0 8-18 * * *`) fire whenever the clock shows it.
    pub fn cron(name: impl Into<String>, expression: impl Into<String>) -> Self {
        Self::new(name.into(), Rule::Cron(expression.into()))
    }

    /// A slot in every period, at the multiples of it since the Unix epoch.
    ///
    /// The period is whole milliseconds, 1 s to 10 years; the name is as in
    /// [`Schedule::cron`].
    pub fn every(name: impl Into<String>, period: Duration) -> Self {
        Self::new(name.into(), Rule::Every(period))
    }

    fn new(name: String, rule: Rule) -> Self {
        Self {
            name,
            rule,
            zone: None,
            catch_up: CatchUp::default(),
        }
    }

    /// The time zone that a cron expression's clock is in, by its IANA name.
    ///
    /// The rules of all zones are part of the program: no host has others.
    #[must_use]
    pub fn zone(mut self, name: impl Into<String>) -> Self {
        self.zone = Some(name.into());
        self
    }

    /// What becomes of missed slots; [`CatchUp::Skip`] when it is not called.
    #[must_use]
    pub fn catch_up(mut self, policy: CatchUp) -> Self {
        self.catch_up = policy;
        self
    }

    /// The slots, and the rule as one line, or all that is wrong with it.
    fn read(&self) -> Result<(Slots, String), Vec<String>> {
        let mut wrong = Vec::new();
        if !is_name(&self.name) {
            wrong.push("the name: use a-z, 0-9, '_', '-', '.'".to_owned());
        }
        if let CatchUp::All { at_most } = self.catch_up
            && !(1..=1000).contains(&at_most)
        {
            wrong.push(format!("at_most {at_most}: 1 to 1000"));
        }
        let zone = self.zone.as_deref().unwrap_or("UTC");
        let zone = TimeZone::get(zone).map_err(|_| {
            wrong.push(format!(
                "the zone {zone:?} is unknown: use a name of the IANA database, \
                 such as \"Europe/Berlin\""
            ));
        });
        let slots = match &self.rule {
            Rule::Every(period) => {
                if self.zone.is_some() {
                    wrong.push("a period has no zone".to_owned());
                }
                let ms = u64::try_from(period.as_millis()).unwrap_or(u64::MAX);
                if !PERIODS_MS.contains(&ms) || Duration::from_millis(ms) != *period {
                    wrong.push(format!(
                        "the period {period:?}: use whole milliseconds, 1 s to 10 years"
                    ));
                }
                Ok((Slots::Every(ms), format!("every {ms} ms")))
            }
            Rule::Cron(expression) => read_cron(expression)
                .map_err(|error| wrong.push(error))
                .and_then(|cron| Ok((cron, zone.clone()?)))
                .map(|(cron, zone)| {
                    let words: Vec<&str> = expression.split_whitespace().collect();
                    let rule = format!(
                        "cron {} {}",
                        words.join(" "),
                        zone.iana_name().unwrap_or("UTC")
                    );
                    (Slots::Cron(Box::new(cron), zone), rule)
                }),
        };
        match slots {
            Ok(slots) if wrong.is_empty() => Ok(slots),
            _ => Err(wrong
                .into_iter()
                .map(|what| format!("schedule {:?}: {what}", self.name))
                .collect()),
        }
    }
}

fn read_cron(expression: &str) -> Result<Cron, String> {
    let parser = CronParser::builder()
        .seconds(Seconds::Disallowed)
        .year(Year::Disallowed)
        .build();
    let cron = parser.parse(expression).map_err(|error| {
        format!(
            "{expression:?} is no cron expression ({error}): use five fields, minute, \
             hour, day of month, month, day of week, such as \"0 6 * * MON-FRI\""
        )
    })?;
    // Without a year in it, what never came since the epoch never comes.
    let epoch = Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC);
    match cron.find_next_occurrence(&epoch, false) {
        Ok(_) => Ok(cron),
        Err(_) => Err(format!(
            "{expression:?} never comes: no month has such a day"
        )),
    }
}

/// The moments of a rule, in ms of the Unix epoch.
#[derive(Debug)]
enum Slots {
    Cron(Box<Cron>, TimeZone),
    Every(u64),
}

impl Slots {
    /// The first slot after this time; `None` when there is none in any calendar.
    fn after(&self, ms: u64) -> Option<u64> {
        match self {
            Self::Every(period) => Some((ms / period + 1) * period),
            Self::Cron(cron, zone) => {
                let next = cron.find_next_occurrence(&whole_second(ms, zone)?, false);
                to_ms(&next.ok()?)
            }
        }
    }

    /// The last slot that is not after this time.
    fn until(&self, ms: u64) -> Option<u64> {
        match self {
            Self::Every(period) => Some(ms / period * period),
            Self::Cron(cron, zone) => {
                let last = cron.find_previous_occurrence(&whole_second(ms, zone)?, true);
                to_ms(&last.ok()?)
            }
        }
    }
}

/// Slots of cron are whole seconds, so a fraction changes nothing in the answer.
fn whole_second(ms: u64, zone: &TimeZone) -> Option<Zoned> {
    let seconds = i64::try_from(ms / 1000).ok()?;
    Some(Timestamp::from_second(seconds).ok()?.to_zoned(zone.clone()))
}

fn to_ms(time: &Zoned) -> Option<u64> {
    u64::try_from(time.timestamp().as_millisecond()).ok()
}

type Make = dyn Fn(SystemTime) -> Result<Envelope, EnqueueError> + Send + Sync;

/// A schedule that was found right, and what makes its jobs.
pub(crate) struct Plan {
    pub(crate) name: String,
    pub(crate) queue: &'static str,
    /// Name and version of the job's payload.
    pub(crate) kind: (&'static str, u16),
    /// The rule as text: two workers with the same one compute the same slots.
    pub(crate) rule: String,
    slots: Slots,
    catch_up: CatchUp,
    make: Box<Make>,
}

/// What is to be done about a slot that is due.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Due {
    /// Slots to fire, oldest first.
    pub(crate) fire: Vec<u64>,
    /// The slot that comes after them; it may be in the past.
    pub(crate) next: u64,
}

/// Why a slot has no job.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MakeError {
    #[error(transparent)]
    Enqueue(#[from] EnqueueError),
    #[error("the function that makes the job panicked")]
    Panicked,
}

impl Plan {
    pub(crate) fn new<J, F>(schedule: Schedule, job: F) -> Result<Self, Vec<String>>
    where
        J: Job,
        F: Fn(SystemTime) -> J + Send + Sync + 'static,
    {
        let (slots, rule) = schedule.read()?;
        Ok(Self {
            name: schedule.name,
            kind: (J::NAME, J::VERSION),
            rule,
            queue: J::QUEUE,
            slots,
            catch_up: schedule.catch_up,
            make: Box::new(move |slot| Envelope::new(&job(slot))),
        })
    }

    /// The first slot after this time, in ms of the Unix epoch.
    pub(crate) fn after(&self, now: u64) -> Option<u64> {
        self.slots.after(now)
    }

    /// What to do now about the slot `due`, and at most `page` that came after it.
    ///
    /// The slot in Redis counts as one of ours, whatever a zone's rules say meanwhile.
    pub(crate) fn due(&self, due: u64, now: u64, page: usize) -> Option<Due> {
        let next = self.after(now.max(due))?;
        let latest = self.slots.until(now).map_or(due, |last| last.max(due));
        let most = match self.catch_up {
            CatchUp::Skip if now.saturating_sub(latest) > SKIP_AFTER_MS => 0,
            CatchUp::Skip | CatchUp::One => 1,
            CatchUp::All { at_most } => usize::from(at_most),
        };
        let older = |slot: &u64| Some(self.slots.until(*slot - 1)?.max(due));
        let mut fire: Vec<u64> = std::iter::successors(Some(latest), |slot| {
            (*slot > due).then(|| older(slot).unwrap_or(due))
        })
        .take(most)
        .collect();
        fire.reverse();
        let next = fire.get(page).copied().unwrap_or(next);
        fire.truncate(page);
        Some(Due { fire, next })
    }

    /// The job of a slot; `now` is the server's time in ms.
    ///
    /// # Errors
    /// [`MakeError`]; such a slot has no job, however often it is asked for.
    pub(crate) fn job(&self, namespace: &str, slot: u64, now: u64) -> Result<Envelope, MakeError> {
        let id = slot_id(namespace, self.queue, &self.name, slot);
        self.job_with(id, slot, now)
    }

    /// The job of a slot that somebody has asked for.
    ///
    /// # Errors
    /// As [`Plan::job`].
    pub(crate) fn asked_job(
        &self,
        namespace: &str,
        slot: u64,
        now: u64,
    ) -> Result<Envelope, MakeError> {
        let id = asked_id(namespace, self.queue, &self.name, slot);
        self.job_with(id, slot, now)
    }

    fn job_with(&self, id: JobId, slot: u64, now: u64) -> Result<Envelope, MakeError> {
        let time = UNIX_EPOCH + Duration::from_millis(slot);
        // It runs in the worker's own task, which must not end with it.
        let made = catch_unwind(AssertUnwindSafe(|| (self.make)(time)));
        let mut envelope = made.map_err(|_| MakeError::Panicked)??;
        envelope.id = id;
        envelope.enqueued_at_ms = now;
        Ok(envelope)
    }
}

/// The one id of the job of a slot that was asked for: never that of a slot of the rule,
/// because no name has a `!` in it.
pub(crate) fn asked_id(namespace: &str, queue: &str, name: &str, slot: u64) -> JobId {
    slot_id(namespace, queue, &format!("{ASKED}{name}"), slot)
}

/// The one id of a slot's job: a UUID of version 8 that sorts like one of version 7.
///
/// 48 bits of time, then what identifies the slot, by SHA-256 (RFC 9562, 5.8).
fn slot_id(namespace: &str, queue: &str, name: &str, slot: u64) -> JobId {
    // No name has a NUL in it.
    let digest = Sha256::digest(format!("{namespace}\0{queue}\0{name}\0{slot}"));
    let mut bytes = [0; 16];
    bytes[..6].copy_from_slice(&slot.to_be_bytes()[2..]);
    bytes[6..].copy_from_slice(&digest[..10]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid().into()
}

#[cfg(test)]
mod tests;

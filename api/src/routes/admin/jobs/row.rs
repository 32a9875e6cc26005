//! A job as a row of a table.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use queue::{
    Envelope, Priority,
    inspect::{Located, Place, State, moment, span},
};

use super::payload::beginning;

/// Most bytes of an error in a row; the job's own page has more.
const SHORT: usize = 300;

/// A time as people say it, and as it is.
pub(super) struct When {
    /// `3 min ago`, `in 3 min`, or `3 min` where the heading says the rest.
    pub(super) text: String,
    /// `2026-11-22 06:54:45Z`; empty where only the length is known.
    pub(super) at: String,
}

impl When {
    /// A time on either side of now, by this machine's clock.
    pub(super) fn at(ms: u64) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX));
        let text = match now.checked_sub(ms) {
            Some(0..1000) => "just now".to_owned(),
            Some(since) => format!("{} ago", span(Duration::from_millis(since))),
            None => format!("in {}", span(Duration::from_millis(ms - now))),
        };
        Self {
            text,
            at: moment(ms),
        }
    }

    fn long(time: Duration) -> Self {
        Self {
            text: span(time),
            at: String::new(),
        }
    }
}

/// A job as a row.
pub(super) struct Row {
    /// Its id; empty where this release cannot read the envelope, and so do nothing with it.
    pub(super) id: String,
    /// Its kind, or why it cannot be read.
    pub(super) kind: String,
    /// Its priority, where it has another than most.
    pub(super) priority: Option<Priority>,
    /// `2 of 20`.
    pub(super) attempt: String,
    pub(super) when: Option<When>,
    /// What there is to say of it in its state.
    pub(super) about: String,
    /// The process that has it in hand, if one has.
    pub(super) worker: Option<String>,
    /// Where it may be called back from.
    pub(super) letter: Option<Letter>,
    /// Whether it can be deleted: nobody has it in hand.
    pub(super) idle: bool,
}

/// Where a dead job lies.
pub(super) struct Letter {
    pub(super) partition: String,
    pub(super) id: String,
}

/// The columns that mean something else in each state.
pub(super) struct Headings {
    pub(super) when: &'static str,
    pub(super) about: &'static str,
}

impl Headings {
    pub(super) fn of(state: State) -> Self {
        let (when, about) = match state {
            State::Ready => ("Ready", ""),
            State::InHand => ("For", "Worker"),
            State::Delayed => ("Due", "Why"),
            State::Parked => ("Enqueued", "Waits, as there is"),
            State::Blocked => ("Enqueued", "Waits"),
            State::Dead => ("Died", "Error"),
        };
        Self { when, about }
    }
}

impl From<&Located> for Row {
    fn from(job: &Located) -> Self {
        let envelope = Envelope::decode(&job.envelope);
        let mut row = Self {
            id: job.id.map(|id| id.to_string()).unwrap_or_default(),
            kind: String::new(),
            priority: None,
            attempt: String::new(),
            when: None,
            about: String::new(),
            worker: None,
            letter: None,
            idle: true,
        };
        let mut is_retry = false;
        match envelope {
            Ok(envelope) => {
                is_retry = envelope.attempt > 1;
                row.attempt = format!("{} of {}", envelope.attempt, envelope.max_attempts);
                row.priority = Some(envelope.priority).filter(|one| *one != Priority::Normal);
                row.when = Some(When::at(envelope.enqueued_at_ms));
                row.kind = envelope.name;
            }
            Err(error) => row.kind = error.to_string(),
        }
        match &job.place {
            Place::Ready { entry, .. } => row.when = Some(When::at(entry.ms())),
            Place::InHand {
                consumer,
                since,
                deliveries,
                ..
            } => {
                row.when = Some(When::long(*since));
                row.idle = consumer.is_none();
                row.worker = consumer.as_deref().map(process_of).map(str::to_owned);
                row.about = match (consumer, deliveries) {
                    (None, _) => "between two workers".to_owned(),
                    (Some(_), 0 | 1) => String::new(),
                    (Some(_), times) => format!("delivered {times} times"),
                };
            }
            Place::Delayed { due_ms } => {
                row.when = Some(When::at(*due_ms));
                let why = if is_retry { "retrying" } else { "scheduled" };
                row.about = why.to_owned();
            }
            Place::Parked { reason } => row.about = reason.to_string(),
            Place::Blocked { slot } => {
                row.about = match slot.limit.get() {
                    1 => "until no other job with its key runs".to_owned(),
                    most => format!("until fewer than {most} jobs with its key run"),
                };
            }
            Place::Dead {
                letter, why, error, ..
            } => {
                row.when = Some(When::at(letter.ms()));
                row.about = format!("{why}: {}", beginning(error, SHORT));
                row.letter = Some(Letter {
                    partition: job.queue.clone(),
                    id: letter.to_string(),
                });
            }
        }
        row
    }
}

/// The process of a worker, which has a name of its own in each partition: host, process, and what
/// is random.
pub(super) fn process_of(consumer: &str) -> &str {
    consumer
        .rsplit_once(':')
        .map_or(consumer, |(process, _)| process)
}

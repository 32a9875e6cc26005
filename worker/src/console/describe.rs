//! A job in words, and as JSON.

use std::time::Duration;

use queue::inspect::{Located, Place, moment, span};
use queue::{Envelope, Packer, Packing, Priority};
use serde_json::{Value, json};

use super::terminal::{Cell, RED, YELLOW, cell};

/// Most characters of an error in a table.
const SHORT: usize = 72;

/// The heading of [`row`].
pub(super) const HEADING: [&str; 5] = ["id", "job", "attempt", "state", ""];

/// A job as a line of a table.
pub(super) fn row(job: &Located) -> Vec<Cell> {
    let envelope = Envelope::decode(&job.envelope);
    let (name, attempt) = match &envelope {
        Ok(job) => (
            match job.priority {
                Priority::Normal => job.name.clone(),
                priority => format!("{} ({priority})", job.name),
            },
            format!("{} of {}", job.attempt, job.max_attempts),
        ),
        Err(error) => (error.to_string(), String::new()),
    };
    let state = job.place.state();
    let is_dead = matches!(job.place, Place::Dead { .. });
    let is_parked = matches!(job.place, Place::Parked { .. });
    let state = cell(state.name()).styled(if is_dead { RED } else { YELLOW }, is_dead || is_parked);
    let id = job.id.map(|id| id.to_string()).unwrap_or_default();
    vec![
        cell(id),
        cell(name),
        cell(attempt),
        state,
        cell(circumstances(&job.place)),
    ]
}

/// What there is to say of a job in its state.
fn circumstances(place: &Place) -> String {
    match place {
        Place::Ready { entry, .. } => format!("since {}", moment(entry.ms())),
        Place::InHand {
            consumer: None,
            since,
            ..
        } => format!("between two workers for {}", span(*since)),
        Place::InHand {
            consumer: Some(consumer),
            since,
            deliveries,
            ..
        } => {
            let times = match deliveries {
                0 | 1 => String::new(),
                more => format!(", delivered {more} times"),
            };
            format!("with {consumer} for {}{times}", span(*since))
        }
        Place::Delayed { due_ms } => format!("due {}", moment(*due_ms)),
        Place::Parked { reason } => reason.to_string(),
        Place::Blocked { slot } => match slot.limit.get() {
            1 => "until no other job with its key runs".to_owned(),
            most => format!("until fewer than {most} jobs with its key run"),
        },
        Place::Dead {
            letter, why, error, ..
        } => {
            let mut line = format!("{}, {why}: {error}", moment(letter.ms()));
            if let Some((end, _)) = line.char_indices().nth(SHORT) {
                line.truncate(end);
                line.push('…');
            }
            line
        }
    }
}

/// All that is known of a job, a line each.
pub(super) fn lines(job: &Located, packer: &Packer) -> Vec<Vec<Cell>> {
    let mut lines = Vec::new();
    let mut say = |name: &str, value: String| lines.push(vec![cell(name), cell(value)]);
    say("queue", job.queue.clone());
    let state = job.place.state();
    match &job.place {
        // The whole of it, below.
        Place::Dead { letter, .. } => {
            say("state", format!("{state} since {}", moment(letter.ms())));
        }
        place => say("state", format!("{state}, {}", circumstances(place))),
    }
    match Envelope::decode(&job.envelope) {
        Ok(mut job) => {
            say("job", format!("{}, version {}", job.name, job.version));
            say(
                "attempt",
                format!("{} of {}", job.attempt, job.max_attempts),
            );
            if job.priority != Priority::Normal {
                say("priority", job.priority.to_string());
            }
            say("enqueued", moment(job.enqueued_at_ms));
            say("time-out", span(Duration::from_millis(job.timeout_ms)));
            let flags = [(job.once, "once"), (job.unique.is_some(), "unique")];
            let flags: Vec<_> = flags
                .iter()
                .filter(|flag| flag.0)
                .map(|flag| flag.1)
                .collect();
            if !flags.is_empty() {
                say("kind", flags.join(", "));
            }
            if let Some(traceparent) = &job.traceparent {
                say("trace", traceparent.clone());
            }
            if let Some(packing) = job.packing {
                say("packed", packed(packing));
            }
            let unpacked = packer.unpack(&mut job);
            say(
                "payload",
                match unpacked {
                    Ok(()) => String::from_utf8_lossy(&job.payload).into_owned(),
                    Err(error) => format!("cannot be shown: {error}"),
                },
            );
        }
        Err(error) => say("job", error.to_string()),
    }
    if let Place::Dead {
        why,
        error,
        attempts,
        ..
    } = &job.place
    {
        say("why", format!("{why}, after {attempts}"));
        say("error", error.clone());
    }
    lines
}

/// How a payload was packed.
fn packed(packing: Packing) -> String {
    let encrypted = packing.key.map(|id| format!("encrypted with key {id}"));
    let compressed = packing.compressed.then(|| "compressed".to_owned());
    let all: Vec<_> = [compressed, encrypted].into_iter().flatten().collect();
    all.join(", ")
}

/// A job as JSON; its payload only where one job was asked for, with what unpacks it.
pub(super) fn document(job: &Located, packer: Option<&Packer>) -> Value {
    let mut document = json!({
        "id": job.id.map(|id| id.to_string()),
        "queue": job.queue,
        "state": job.place.state().name(),
    });
    let mut add = |more: Value| {
        if let (Some(all), Value::Object(more)) = (document.as_object_mut(), more) {
            all.extend(more);
        }
    };
    match Envelope::decode(&job.envelope) {
        Ok(mut job) => {
            add(json!({
                "name": job.name,
                "version": job.version,
                "attempt": job.attempt,
                "max_attempts": job.max_attempts,
                "priority": job.priority.to_string(),
                "enqueued_ms": job.enqueued_at_ms,
                "timeout_ms": job.timeout_ms,
                "once": job.once,
                "unique": job.unique.is_some(),
                "compressed": job.packing.is_some_and(|packing| packing.compressed),
                "key": job.packing.and_then(|packing| packing.key),
                "traceparent": job.traceparent,
            }));
            if let Some(packer) = packer {
                add(match packer.unpack(&mut job) {
                    Ok(()) => {
                        let payload: Option<Value> = serde_json::from_slice(&job.payload).ok();
                        json!({ "payload": payload })
                    }
                    Err(error) => json!({ "payload": null, "not_shown": error.to_string() }),
                });
            }
        }
        Err(error) => add(json!({ "unreadable": error.to_string() })),
    }
    add(match &job.place {
        Place::Ready { entry, .. } => json!({ "since_ms": entry.ms() }),
        Place::InHand {
            consumer,
            since,
            deliveries,
            ..
        } => json!({
            "worker": consumer,
            "held_seconds": since.as_secs_f64(),
            "deliveries": deliveries,
        }),
        Place::Delayed { due_ms } => json!({ "due_ms": due_ms }),
        Place::Parked { reason } => json!({ "reason": reason.to_string() }),
        Place::Blocked { slot } => json!({ "key_limit": slot.limit }),
        Place::Dead {
            letter,
            why,
            error,
            attempts,
        } => json!({
            "died_ms": letter.ms(),
            "why": why,
            "error": error,
            "attempts": attempts,
        }),
    });
    document
}

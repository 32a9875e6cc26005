//! What becomes of an entry: how its attempt ended, or why it has none here.

use super::{End, contain::contain};
use crate::{
    DecodeError, Ended, JobError, JobId, Priority, Unknown, UnpackError, backoff,
    cancel::Target,
    envelope::{Extras, Header},
    holds::Holds,
    job::Fate,
    parked::envelope_prefix,
    registry::Kind,
    worker::{entry::Entry, lane::Lane, settle::Settlement},
};

/// Most of an error's text that is kept in a dead letter, in bytes.
const MAX_ERROR: usize = 8 * 1024;

/// Turns the end of an attempt into the entry's fate; `None` when it has none.
pub(super) fn conclude<C>(
    kind: &Kind<C>,
    header: &Header<'_>,
    payload: &[u8],
    end: End,
) -> Option<Settlement> {
    let error = match end {
        End::Returned(Ok(())) => {
            tracing::debug!("job done");
            let job = header.id();
            return Some(match header.extras {
                extras if extras.is_plain() => Settlement::Done,
                Extras {
                    unique: Some(unique),
                    ..
                } if header.extras.is_unique_only() => Settlement::DoneUnique { job, unique },
                extras => Settlement::Completed {
                    job,
                    holds: Holds::new(&extras),
                    next: extras.next.map(<[u8]>::to_vec),
                    result: None,
                },
            });
        }
        End::HandBack => {
            tracing::info!("job handed back");
            return Some(Settlement::HandBack);
        }
        End::Cancelled => {
            tracing::info!("job cancelled");
            return Some(Settlement::Cancelled(Target::new(header)));
        }
        End::Lost => {
            tracing::warn!("job given up: another worker may own it");
            return None;
        }
        End::Returned(Err(error)) => error,
        End::Panicked(text) => JobError::retry(format!("panicked: {text}")),
        End::TimedOut => JobError::retry(format!("timed out after {} ms", header.timeout_ms)),
    };
    let fate = error.fate;
    // Moved in, because the error's drop is the application's code too.
    let told = contain(move || {
        let error = error;
        error.chain()
    });
    let mut text = told.unwrap_or_else(|panic| format!("the error panicked: {panic}"));
    if text.len() > MAX_ERROR {
        text.truncate(text.floor_char_boundary(MAX_ERROR));
    }
    let Fate::Retry { after } = fate else {
        tracing::error!(error = text, "job discarded");
        return Some(dead(header, payload, "discarded", text));
    };
    if header.attempt >= header.max_attempts {
        tracing::error!(error = text, "job is dead: its attempts are used up");
        return Some(dead(header, payload, "attempts", text));
    }
    let after = after.unwrap_or_else(|| {
        contain(|| (kind.backoff)(header.attempt)).unwrap_or_else(|panic| {
            tracing::error!(panic, "Job::backoff panicked: the default is used");
            backoff::full_jitter(header.attempt)
        })
    });
    let after_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
    tracing::warn!(error = text, retry_ms = after_ms, "attempt failed");
    let next = Header {
        attempt: header.attempt.saturating_add(1),
        ..*header
    };
    Some(Settlement::Retry {
        job: header.id(),
        envelope: next.write(payload),
        after,
        holds: Holds::new(&header.extras),
        #[cfg(feature = "testing")]
        error: text,
    })
}

/// The same for whoever counts it.
pub(super) fn ended(fate: Option<&Settlement>) -> Ended {
    match fate {
        Some(Settlement::Done | Settlement::DoneUnique { .. } | Settlement::Completed { .. }) => {
            Ended::Done
        }
        Some(Settlement::Retry { .. }) => Ended::Retried,
        Some(Settlement::Dead { .. }) => Ended::Dead,
        Some(Settlement::Cancelled(_)) => Ended::Cancelled,
        // What no worker here knows has no attempt, and goes to another one as well.
        Some(Settlement::HandBack | Settlement::Park { .. }) => Ended::HandedBack,
        None => Ended::Lost,
    }
}

fn dead(header: &Header<'_>, payload: &[u8], why: &'static str, error: String) -> Settlement {
    Settlement::Dead {
        job: Some(header.id()),
        why,
        error,
        attempts: u32::from(header.attempt),
        envelope: header.write(payload),
        once: header.once(),
        holds: Holds::new(&header.extras),
    }
}

/// Sets a job aside that this worker does not know.
pub(super) fn park(lane: &Lane, header: &Header<'_>, entry: &Entry, unknown: &Unknown) {
    tracing::warn!(
        job.id = %header.id(),
        job.name = header.name,
        job.version = header.version,
        queue.name = lane.queue,
        reason = %unknown,
        "job parked"
    );
    let settlement = Settlement::Park {
        field: header.id().to_string(),
        prefix: unknown.prefix(),
        envelope: entry.envelope.clone(),
        holds: Holds::new(&header.extras),
    };
    lane.settle(entry.id, &entry.consumer, settlement);
}

/// Buries a job whose payload nobody can unpack.
pub(super) fn bury(lane: &Lane, header: &Header<'_>, entry: &Entry, error: &UnpackError) {
    tracing::error!(
        job.id = %header.id(),
        job.name = header.name,
        queue.name = lane.queue,
        %error,
        "cannot unpack a job"
    );
    let settlement = Settlement::Dead {
        job: Some(header.id()),
        why: "envelope",
        error: error.to_string(),
        attempts: entry.deliveries,
        once: header.once(),
        holds: Holds::new(&header.extras),
        envelope: entry.envelope.clone(),
    };
    lane.settle(entry.id, &entry.consumer, settlement);
}

/// Sets an envelope aside that cannot be read, or buries it when nobody can.
pub(super) fn refuse(lane: &Lane, entry: Entry, error: &DecodeError) {
    let (id, consumer) = (entry.id, entry.consumer);
    let settlement = match error {
        DecodeError::Version(version) => Settlement::Park {
            // Another stream can have an entry with the same id.
            field: match id.priority {
                Priority::Normal => id.to_string(),
                priority => format!("{priority}.{id}"),
            },
            prefix: envelope_prefix(*version),
            envelope: entry.envelope,
            holds: Holds::default(),
        },
        DecodeError::Empty | DecodeError::Foreign | DecodeError::Header(_) => Settlement::Dead {
            job: None::<JobId>,
            why: "envelope",
            error: error.to_string(),
            attempts: entry.deliveries,
            envelope: entry.envelope,
            once: false,
            holds: Holds::default(),
        },
    };
    tracing::error!(queue.name = lane.queue, %error, "cannot read a job");
    lane.settle(id, &consumer, settlement);
}

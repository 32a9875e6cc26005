//! Tells Redis the outcomes: whatever has come in meanwhile goes in one pipeline.
//!
//! There is no timer. The size of a batch follows the load by itself: one at rest,
//! hundreds at the peak, and the delay is one round trip.

mod commands;

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use redis::{RedisResult, Value};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use self::commands::{SettledBy, commands};
use super::{
    entry::EntryRef,
    lane::{Lane, Pause},
    report::Kept,
};
use crate::{JobId, UniqueHash, cancel::Target, error::Trouble, holds::Holds, queue::WRITE_BYTES};

/// Most outcomes in one pipeline.
const MAX_BATCH: usize = 1024;

/// An entry and what became of it.
#[derive(Debug)]
pub(super) struct Settled {
    pub(super) id: EntryRef,
    pub(super) consumer: Arc<str>,
    pub(super) what: Settlement,
}

/// What becomes of an entry.
#[derive(Debug)]
pub(super) enum Settlement {
    /// The job is done.
    Done,
    /// The job is done, and its key is free.
    DoneUnique { job: JobId, unique: UniqueHash },
    /// The job is done, and with it ends what it holds; what follows it is enqueued.
    Completed {
        job: JobId,
        holds: Holds,
        next: Option<Vec<u8>>,
        /// What it leaves.
        result: Option<Kept>,
    },
    /// Somebody wanted it to end, so it did.
    Cancelled(Target),
    /// Another attempt, later.
    Retry {
        job: JobId,
        envelope: Vec<u8>,
        after: Duration,
        holds: Holds,
        /// Why; a log line tells it too, but a test reads it here.
        #[cfg(feature = "testing")]
        error: String,
    },
    /// It waits for a worker that knows it.
    Park {
        /// Its field among the payloads.
        field: String,
        /// `name version `: what such a worker asks for.
        prefix: String,
        envelope: Vec<u8>,
        holds: Holds,
    },
    /// No attempt is left, or none makes sense.
    Dead {
        job: Option<JobId>,
        why: &'static str,
        error: String,
        attempts: u32,
        envelope: Vec<u8>,
        once: bool,
        holds: Holds,
    },
    /// Another worker takes it, as if this one never had.
    HandBack,
}

impl Settlement {
    /// The same, with what the handler has left, if the job is done.
    pub(super) fn leaving(self, job: JobId, left: Kept) -> Self {
        let (holds, next) = match self {
            Self::Done => (Holds::default(), None),
            Self::DoneUnique { unique, .. } => (Holds::of_key(unique), None),
            Self::Completed { holds, next, .. } => (holds, next),
            other => return other,
        };
        Self::Completed {
            job,
            holds,
            next,
            result: Some(left),
        }
    }
}

/// Settles until `finish`, and then what is left.
///
/// What Redis has not confirmed is kept and sent again: each outcome is safe to
/// repeat, because an entry that has left the stream has no owner any more.
pub(super) async fn settle_all(
    lane: Arc<Lane>,
    mut outcomes: mpsc::UnboundedReceiver<Settled>,
    finish: CancellationToken,
) {
    let mut pending = Vec::with_capacity(MAX_BATCH);
    // Apart, with times of their own: what Redis refuses must not hold up the others.
    let mut refused = VecDeque::new();
    let mut again = Instant::now();
    let mut patience = Pause::new(lane.settings.lease);
    let mut pause = Pause::new(lane.settings.lease);
    let mut failing = false;
    loop {
        if pending.is_empty() {
            let received = tokio::select! {
                biased;
                () = sleep_until(again), if !refused.is_empty() => {
                    pending.extend(refused.drain(..refused.len().min(MAX_BATCH)));
                    pending.len()
                }
                received = outcomes.recv_many(&mut pending, MAX_BATCH),
                    if refused.is_empty() || !(outcomes.is_closed() && outcomes.is_empty()) => received,
                () = finish.cancelled(), if !outcomes.is_closed() => {
                    outcomes.close();
                    continue;
                }
            };
            if received == 0 {
                if refused.is_empty() {
                    return;
                }
                continue;
            }
        } else {
            while pending.len() < MAX_BATCH
                && let Ok(settled) = outcomes.try_recv()
            {
                pending.push(settled);
            }
        }
        let sent = first_write(&pending);
        match flush(&lane, &pending[..sent]).await {
            Ok(flushed) => {
                let confirmed = pending[..sent].iter();
                let confirmed = confirmed.filter(|one| !flushed.refused.contains(&one.id));
                let owned = confirmed.clone();
                let owned = owned.filter(|one| !flushed.not_owned.contains(&one.id));
                lane.tally.count(owned);
                let confirmed = confirmed.map(|settled| settled.id);
                if flushed.strayed {
                    lane.let_go(confirmed);
                } else {
                    lane.release(confirmed);
                }
                pause.reset();
                if failing {
                    tracing::info!(queue.name = lane.queue, "outcomes are confirmed again");
                    failing = false;
                }
                let written = pending.drain(..sent);
                if flushed.refused.is_empty() {
                    drop(written);
                } else {
                    refused.extend(written.filter(|one| flushed.refused.contains(&one.id)));
                    // Others may be waiting for their time already.
                    let now = Instant::now();
                    if again <= now {
                        again = now + patience.take();
                    }
                }
                if refused.is_empty() {
                    patience.reset();
                }
            }
            Err(error) => {
                if !failing {
                    tracing::warn!(
                        queue.name = lane.queue,
                        outcomes = pending.len(),
                        %error,
                        "outcomes are not confirmed; they are sent again"
                    );
                    failing = true;
                }
                pause.wait().await;
            }
        }
    }
}

/// How many of the outcomes, from the first on, make a full write.
fn first_write(pending: &[Settled]) -> usize {
    let mut bytes = 0;
    let full = pending.iter().position(|settled| {
        bytes += match &settled.what {
            Settlement::Retry { envelope, .. }
            | Settlement::Park { envelope, .. }
            | Settlement::Dead { envelope, .. } => envelope.len(),
            Settlement::Completed { next, result, .. } => {
                let result = result.as_ref().map_or(0, |kept| kept.json.len());
                next.as_ref().map_or(0, Vec::len) + result
            }
            Settlement::Done
            | Settlement::DoneUnique { .. }
            | Settlement::Cancelled(_)
            | Settlement::HandBack => 0,
        };
        bytes >= WRITE_BYTES
    });
    full.map_or(pending.len(), |last| last + 1)
}

/// What became of the outcomes in a pipeline.
struct Flushed {
    /// Those that Redis refused.
    refused: HashSet<EntryRef>,
    /// Those of entries that this worker does not own.
    not_owned: HashSet<EntryRef>,
    /// Some of the entries may belong to this worker again, or still.
    strayed: bool,
}

/// Sends all outcomes in one pipeline.
async fn flush(lane: &Lane, pending: &[Settled]) -> RedisResult<Flushed> {
    let (pipeline, settled_by) = commands(lane, pending);
    let answers = lane.connection.all(&pipeline).await?;
    let mut refused = HashSet::new();
    let mut not_owned = HashSet::new();
    let mut strayed = false;
    for (answer, ids) in answers.into_iter().zip(settled_by) {
        match answer {
            Value::ServerError(error) => {
                let error = error.into();
                if Trouble::of(&error) == Trouble::NoGroup {
                    // Redis lost its data, and this entry with it.
                    tracing::warn!(queue.name = lane.queue, %error, "outcome without an entry");
                } else {
                    tracing::debug!(queue.name = lane.queue, %error, "outcome refused");
                    refused.extend(ids.of(pending));
                }
            }
            Value::Int(..=0) if matches!(ids, SettledBy::One(_)) => {
                // Another worker has it, or this is a repeat of what was done.
                tracing::debug!(queue.name = lane.queue, "outcome of an entry not owned");
                not_owned.extend(ids.of(pending));
                strayed = true;
            }
            _ => strayed |= matches!(ids, SettledBy::HandedBackBy(..)),
        }
    }
    Ok(Flushed {
        refused,
        not_owned,
        strayed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Priority;

    #[test]
    fn a_write_is_full_by_the_bytes_of_its_envelopes() {
        let settled = |number: usize, what| Settled {
            id: EntryRef {
                id: format!("1-{number}").parse().unwrap(),
                priority: Priority::Normal,
            },
            consumer: "me".into(),
            what,
        };
        let retry = |bytes| Settlement::Retry {
            job: JobId::new(),
            envelope: vec![0; bytes],
            after: Duration::ZERO,
            holds: Holds::default(),
            #[cfg(feature = "testing")]
            error: String::new(),
        };
        let done: Vec<_> = (0..1024).map(|n| settled(n, Settlement::Done)).collect();
        assert_eq!(first_write(&done), 1024);
        let large = |n| settled(n, retry(WRITE_BYTES / 4));
        let large: Vec<_> = (0..9).map(large).collect();
        assert_eq!(first_write(&large), 4);
        assert_eq!(first_write(&large[4..]), 4);
        assert_eq!(first_write(&large[8..]), 1);
    }
}

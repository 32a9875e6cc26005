//! Tells Redis the outcomes: whatever has come in meanwhile goes in one pipeline.
//!
//! There is no timer. The size of a batch follows the load by itself: one at rest,
//! hundreds at the peak, and the delay is one round trip.

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use redis::{Cmd, Pipeline, RedisResult, RedisWrite, Value};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    entry::EntryId,
    lane::{Lane, Pause},
};
use crate::{
    JobId, UniqueHash, envelope::whole_ms, error::Trouble, keys::GROUP, queue::WRITE_BYTES, scripts,
};

/// Most outcomes in one pipeline.
const MAX_BATCH: usize = 1024;
/// Most unique jobs in one script, which blocks Redis while it runs.
const MAX_FINISH: usize = 128;

/// An entry and what became of it.
#[derive(Debug)]
pub(super) struct Settled {
    pub(super) id: EntryId,
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
    /// Another attempt, later.
    Retry {
        job: JobId,
        envelope: Vec<u8>,
        after: Duration,
        unique: Option<UniqueHash>,
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
        unique: Option<UniqueHash>,
    },
    /// No attempt is left, or none makes sense.
    Dead {
        job: Option<JobId>,
        why: &'static str,
        error: String,
        attempts: u32,
        envelope: Vec<u8>,
        once: bool,
        unique: Option<UniqueHash>,
    },
    /// Another worker takes it, as if this one never had.
    HandBack,
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
                lane.tally.count(confirmed.clone());
                let confirmed = confirmed.map(|settled| settled.id);
                if flushed.strayed {
                    lane.let_go(confirmed);
                } else {
                    lane.board.release(lane.number, confirmed);
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
            Settlement::Done | Settlement::DoneUnique { .. } | Settlement::HandBack => 0,
        };
        bytes >= WRITE_BYTES
    });
    full.map_or(pending.len(), |last| last + 1)
}

/// What became of the outcomes in a pipeline.
struct Flushed {
    /// Those that Redis refused.
    refused: HashSet<EntryId>,
    /// Some of the entries may belong to this worker again, or still.
    strayed: bool,
}

/// Sends all outcomes in one pipeline.
async fn flush(lane: &Lane, pending: &[Settled]) -> RedisResult<Flushed> {
    let (pipeline, settled_by) = commands(lane, pending);
    let answers = lane.connection.all(&pipeline).await?;
    let mut refused = HashSet::new();
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
            Value::Int(0) if matches!(ids, SettledBy::One(_)) => {
                // Another worker has it, or this is a repeat of what was done.
                tracing::debug!(queue.name = lane.queue, "outcome of an entry not owned");
                strayed = true;
            }
            _ => strayed |= matches!(ids, SettledBy::HandedBackBy(_)),
        }
    }
    Ok(Flushed { refused, strayed })
}

/// Which outcomes a command of the pipeline stands for.
enum SettledBy<'a> {
    AllDone,
    Finished(Vec<EntryId>),
    HandedBackBy(&'a Arc<str>),
    One(EntryId),
}

impl SettledBy<'_> {
    fn of(&self, pending: &[Settled]) -> Vec<EntryId> {
        let ids = |belongs: &dyn Fn(&Settled) -> bool| {
            let those = pending.iter().filter(|settled| belongs(settled));
            those.map(|settled| settled.id).collect()
        };
        match self {
            Self::One(id) => vec![*id],
            Self::Finished(ids) => ids.clone(),
            Self::AllDone => ids(&|settled| matches!(settled.what, Settlement::Done)),
            Self::HandedBackBy(consumer) => ids(&|settled| {
                matches!(settled.what, Settlement::HandBack) && settled.consumer == **consumer
            }),
        }
    }
}

fn commands<'a>(lane: &Lane, pending: &'a [Settled]) -> (Pipeline, Vec<SettledBy<'a>>) {
    let mut pipeline = Pipeline::with_capacity(2);
    let mut settled_by = Vec::with_capacity(2);
    let done = || {
        let done = pending.iter();
        done.filter(|settled| matches!(settled.what, Settlement::Done))
    };
    if done().next().is_some() {
        // First XDEL, then XACK: between the two the entry is pending without a
        // body, which the next claim drops. The other way round it would be a
        // body that nobody owns, for ever.
        let mut del = Cmd::with_capacity(2 + pending.len(), 64 + 20 * pending.len());
        del.arg("XDEL").arg(&lane.keys.stream);
        let mut ack = Cmd::with_capacity(3 + pending.len(), 64 + 20 * pending.len());
        ack.arg("XACK").arg(&lane.keys.stream).arg(GROUP);
        for settled in done() {
            del.write_arg_fmt(settled.id);
            ack.write_arg_fmt(settled.id);
        }
        pipeline.add_command(del);
        pipeline.add_command(ack);
        settled_by.extend([SettledBy::AllDone, SettledBy::AllDone]);
    }
    let unique: Vec<_> = pending.iter().filter_map(done_unique).collect();
    for jobs in unique.chunks(MAX_FINISH) {
        let mut named = vec![lane.keys.stream.clone()];
        named.extend(jobs.iter().map(|(.., unique)| lane.keys.lock(*unique)));
        let mut cmd = scripts::call(&scripts::FINISH, &named);
        for (entry, job, _) in jobs {
            cmd.write_arg_fmt(entry);
            cmd.write_arg_fmt(job);
        }
        pipeline.add_command(cmd);
        let entries = jobs.iter().map(|(entry, ..)| *entry).collect();
        settled_by.push(SettledBy::Finished(entries));
    }
    let mut hand_backs: Vec<(&Arc<str>, Cmd)> = Vec::new();
    for settled in pending {
        if matches!(settled.what, Settlement::HandBack) {
            let consumer = &settled.consumer;
            let known = hand_backs.iter().position(|(of, _)| *of == consumer);
            let at = known.unwrap_or_else(|| {
                let mut cmd = scripts::call(&scripts::HAND_BACK, &[&lane.keys.stream]);
                cmd.arg(&**consumer);
                hand_backs.push((consumer, cmd));
                hand_backs.len() - 1
            });
            hand_backs[at].1.write_arg_fmt(settled.id);
        } else if let Some(cmd) = command(lane, settled) {
            pipeline.add_command(cmd);
            settled_by.push(SettledBy::One(settled.id));
        }
    }
    for (consumer, cmd) in hand_backs {
        pipeline.add_command(cmd);
        settled_by.push(SettledBy::HandedBackBy(consumer));
    }
    (pipeline, settled_by)
}

fn done_unique(settled: &Settled) -> Option<(EntryId, JobId, UniqueHash)> {
    match settled.what {
        Settlement::DoneUnique { job, unique } => Some((settled.id, job, unique)),
        _ => None,
    }
}

/// The command for an outcome that has one of its own.
fn command(lane: &Lane, settled: &Settled) -> Option<Cmd> {
    let keys = &lane.keys;
    let tuning = &lane.settings.tuning;
    let call = |script, named: &[&str], unique: &Option<UniqueHash>| match unique {
        // The last key, where a script knows of locks.
        Some(unique) => scripts::call(script, &[named, &[&keys.lock(*unique)]].concat()),
        None => scripts::call(script, named),
    };
    let cmd = match &settled.what {
        Settlement::Done | Settlement::DoneUnique { .. } | Settlement::HandBack => return None,
        Settlement::Retry {
            job,
            envelope,
            after,
            unique,
            ..
        } => {
            let named = [&keys.stream[..], &keys.payloads, &keys.delayed];
            let mut cmd = call(&scripts::SET_ASIDE, &named, unique);
            cmd.arg(&*settled.consumer);
            cmd.write_arg_fmt(settled.id);
            cmd.write_arg_fmt(job);
            cmd.arg(&envelope[..]);
            cmd.write_arg_fmt(job);
            cmd.arg(whole_ms(*after)).arg(whole_ms(tuning.unique_ttl));
            cmd
        }
        Settlement::Park {
            field,
            prefix,
            envelope,
            unique,
        } => {
            let named = [&keys.stream[..], &keys.payloads, &keys.parked];
            let mut cmd = call(&scripts::SET_ASIDE, &named, unique);
            cmd.arg(&*settled.consumer);
            cmd.write_arg_fmt(settled.id);
            cmd.arg(field).arg(&envelope[..]);
            cmd.write_arg_fmt(format_args!("{prefix}{field}"));
            cmd.arg("");
            cmd
        }
        Settlement::Dead {
            job,
            why,
            error,
            attempts,
            envelope,
            once,
            unique,
        } => {
            // Without an id there is no once-job either; the key is only named.
            let marker = keys.once(job.unwrap_or_else(JobId::new));
            let named = [&keys.stream[..], &keys.dead, &marker];
            let mut cmd = call(&scripts::DEAD, &named, unique);
            cmd.arg(&*settled.consumer);
            cmd.write_arg_fmt(settled.id);
            cmd.arg(&envelope[..]).arg(why).arg(error).arg(attempts);
            match once {
                true => cmd.arg(whole_ms(tuning.dead_max_age)),
                false => cmd.arg(""),
            };
            match job {
                Some(job) => cmd.arg(job.to_string()),
                None => cmd.arg(""),
            };
            cmd
        }
    };
    Some(cmd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_is_full_by_the_bytes_of_its_envelopes() {
        let settled = |number: usize, what| Settled {
            id: format!("1-{number}").parse().unwrap(),
            consumer: "me".into(),
            what,
        };
        let retry = |bytes| Settlement::Retry {
            job: JobId::new(),
            envelope: vec![0; bytes],
            after: Duration::ZERO,
            unique: None,
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

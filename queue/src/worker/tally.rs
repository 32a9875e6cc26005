//! What this worker has done, told once a second for everybody's rates.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use redis::{Pipeline, RedisResult, Value};

use super::{
    lane::Lane,
    settle::{Settled, Settlement},
};
use crate::{
    connection::first_error,
    error::Trouble,
    inspect::{COUNTERS, clock},
};

/// How long the counters of a minute stay, in seconds: an hour is read, and some more.
const KEEP_S: u64 = 2 * 60 * 60;

/// What was done since it was last told.
///
/// A job costs one atomic addition, for its time; all else is counted by batches of
/// outcomes.
#[derive(Default)]
pub(super) struct Tally {
    done: AtomicU64,
    failed: AtomicU64,
    dead: AtomicU64,
    /// In ns.
    busy: AtomicU64,
    /// Redis has refused them, which was said.
    refused: AtomicBool,
}

impl Tally {
    /// A handler has run for so long.
    pub(super) fn ran(&self, took: Duration) {
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.busy.fetch_add(took, Relaxed);
    }

    /// Redis has confirmed these outcomes.
    pub(super) fn count<'a>(&self, confirmed: impl Iterator<Item = &'a Settled>) {
        let (mut done, mut failed, mut dead) = (0, 0, 0);
        for settled in confirmed {
            match settled.what {
                Settlement::Done | Settlement::DoneUnique { .. } | Settlement::Completed { .. } => {
                    done += 1;
                }
                Settlement::Retry { .. } => failed += 1,
                Settlement::Dead { .. } => dead += 1,
                Settlement::Cancelled { .. } | Settlement::Park { .. } | Settlement::HandBack => {}
            }
        }
        let counters = [
            (&self.done, done),
            (&self.failed, failed),
            (&self.dead, dead),
        ];
        for (counter, more) in counters {
            if more > 0 {
                counter.fetch_add(more, Relaxed);
            }
        }
    }

    /// Takes out what there is, in the order of [`COUNTERS`], the last in ns.
    fn take(&self) -> [u64; COUNTERS.len()] {
        [&self.done, &self.failed, &self.dead, &self.busy].map(|counter| counter.swap(0, Relaxed))
    }

    fn put_back(&self, taken: [u64; COUNTERS.len()]) {
        let counters = [&self.done, &self.failed, &self.dead, &self.busy];
        for (counter, taken) in counters.into_iter().zip(taken) {
            counter.fetch_add(taken, Relaxed);
        }
    }
}

/// Adds what was done to the counters of this minute, by the server's clock.
///
/// What cannot be told is kept for the next time: it then counts for a later minute.
pub(super) async fn tell(lane: &Lane) {
    let taken = lane.tally.take();
    if taken == [0; COUNTERS.len()] {
        return;
    }
    let Err(error) = add(lane, taken).await else {
        return;
    };
    lane.tally.put_back(taken);
    let refused = Trouble::of(&error) == Trouble::Other;
    if refused && !lane.tally.refused.swap(true, Relaxed) {
        tracing::warn!(queue.name = lane.queue, %error, "rates are not counted");
    }
}

async fn add(lane: &Lane, taken: [u64; COUNTERS.len()]) -> RedisResult<()> {
    // In a transaction, so that a user without the right to one ends here: the commands
    // below would each run by themselves, and be repeated for ever.
    let mut ask = Pipeline::new();
    ask.cmd("TIME");
    let answers = transaction(lane, ask).await?;
    let key = lane
        .keys
        .counters(answers.first().map_or(0, clock) / 60_000);
    let [done, failed, dead, busy_ns] = taken;
    let mut tell = Pipeline::new();
    for (name, more) in COUNTERS.iter().zip([done, failed, dead, busy_ns / 1000]) {
        if more > 0 {
            tell.cmd("HINCRBY").arg(&key).arg(name).arg(more);
        }
    }
    // All or nothing: counters without an end would stay for ever.
    tell.cmd("EXPIRE").arg(&key).arg(KEEP_S);
    transaction(lane, tell).await.map(drop)
}

/// Runs commands at one instant, all or none; returns their answers.
async fn transaction(lane: &Lane, commands: Pipeline) -> RedisResult<Vec<Value>> {
    let mut pipeline = Pipeline::with_capacity(commands.len() + 2);
    pipeline.cmd("MULTI");
    for command in commands.cmd_iter() {
        pipeline.add_command(command.clone());
    }
    pipeline.cmd("EXEC");
    let mut answers = lane.connection.all(&pipeline).await?;
    first_error(&answers)?;
    match answers.pop() {
        Some(Value::Array(answers)) => first_error(&answers).map(|()| answers),
        _ => {
            let what = "EXEC answered in an unknown form";
            Err((redis::ErrorKind::UnexpectedReturnType, what).into())
        }
    }
}

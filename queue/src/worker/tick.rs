//! Moves delayed jobs into the stream when they are due, lets schedules fire, and holds
//! a lane whose queue is paused, and tells which jobs are to be cancelled.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use redis::{RedisResult, Value};
use tokio_util::sync::CancellationToken;

use super::{
    cron::Schedules,
    entry::parse_number,
    fetch::unblock,
    lane::{Lane, Pause, jittered},
};
use crate::{JobId, cancel::REMEMBERED, envelope::whole_ms, error::Trouble, reply, scripts};

/// Most jobs moved in one script, which blocks Redis while it runs.
const MAX_MOVE: u64 = 500;
/// Most schedules told by one script; more than any code has at one moment.
const MAX_DUE: u64 = 1000;
/// Most requests to cancel told by one script.
const MAX_TOLD: usize = 1000;

/// Ticks until `stop`.
pub(super) async fn tick_until(lane: Arc<Lane>, mut schedules: Schedules, stop: CancellationToken) {
    let tick_every = lane.settings.tuning.tick;
    let mut pause = Pause::new(lane.settings.lease);
    // Two workers need not tick right after each other.
    let mut spare = tick_every / 2;
    let mut flag = Flag::default();
    // Requests to cancel up to here are known.
    let mut known = 0;
    let mut refused = false;
    loop {
        let sleep = match tick(&lane, spare, known).await {
            Ok(ticked) => {
                // Before all that may take its time.
                known = learn(&lane, &ticked, known);
                let all_told = ticked.requests.len() < MAX_TOLD;
                // Nothing starts before a new worker knows what is to be cancelled.
                if all_told {
                    flag.follow(&lane, ticked.paused).await;
                }
                let fired = schedules.follow(&lane, &ticked).await;
                let more = ticked.moved >= MAX_MOVE || !all_told;
                if (fired || more) && !stop.is_cancelled() {
                    spare = Duration::ZERO;
                    continue;
                }
                pause.reset();
                refused = false;
                spare = tick_every / 2;
                match ticked.next {
                    // Never before it: the tick would be in vain.
                    Some(next) if next < tick_every => jittered(next).clamp(next, tick_every),
                    _ => until_next(tick_every),
                }
            }
            Err(error) => {
                // Whether Redis is away others tell. A refusal, for example by an ACL, would be
                // told by nobody, and nothing starts before the first tick.
                if !refused && Trouble::of(&error) == Trouble::Other {
                    tracing::warn!(queue.name = lane.queue, %error, "Redis refuses the tick");
                    refused = true;
                }
                tracing::debug!(queue.name = lane.queue, %error, "tick failed");
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = pause.wait() => continue,
                }
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            // Not below a few ms, or a job that is due now would make it spin.
            () = tokio::time::sleep(sleep.max(Duration::from_millis(5))) => {}
        }
    }
}

/// A tick's length at most, because a pause is read by the tick that comes next.
fn until_next(tick_every: Duration) -> Duration {
    jittered(tick_every.mul_f64(0.9))
}

/// The queue's flag as the last tick has read it; none before the first.
#[derive(Default)]
struct Flag(Option<bool>);

impl Flag {
    /// Does what the flag says: nothing of a paused queue starts here, or waits here.
    async fn follow(&mut self, lane: &Lane, paused: bool) {
        let before = self.0.replace(paused);
        lane.hold(paused);
        if paused {
            // At every tick: a fetch or a look for lost entries may just have ended.
            lane.hand_back_waiting();
        }
        if before == Some(paused) {
            return;
        }
        if paused {
            tracing::info!(queue.name = lane.queue, "the queue is paused");
            unblock(lane).await;
        } else {
            lane.board.wake();
            if before.is_some() {
                tracing::info!(queue.name = lane.queue, "the queue goes on");
                // What was handed back shall not wait for the usual scan.
                lane.scan.notify_one();
            }
        }
    }
}

/// Takes up requests to cancel; returns the score up to which all are known now.
fn learn(lane: &Lane, ticked: &Ticked, known: u64) -> u64 {
    lane.requests.learn(&ticked.requests, ticked.now);
    let last = ticked.requests.last().map_or(known, |(_, score)| *score);
    if ticked.requests.len() >= MAX_TOLD {
        return last;
    }
    // Of this millisecond there may be more to come; and a clock that was set back, or
    // other data, may give scores from now on only.
    last.min(ticked.now.saturating_sub(1))
}

/// What a tick has done and seen.
pub(super) struct Ticked {
    /// Delayed jobs that were moved.
    moved: u64,
    /// Until the next delayed job or slot.
    next: Option<Duration>,
    /// The server's time in ms of the Unix epoch.
    pub(super) now: u64,
    /// What `beat.lua` calls the data; empty before the first beat.
    pub(super) life: Vec<u8>,
    /// Schedules with a slot that is due, and the slot in ms.
    pub(super) due: Vec<(String, u64)>,
    paused: bool,
    /// Jobs to cancel, by their scores.
    requests: Vec<(JobId, u64)>,
}

async fn tick(lane: &Lane, spare: Duration, known: u64) -> RedisResult<Ticked> {
    let keys = &lane.keys;
    let mut cmd = scripts::call(
        &scripts::TICK,
        &keys.with_streams(&[
            &keys.payloads,
            &keys.delayed,
            &keys.meta,
            &keys.cron,
            &keys.requests,
        ]),
    );
    cmd.arg(MAX_MOVE)
        .arg(u64::try_from(spare.as_millis()).unwrap_or(0))
        .arg(MAX_DUE)
        .arg(known)
        .arg(MAX_TOLD)
        .arg(whole_ms(REMEMBERED));
    let sent = Instant::now();
    let answer = lane.connection.one(&cmd).await?;
    lane.pace.tripped(sent);
    parse(answer).ok_or_else(|| {
        let what = "tick.lua answered in an unknown form";
        (redis::ErrorKind::UnexpectedReturnType, what).into()
    })
}

fn parse(answer: Value) -> Option<Ticked> {
    let Value::Array(parts) = answer else {
        return None;
    };
    let [moved, next, now, life, due, paused, requests] = <[Value; 7]>::try_from(parts).ok()?;
    let (Value::Array(due), Value::Array(requests)) = (due, requests) else {
        return None;
    };
    Some(Ticked {
        moved: parse_number(&moved)?,
        // -1 is no number here: nothing is to come.
        next: parse_number(&next).map(Duration::from_millis),
        now: parse_number(&now)?,
        life: match life {
            Value::BulkString(life) => life,
            _ => Vec::new(),
        },
        due: due.chunks_exact(2).filter_map(parse_slot).collect(),
        paused: parse_number(&paused)? != 0,
        requests: requests.chunks_exact(2).filter_map(parse_request).collect(),
    })
}

fn parse_request(pair: &[Value]) -> Option<(JobId, u64)> {
    let [id, score] = pair else {
        return None;
    };
    Some((reply::parse(id)?, reply::parse(score)?))
}

fn parse_slot(pair: &[Value]) -> Option<(String, u64)> {
    let [Value::BulkString(name), Value::BulkString(slot)] = pair else {
        return None;
    };
    let slot = std::str::from_utf8(slot).ok()?.parse().ok()?;
    Some((String::from_utf8(name.clone()).ok()?, slot))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_comes_no_later_than_a_tick_after_the_last() {
        let tick = Duration::from_millis(100);
        let pauses: Vec<_> = (0..1000).map(|_| until_next(tick)).collect();
        assert!(pauses.iter().all(|pause| *pause < tick), "{pauses:?}");
        assert!(pauses.iter().all(|pause| *pause > tick / 2), "{pauses:?}");
    }
}

//! Moves delayed jobs into the stream when they are due.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use redis::{RedisResult, Value};
use tokio_util::sync::CancellationToken;

use super::{
    entry::parse_number,
    lane::{Lane, Pause, jittered},
};
use crate::scripts;

/// Most jobs moved in one script, which blocks Redis while it runs.
const MAX_MOVE: u64 = 500;

/// Ticks until `stop`.
pub(super) async fn tick_until(lane: Arc<Lane>, stop: CancellationToken) {
    let tick = lane.settings.tuning.tick;
    let mut pause = Pause::new(lane.settings.lease);
    // Two workers need not tick right after each other.
    let mut spare = tick / 2;
    loop {
        let sleep = match move_due(&lane, spare).await {
            Ok(moved) if moved.jobs >= MAX_MOVE && !stop.is_cancelled() => {
                spare = Duration::ZERO;
                continue;
            }
            Ok(moved) => {
                pause.reset();
                spare = tick / 2;
                jittered(moved.next.map_or(tick, |next| next.min(tick)))
            }
            Err(error) => {
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

struct Moved {
    jobs: u64,
    /// Until the next job is due.
    next: Option<Duration>,
}

async fn move_due(lane: &Lane, spare: Duration) -> RedisResult<Moved> {
    let keys = &lane.keys;
    let mut cmd = scripts::call(
        &scripts::TICK,
        &[&keys.stream, &keys.payloads, &keys.delayed, &keys.meta],
    );
    cmd.arg(MAX_MOVE)
        .arg(u64::try_from(spare.as_millis()).unwrap_or(0));
    let sent = Instant::now();
    let answer = lane.connection.one(&cmd).await?;
    lane.pace.tripped(sent);
    let Value::Array(parts) = answer else {
        let what = "tick.lua answered in an unknown form";
        return Err((redis::ErrorKind::UnexpectedReturnType, what).into());
    };
    Ok(Moved {
        jobs: parts.first().and_then(parse_number).unwrap_or(0),
        // -1 is no number here: nothing is delayed.
        next: parts
            .get(1)
            .and_then(parse_number)
            .map(Duration::from_millis),
    })
}

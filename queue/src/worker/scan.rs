//! Once a second: dead workers' jobs, parked jobs that are known now, jobs that
//! wait here while others could run them, dead letters that are too old, and what was
//! done meanwhile.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use redis::{RedisResult, Value};
use tokio_util::sync::CancellationToken;

use super::{
    board::Place,
    entry::{Entry, parse_number},
    lane::{Lane, jittered},
    settle::Settlement,
    slots, tally,
};
use crate::{Priority, envelope::whole_ms, scripts};

/// Most entries taken over in one script, which blocks Redis while it runs.
const MAX_RECLAIM: usize = 100;
/// Most parked jobs moved in one script.
const MAX_UNPARK: u64 = 100;
/// How long a job may wait in this process while another worker could run it.
const STALE: Duration = Duration::from_secs(1);
/// How often what was done is told.
const TELL_EVERY: Duration = Duration::from_millis(900);
/// Pause before the next look when the last one did not take all there was.
const MORE: Duration = Duration::from_millis(20);

/// Scans until `stop`; `known` are the prefixes of parked jobs that the worker knows.
///
/// A reclaim under way is never dropped, because its answer says what it took.
pub(super) async fn scan_until(lane: Arc<Lane>, known: Vec<String>, stop: CancellationToken) {
    let scan = lane.settings.tuning.scan;
    let mut pause = jittered(scan);
    let mut backlog = Backlog::default();
    // The key with slots that was looked at last.
    let mut looked_at = None;
    let mut told = Instant::now();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
            () = lane.scan.notified() => {}
        }
        pause = jittered(scan);
        if !lane.tenure.is_trusted() {
            continue;
        }
        hand_back_stale(&lane);
        match reclaim(&lane).await {
            Ok(Reclaimed::All) => {}
            Ok(Reclaimed::More) => pause = MORE,
            Err(error) => {
                // Entries may have been claimed in an answer that was lost.
                lane.reconcile.store(true, Ordering::Release);
                tracing::debug!(queue.name = lane.queue, %error, "reclaim failed");
                continue;
            }
        }
        match unpark(&lane, &known).await {
            Ok(left) if backlog.shrinks(left) => pause = MORE,
            Ok(_) => {}
            Err(error) => tracing::debug!(queue.name = lane.queue, %error, "unpark failed"),
        }
        match slots::let_in(&lane, looked_at).await {
            Ok(key) => looked_at = key,
            Err(error) => tracing::debug!(queue.name = lane.queue, %error, "let in failed"),
        }
        if let Err(error) = trim(&lane).await {
            tracing::debug!(queue.name = lane.queue, %error, "trimming dead letters failed");
        }
        if told.elapsed() >= TELL_EVERY {
            told = Instant::now();
            tally::tell(&lane).await;
        }
    }
}

/// Gives up what has waited here for long, when there are others to take it.
fn hand_back_stale(lane: &Lane) {
    if lane.tenure.peers() < 2 {
        return;
    }
    for entry in lane.board.take_stale(lane.number, STALE) {
        lane.settle(entry.id, &entry.consumer, Settlement::HandBack);
    }
}

enum Reclaimed {
    All,
    More,
}

async fn reclaim(lane: &Lane) -> RedisResult<Reclaimed> {
    let _intake = lane.intake.lock().await;
    let Some(lease) = lane.tenure.current() else {
        return Ok(Reclaimed::All);
    };
    let room = lane.claimable().min(MAX_RECLAIM);
    if room == 0 {
        return Ok(Reclaimed::All);
    }
    let tuning = &lane.settings.tuning;
    let keys = &lane.keys;
    let mut named = vec![&keys.alive[..], &keys.meta];
    // Each stream comes first in its turn: with room for one, the last would get none.
    let turn = lane.turn.fetch_add(1, Ordering::Relaxed) % Priority::TURNS.len();
    let first = Priority::TURNS[turn];
    let mut order = Priority::ORDER;
    order.sort_by_key(|priority| *priority != first);
    named.extend(order.map(|priority| keys.stream(priority)));
    let mut cmd = scripts::call(&scripts::RECLAIM, &named);
    cmd.arg(&*lease.consumer)
        .arg(room)
        .arg(whole_ms(lane.settings.lease))
        .arg(tuning.quarantine_at)
        .arg(u8::from(lane.board.may_suspect()))
        .arg(tuning.poison_after);
    if let Some(gate) = &lane.gate {
        gate.tell(&mut cmd);
    }
    let Value::Array(rows) = lane.connection.one(&cmd).await? else {
        return Ok(Reclaimed::All);
    };
    if rows.is_empty() {
        return Ok(Reclaimed::All);
    }
    let taken = rows.len();
    tracing::info!(queue.name = lane.queue, entries = taken, "took over jobs");
    let rows = rows.into_iter();
    let entries = rows.filter_map(|row| Entry::read(row, order, &lease.consumer));
    lane.admit(entries, Place::Front);
    // A full worker takes one handful per scan, so that others find some too.
    Ok(if taken >= room && lane.room(false).most() > 0 {
        Reclaimed::More
    } else {
        Reclaimed::All
    })
}

/// Parked jobs, from look to look, as long as there are more than one look moves.
#[derive(Default)]
struct Backlog(Option<u64>);

impl Backlog {
    /// Whether to look again at once, given what a full handful has left, if it was
    /// one.
    ///
    /// Not when most of it has come back: workers that do not know these jobs, as
    /// during a deployment, would only take them round and round.
    fn shrinks(&mut self, left: Option<u64>) -> bool {
        let before = std::mem::replace(&mut self.0, left);
        let most = before.map_or(u64::MAX, |before| before.saturating_sub(MAX_UNPARK / 2));
        left.is_some_and(|left| left <= most)
    }
}

/// Moves a handful of known jobs; when it was a full one, returns how many are parked.
async fn unpark(lane: &Lane, known: &[String]) -> RedisResult<Option<u64>> {
    let keys = &lane.keys;
    let mut cmd = scripts::call(
        &scripts::UNPARK,
        &keys.with_streams(&[&keys.payloads, &keys.parked]),
    );
    cmd.arg(MAX_UNPARK).arg(known);
    let moved = parse_number(&lane.connection.one(&cmd).await?).unwrap_or(0);
    if moved > 0 {
        tracing::info!(queue.name = lane.queue, jobs = moved, "unparked jobs");
    }
    if moved < MAX_UNPARK {
        return Ok(None);
    }
    let left = redis::cmd("ZCARD").arg(&keys.parked).to_owned();
    Ok(parse_number(&lane.connection.one(&left).await?))
}

/// Here, and not where letters are written: they grow old without new ones, too.
async fn trim(lane: &Lane) -> RedisResult<()> {
    let tuning = &lane.settings.tuning;
    let keys = &lane.keys;
    let mut cmd = scripts::call(&scripts::TRIM, &[&keys.dead, &keys.meta]);
    cmd.arg(whole_ms(tuning.dead_max_age))
        .arg(tuning.dead_max_len);
    if let Some(trimmed @ 1..) = parse_number(&lane.connection.one(&cmd).await?) {
        tracing::warn!(
            queue.name = lane.queue,
            letters = trimmed,
            "trimmed dead letters"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backlog_is_worked_off_at_once_unless_it_comes_back() {
        let mut backlog = Backlog::default();
        assert!(backlog.shrinks(Some(900)), "the first handful");
        assert!(backlog.shrinks(Some(800)));
        assert!(!backlog.shrinks(Some(790)), "others park them again");
        assert!(!backlog.shrinks(Some(790)));
        assert!(backlog.shrinks(Some(690)), "the others have gone");
        assert!(!backlog.shrinks(None), "the rest");
    }
}

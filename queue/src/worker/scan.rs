//! Once a second: dead workers' jobs, parked jobs that are known now, jobs that
//! wait here while others could run them, and dead letters that are too old.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use redis::{RedisResult, Value};
use tokio_util::sync::CancellationToken;

use super::{
    board::Place,
    entry::{Entry, parse_entry, parse_number},
    lane::{Lane, jittered},
    settle::Settlement,
};
use crate::{envelope::whole_ms, scripts};

/// Most entries taken over in one script, which blocks Redis while it runs.
const MAX_RECLAIM: usize = 100;
/// Most parked jobs moved in one script.
const MAX_UNPARK: usize = 100;
/// How long a job may wait in this process while another worker could run it.
const STALE: Duration = Duration::from_secs(1);
/// Pause before the next look when the last one did not take all there was.
const MORE: Duration = Duration::from_millis(20);

/// Scans until `stop`; `known` are the prefixes of parked jobs that the worker knows.
///
/// A reclaim under way is never dropped, because its answer says what it took.
pub(super) async fn scan_until(lane: Arc<Lane>, known: Vec<String>, stop: CancellationToken) {
    let scan = lane.settings.tuning.scan;
    let mut pause = jittered(scan);
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
        if let Err(error) = unpark(&lane, &known).await {
            tracing::debug!(queue.name = lane.queue, %error, "unpark failed");
        }
        if let Err(error) = trim(&lane).await {
            tracing::debug!(queue.name = lane.queue, %error, "trimming dead letters failed");
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
    let mut cmd = scripts::call(&scripts::RECLAIM, &[&keys.stream, &keys.alive, &keys.meta]);
    cmd.arg(&*lease.consumer)
        .arg(room)
        .arg(whole_ms(lane.settings.lease))
        .arg(tuning.quarantine_at)
        .arg(u8::from(lane.board.may_suspect()))
        .arg(tuning.poison_after);
    let Value::Array(rows) = lane.connection.one(&cmd).await? else {
        return Ok(Reclaimed::All);
    };
    if rows.is_empty() {
        return Ok(Reclaimed::All);
    }
    let taken = rows.len();
    tracing::info!(queue.name = lane.queue, entries = taken, "took over jobs");
    let since = Instant::now();
    let entries = rows.into_iter().filter_map(|row| {
        let Value::Array(mut parts) = row else {
            return None;
        };
        let deliveries = parse_number(&parts.pop()?)?;
        let (id, envelope) = parse_entry(Value::Array(parts))?;
        Some(Entry {
            id,
            deliveries: u32::try_from(deliveries).unwrap_or(u32::MAX),
            consumer: Arc::clone(&lease.consumer),
            envelope,
            since,
        })
    });
    lane.admit(entries, Place::Front);
    // A full worker takes one handful per scan, so that others find some too.
    Ok(if taken >= room && lane.room() > 0 {
        Reclaimed::More
    } else {
        Reclaimed::All
    })
}

async fn unpark(lane: &Lane, known: &[String]) -> RedisResult<()> {
    let keys = &lane.keys;
    let mut cmd = scripts::call(
        &scripts::UNPARK,
        &[&keys.stream, &keys.payloads, &keys.parked],
    );
    cmd.arg(MAX_UNPARK).arg(known);
    if let Some(moved @ 1..) = parse_number(&lane.connection.one(&cmd).await?) {
        tracing::info!(queue.name = lane.queue, jobs = moved, "unparked jobs");
    }
    Ok(())
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

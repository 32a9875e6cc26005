//! Compares what Redis says this worker holds with what it does hold.

use std::{sync::Arc, time::Instant};

use redis::{Pipeline, RedisResult, Value};

use super::{
    board::{EntryIds, Place},
    entry::{Entry, EntryRef, envelope, parse_number},
    lane::Lane,
    lease::Lease,
};
use crate::{EntryId, Priority, connection::first_error, keys::GROUP, reply::parse};

/// Pending entries in one answer.
const PAGE: usize = 1000;

/// Takes up entries that Redis has handed to this consumer in an answer that was
/// lost on the way.
///
/// Runs in the reader's task, so that no fetch is under way. What was held before
/// the question, or is held after the answer, is left alone: it is being worked
/// on, or was settled in between. A history read (`XREADGROUP 0`) would be shorter,
/// but counts as a delivery, and the count is what tells poison.
pub(super) async fn reconcile(lane: &Lane, lease: &Lease) -> RedisResult<()> {
    let _intake = lane.intake.lock().await;
    let before = lane.board.held(lane.number);
    for priority in Priority::ALL {
        reconcile_stream(lane, lease, priority, &before).await?;
    }
    Ok(())
}

async fn reconcile_stream(
    lane: &Lane,
    lease: &Lease,
    priority: Priority,
    before: &EntryIds,
) -> RedisResult<()> {
    let stream = lane.keys.stream(priority);
    let mut from = "-".to_owned();
    loop {
        let mut page = Vec::new();
        for (id, deliveries) in pending(lane, lease, stream, &from).await? {
            page.push((EntryRef { id, priority }, deliveries));
        }
        let Some((last, _)) = page.last() else {
            return Ok(());
        };
        from = format!("({last}");
        let now = lane.board.held(lane.number);
        let lost: Vec<_> = page
            .iter()
            .filter(|(id, _)| !before.contains(id) && !now.contains(id))
            .copied()
            .collect();
        take_up(lane, lease, stream, &lost).await?;
        if page.len() < PAGE {
            return Ok(());
        }
    }
}

/// One page of this consumer's pending entries: id and deliveries.
async fn pending(
    lane: &Lane,
    lease: &Lease,
    stream: &str,
    from: &str,
) -> RedisResult<Vec<(EntryId, u32)>> {
    let mut cmd = redis::cmd("XPENDING");
    cmd.arg(stream)
        .arg(GROUP)
        .arg(from)
        .arg("+")
        .arg(PAGE)
        .arg(&*lease.consumer);
    let Value::Array(rows) = lane.connection.one(&cmd).await? else {
        return Ok(Vec::new());
    };
    Ok(rows.iter().filter_map(parse_pending).collect())
}

fn parse_pending(row: &Value) -> Option<(EntryId, u32)> {
    let Value::Array(columns) = row else {
        return None;
    };
    let id = parse(columns.first()?)?;
    let deliveries = parse_number(columns.get(3)?)?;
    Some((id, u32::try_from(deliveries).unwrap_or(u32::MAX)))
}

async fn take_up(
    lane: &Lane,
    lease: &Lease,
    stream: &str,
    lost: &[(EntryRef, u32)],
) -> RedisResult<()> {
    if lost.is_empty() {
        return Ok(());
    }
    let mut ranges = Pipeline::with_capacity(lost.len());
    for (id, _) in lost {
        ranges
            .cmd("XRANGE")
            .arg(stream)
            .arg(id.to_string())
            .arg(id.to_string());
    }
    let answers = lane.connection.all(&ranges).await?;
    first_error(&answers)?;
    let since = Instant::now();
    let mut found = Vec::new();
    let mut dangling = Vec::new();
    for (&(id, deliveries), answer) in lost.iter().zip(answers) {
        let entry = match answer {
            Value::Array(entries) => entries.into_iter().next(),
            _ => None,
        };
        match entry {
            Some(Value::Array(mut parts)) if parts.len() == 2 => {
                let envelope = parts.pop().and_then(envelope).unwrap_or_default();
                found.push(Entry {
                    id,
                    deliveries: deliveries.max(1),
                    consumer: Arc::clone(&lease.consumer),
                    envelope,
                    since,
                });
            }
            // Deleted, but not acknowledged: a worker died between the two.
            _ => dangling.push(id),
        }
    }
    if !found.is_empty() {
        tracing::info!(
            queue.name = lane.queue,
            entries = found.len(),
            "took up entries whose delivery was lost on the way"
        );
    }
    lane.admit(found, Place::Front);
    if !dangling.is_empty() {
        let mut ack = redis::cmd("XACK");
        ack.arg(stream).arg(GROUP);
        for id in dangling {
            ack.arg(id.to_string());
        }
        lane.connection.one(&ack).await?;
    }
    Ok(())
}

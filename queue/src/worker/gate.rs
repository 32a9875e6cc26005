//! Queues of which only so many jobs run at once in all workers, or start in a time.
//!
//! Their entries are fetched by a script, which sees what all workers have in hand, and
//! no more than this worker can start: what waits here would keep others from theirs.

use std::time::Duration;

use redis::{Cmd, RedisResult, Value};

use super::{
    blocking::Blocking,
    board::Place,
    entry::{Entry, parse_number},
    lane::{Lane, jittered},
    lease::Lease,
};
use crate::{Priority, QueueSettings, Rate, reply, scripts};

/// What a queue lets through.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gate {
    most_at_once: Option<u64>,
    rate: Option<Rate>,
}

impl Gate {
    /// None for a queue that needs none.
    pub(super) fn of(queue: &QueueSettings) -> Option<Self> {
        let gate = Self {
            most_at_once: queue.most_at_once,
            rate: queue.rate,
        };
        (gate.most_at_once.is_some() || gate.rate.is_some()).then_some(gate)
    }

    /// The arguments that tell a script of it.
    pub(super) fn tell(&self, cmd: &mut Cmd) {
        match self.most_at_once {
            Some(most) => cmd.arg(most),
            None => cmd.arg(""),
        };
        match self.rate {
            Some(rate) => cmd.arg(rate.interval_us()).arg(rate.burst),
            None => cmd.arg("").arg(""),
        };
    }

    /// Fetches at most so many entries; where there are none, waits until there may be.
    pub(super) async fn pass(
        &self,
        lane: &Lane,
        lease: &Lease,
        room: usize,
        (connection, block_ms): (&mut Blocking, u64),
    ) -> RedisResult<()> {
        let streams = Priority::ORDER.map(|priority| lane.keys.stream(priority));
        let mut named = streams.to_vec();
        named.push(&lane.keys.meta);
        let mut cmd = scripts::call(&scripts::FETCH, &named);
        cmd.arg(&*lease.consumer).arg(room);
        self.tell(&mut cmd);
        let Some(fetched) = read(lane.connection.one(&cmd).await?) else {
            let what = "fetch.lua answered in an unknown form";
            return Err((redis::ErrorKind::UnexpectedReturnType, what).into());
        };
        if fetched.between > 0 {
            // Only a scan takes them, and until then they have their places.
            lane.scan.notify_one();
        }
        if !fetched.rows.is_empty() {
            let rows = fetched.rows.into_iter();
            let entries = rows.filter_map(|row| Entry::read(row, Priority::ORDER, &lease.consumer));
            lane.admit(entries, Place::Back);
        } else if fetched.newest.len() == streams.len() {
            // As a bell only: what it tells of the script fetches, if the gate is open then.
            let mut cmd = redis::cmd("XREAD");
            cmd.arg("COUNT").arg(1).arg("BLOCK").arg(block_ms);
            cmd.arg("STREAMS").arg(&streams).arg(&fetched.newest);
            connection.entries(&[cmd]).await?;
        } else {
            // Nobody tells when a job of another worker ends.
            let tick = jittered(lane.settings.tuning.tick);
            tokio::select! {
                () = lane.freed.notified() => {}
                () = tokio::time::sleep(fetched.opens.unwrap_or(tick).min(tick)) => {}
            }
        }
        Ok(())
    }
}

/// What the script has answered.
struct Fetched {
    rows: Vec<Value>,
    /// Entries between two workers.
    between: u64,
    /// When time opens the gate, where it does.
    opens: Option<Duration>,
    /// Where each stream was read up to, when there is nothing behind.
    newest: Vec<String>,
}

fn read(answer: Value) -> Option<Fetched> {
    let Value::Array(parts) = answer else {
        return None;
    };
    let [rows, between, opens, newest] = <[Value; 4]>::try_from(parts).ok()?;
    let (Value::Array(rows), Value::Array(newest)) = (rows, newest) else {
        return None;
    };
    Some(Fetched {
        rows,
        between: parse_number(&between)?,
        // -1 is no number here.
        opens: parse_number(&opens).map(Duration::from_millis),
        newest: newest.iter().filter_map(reply::parse).collect(),
    })
}

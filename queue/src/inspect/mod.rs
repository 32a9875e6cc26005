//! What is in a queue, by calls whose cost does not grow with it.
//!
//! Each call reads a number, or a page of at most [`MAX_PAGE`] jobs, and none holds
//! Redis up. They see a queue at work: between two of them jobs move on.

mod aside;
mod cursor;
mod delete;
mod find;
mod load;
mod page;
mod place;
mod schedules;
mod strays;
mod words;

use std::{collections::BTreeMap, ops::AddAssign, time::Duration};

use futures_util::future::{try_join_all, try_join4};
use redis::{Pipeline, Value};

pub(crate) use self::load::COUNTERS;
pub use self::{
    cursor::{Cursor, InvalidCursor},
    delete::Deletion,
    find::Search,
    load::{Load, Minute},
    page::{MAX_PAGE, Page},
    place::{Located, Place, State, UnknownState},
    schedules::Scheduled,
    strays::Stray,
    words::{moment, span},
};
use crate::{
    EntryId, Error, Priority, Queue,
    connection::first_error,
    error::Trouble,
    keys::GROUP,
    queue::Partition,
    reply::{field, number, parse},
};

/// The consumer that owns what was handed back; no process has this name.
pub(crate) const BETWEEN: &str = "~";

/// How many jobs are where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Waiting for a worker.
    pub ready: u64,
    /// In the hands of a worker, or between two.
    pub in_hand: u64,
    /// Waiting for their time: delayed, or to be tried again.
    pub delayed: u64,
    /// Waiting for a worker that knows them.
    pub parked: u64,
    /// Waiting for a slot of their key.
    pub blocked: u64,
    /// Dead letters.
    pub dead: u64,
    /// Dead letters that were trimmed, since the queue began.
    pub dead_trimmed: u64,
    /// Jobs that were cancelled, since the queue began.
    pub cancelled: u64,
    /// Unique jobs whose place another one took, since the queue began.
    pub replaced: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.ready += other.ready;
        self.in_hand += other.in_hand;
        self.delayed += other.delayed;
        self.parked += other.parked;
        self.blocked += other.blocked;
        self.dead += other.dead;
        self.dead_trimmed += other.dead_trimmed;
        self.cancelled += other.cancelled;
        self.replaced += other.replaced;
    }
}

/// A queue at a glance.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Overview {
    /// How many jobs are where.
    pub counts: Counts,
    /// Whether no worker may start its jobs.
    pub paused: bool,
    /// How long the oldest of the jobs has waited that no worker has, by the server's
    /// clock, since it became ready: when it was enqueued, or its delay had ended.
    pub oldest: Option<Duration>,
    /// The workers, by name.
    pub consumers: Vec<Consumer>,
}

/// A worker, as Redis knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consumer {
    /// `host:process:random`, another one at each start.
    pub name: String,
    /// Until its lease ends, by the server's clock. None when it has ended: others
    /// take over what it holds.
    pub lease: Option<Duration>,
    /// Jobs that it runs, has fetched ahead, or has not confirmed yet.
    pub in_hand: u64,
}

impl Queue {
    /// Counts the jobs of a queue.
    ///
    /// # Errors
    /// [`Error::Redis`].
    pub async fn counts(&self, queue: &str) -> Result<Counts, Error> {
        let mut all = Counts::default();
        for keys in self.all_partitions(queue) {
            all += self.counts_in(&keys).await?;
        }
        Ok(all)
    }

    async fn counts_in(&self, keys: &Partition) -> Result<Counts, Error> {
        let mut pipeline = Pipeline::new();
        pipeline.cmd("ZCARD").arg(&keys.delayed);
        pipeline.cmd("ZCARD").arg(&keys.parked);
        pipeline.cmd("ZCARD").arg(&keys.blocked);
        pipeline.cmd("XLEN").arg(&keys.dead);
        pipeline.cmd("HGET").arg(&keys.meta).arg("dead_trimmed");
        pipeline.cmd("HGET").arg(&keys.meta).arg("cancelled");
        pipeline.cmd("HGET").arg(&keys.meta).arg("replaced");
        for stream in &keys.streams {
            pipeline.cmd("XLEN").arg(stream);
        }
        for stream in &keys.streams {
            pipeline.cmd("XPENDING").arg(stream).arg(GROUP);
        }
        let mut answers = keys.connection.all(&pipeline).await?;
        let mut pending = 0;
        for summary in answers.split_off(answers.len().saturating_sub(keys.streams.len())) {
            match of_group(summary)? {
                Value::Array(summary) => pending += summary.first().map_or(0, number),
                _ => return Err(Error::Reply("XPENDING")),
            }
        }
        first_error(&answers)?;
        let [
            delayed,
            parked,
            blocked,
            dead,
            trimmed,
            cancelled,
            replaced,
            lengths @ ..,
        ] = answers.as_slice()
        else {
            return Err(Error::Reply("a pipeline"));
        };
        Ok(Counts {
            ready: lengths
                .iter()
                .map(number)
                .sum::<u64>()
                .saturating_sub(pending),
            in_hand: pending,
            delayed: number(delayed),
            parked: number(parked),
            blocked: number(blocked),
            dead: number(dead),
            dead_trimmed: number(trimmed),
            cancelled: number(cancelled),
            replaced: number(replaced),
        })
    }

    /// A queue at a glance: counts, the oldest waiting job, the workers.
    ///
    /// Of a partition it takes seven round trips, of which only two wait for one another.
    ///
    /// # Errors
    /// [`Error::Redis`].
    pub async fn overview(&self, queue: &str) -> Result<Overview, Error> {
        let (counts, paused, oldest, consumers) = try_join4(
            self.counts(queue),
            self.is_paused(queue),
            self.oldest(queue),
            self.consumers(queue),
        )
        .await?;
        Ok(Overview {
            counts,
            paused,
            oldest,
            consumers,
        })
    }

    /// The workers of a queue, by name, and of those that are gone who still holds jobs.
    ///
    /// Both answers of Redis are as long as there are workers. A worker goes by another name in
    /// each partition.
    ///
    /// # Errors
    /// [`Error::Redis`].
    pub async fn consumers(&self, queue: &str) -> Result<Vec<Consumer>, Error> {
        let mut all = Vec::new();
        for keys in self.all_partitions(queue) {
            all.extend(self.consumers_in(&keys).await?);
        }
        all.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(all)
    }

    async fn consumers_in(&self, keys: &Partition) -> Result<Vec<Consumer>, Error> {
        let mut pipeline = Pipeline::new();
        pipeline.cmd("TIME");
        let alive = pipeline.cmd("ZRANGE").arg(&keys.alive);
        alive.arg(0).arg(-1).arg("WITHSCORES");
        for stream in &keys.streams {
            pipeline.cmd("XINFO").arg("CONSUMERS");
            pipeline.arg(stream).arg(GROUP);
        }
        let mut answers = keys.connection.all(&pipeline).await?;
        let mut consumers = Vec::new();
        for answer in answers.split_off(answers.len().min(2)) {
            match of_group(answer)? {
                Value::Array(of_stream) => consumers.extend(of_stream),
                _ => return Err(Error::Reply("XINFO CONSUMERS")),
            }
        }
        first_error(&answers)?;
        let [time, Value::Array(alive)] = answers.as_slice() else {
            return Err(Error::Reply("a pipeline"));
        };
        let now = clock(time);
        let mut found = BTreeMap::new();
        for (name, ends) in alive.iter().filter_map(scored) {
            let left = ends.checked_sub(now).map(Duration::from_millis);
            let consumer = Consumer {
                name: name.clone(),
                lease: left,
                in_hand: 0,
            };
            found.insert(name, consumer);
        }
        for consumer in &consumers {
            let name: Option<String> = field(consumer, "name").and_then(parse);
            let Some(name) = name.filter(|name| name != BETWEEN) else {
                continue;
            };
            let entry = found.entry(name.clone()).or_insert(Consumer {
                name,
                lease: None,
                in_hand: 0,
            });
            entry.in_hand += field(consumer, "pending").map_or(0, number);
        }
        Ok(found.into_values().collect())
    }

    /// How long the oldest job has waited that no worker has.
    async fn oldest(&self, queue: &str) -> Result<Option<Duration>, Error> {
        let mut oldest = None;
        for keys in self.all_partitions(queue) {
            oldest = oldest.max(self.oldest_in(&keys).await?);
        }
        Ok(oldest)
    }

    async fn oldest_in(&self, keys: &Partition) -> Result<Option<Duration>, Error> {
        let delivered = Priority::ALL.map(|priority| self.delivered(keys, priority));
        let delivered = try_join_all(delivered).await?;
        let mut pipeline = Pipeline::new();
        pipeline.cmd("TIME");
        for (priority, delivered) in Priority::ALL.into_iter().zip(delivered) {
            let stream = keys.stream(priority);
            let next = pipeline.cmd("XRANGE").arg(stream);
            next.arg(format!("({delivered}")).arg("+");
            next.arg("COUNT").arg(1);
            let back = pipeline.cmd("XPENDING").arg(stream).arg(GROUP);
            back.arg("-").arg("+").arg(1).arg(BETWEEN);
        }
        let answers = keys.connection.all(&pipeline).await?;
        let answers = answers.into_iter().map(of_group);
        let answers = answers.collect::<Result<Vec<_>, _>>()?;
        let [time, rows @ ..] = answers.as_slice() else {
            return Err(Error::Reply("a pipeline"));
        };
        let now = clock(time);
        let oldest = rows.iter().filter_map(first_id).map(|id| id.ms()).min();
        Ok(oldest.map(|since| Duration::from_millis(now.saturating_sub(since))))
    }

    /// The newest entry of this priority that was ever fetched: all behind it wait.
    pub(crate) async fn delivered(
        &self,
        keys: &Partition,
        priority: Priority,
    ) -> Result<EntryId, Error> {
        let stream = keys.stream(priority);
        let mut pipeline = Pipeline::new();
        pipeline.cmd("EXISTS").arg(stream);
        pipeline.cmd("XINFO").arg("GROUPS").arg(stream);
        let answers = keys.connection.all(&pipeline).await?;
        let none = EntryId::new(0, 0);
        match answers.as_slice() {
            // Nobody has enqueued or fetched since Redis began.
            [Value::Int(0), _] => Ok(none),
            [_, Value::Array(groups)] => {
                let of = |group: &&Value| {
                    let name: Option<String> = field(group, "name").and_then(parse);
                    name.as_deref() == Some(GROUP)
                };
                let group = groups.iter().find(of);
                let delivered = group.and_then(|group| field(group, "last-delivered-id"));
                Ok(delivered.and_then(parse).unwrap_or(none))
            }
            answers => {
                first_error(answers)?;
                Err(Error::Reply("XINFO GROUPS"))
            }
        }
    }
}

/// An answer about the group; an empty one where there is no group yet.
pub(crate) fn of_group(answer: Value) -> Result<Value, Error> {
    match answer {
        Value::ServerError(error) if is_no_group(&error.clone().into()) => {
            Ok(Value::Array(Vec::new()))
        }
        Value::ServerError(error) => Err(Error::Redis(error.into())),
        answer => Ok(answer),
    }
}

/// `XINFO` words it in another way than the rest, where the stream is missing too.
fn is_no_group(error: &redis::RedisError) -> bool {
    Trouble::of(error) == Trouble::NoGroup
        || error
            .detail()
            .is_some_and(|detail| detail.contains("no such key"))
}

/// The answer to `TIME` in ms of the Unix epoch.
pub(crate) fn clock(time: &Value) -> u64 {
    match time {
        Value::Array(parts) => match parts.as_slice() {
            [seconds, micros] => number(seconds) * 1000 + number(micros) / 1000,
            _ => 0,
        },
        _ => 0,
    }
}

/// A member with its score, as `WITHSCORES` answers.
fn scored(pair: &Value) -> Option<(String, u64)> {
    match pair {
        Value::Array(pair) => match pair.as_slice() {
            [member, score] => Some((parse(member)?, number(score))),
            _ => None,
        },
        _ => None,
    }
}

/// The id of the first row of `[[id, ...], ...]`.
fn first_id(rows: &Value) -> Option<EntryId> {
    let Value::Array(rows) = rows else {
        return None;
    };
    let Value::Array(row) = rows.first()? else {
        return None;
    };
    parse(row.first()?)
}

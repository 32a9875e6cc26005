//! Pages of jobs, state by state.

use std::{sync::Arc, time::Duration};

use redis::{Cmd, Pipeline, Value};

use super::{
    BETWEEN,
    cursor::{After, Cursor, InvalidCursor},
    of_group,
    place::{Located, Place, State},
    scored,
};
use crate::{
    EntryId, Error, Queue,
    connection::first_error,
    keys::{GROUP, Keys},
    partitions::Partition,
    reply::{number, parse},
    worker::entry::{Raw, parse_entry},
};

/// Most jobs in a page.
pub const MAX_PAGE: usize = 100;

/// Some jobs, and where to go on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// The jobs.
    pub jobs: Vec<Located>,
    /// Where the next page begins; none after the last.
    pub next: Option<Cursor>,
}

impl Queue {
    /// A page of the jobs in a state, at most `limit` and never more than [`MAX_PAGE`].
    ///
    /// `after` is the cursor that came with the page before. A job that moves between
    /// two pages may be in both, or in none. Partitions come one after another.
    ///
    /// # Errors
    /// [`Error::Redis`], and [`Error::Cursor`] for one of another state.
    pub async fn jobs(
        &self,
        queue: &str,
        state: State,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page, Error> {
        let page = async |keys: Arc<Partition>, after: Option<Cursor>, limit| {
            self.jobs_in(&keys, state, after.as_ref(), limit).await
        };
        self.pages(queue, after, limit, page).await
    }

    /// A page out of those that each partition has.
    async fn pages(
        &self,
        queue: &str,
        after: Option<&Cursor>,
        limit: usize,
        page: impl AsyncFn(Arc<Partition>, Option<Cursor>, usize) -> Result<Page, Error>,
    ) -> Result<Page, Error> {
        let limit = limit.clamp(1, MAX_PAGE);
        let (first, mut after) = Cursor::split(after);
        let mut all = Page::default();
        let partitions = self.all_partitions(queue);
        for (keys, number) in partitions.into_iter().zip(0..).skip(first.into()) {
            if all.jobs.len() >= limit {
                all.next = Cursor::within(number, None);
                break;
            }
            let some = page(keys, after.take(), limit - all.jobs.len()).await?;
            all.jobs.extend(some.jobs);
            if some.next.is_some() {
                all.next = Cursor::within(number, some.next);
                break;
            }
        }
        Ok(all)
    }

    async fn jobs_in(
        &self,
        keys: &Partition,
        state: State,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page, Error> {
        match state {
            State::Ready => self.ready(keys, after, limit).await,
            State::InHand => self.in_hand(keys, None, after, limit).await,
            State::Delayed => self.delayed(keys, after, limit).await,
            State::Parked => {
                let from = match after {
                    None => "-".to_owned(),
                    Some(Cursor(After::Member(member))) => format!("({member}"),
                    Some(_) => return Err(InvalidCursor.into()),
                };
                let members = self.parked_members(keys, &from, limit).await?;
                let full = members.len() == limit;
                let next = members.last().filter(|_| full);
                let next = next.map(|last| Cursor(After::Member(last.text.clone())));
                let jobs = self.parked_jobs(keys, members).await?;
                let jobs = jobs.into_iter().map(|parked| {
                    let reason = parked.reason;
                    Located::new(keys, Place::Parked { reason }, parked.envelope)
                });
                let jobs = jobs.collect();
                Ok(Page { jobs, next })
            }
            State::Dead => {
                let newest = entry_after(after)?.map_or("+".to_owned(), |id| format!("({id}"));
                let range = [&newest[..], "-"];
                let letters = self.letters("XREVRANGE", keys, range, limit).await?;
                let next =
                    Cursor::after_entry(letters.last().map(|last| last.id), letters.len() == limit);
                let jobs = letters.into_iter().map(Located::from).collect();
                Ok(Page { jobs, next })
            }
        }
    }

    /// A page of what one worker has in hand, oldest first.
    ///
    /// # Errors
    /// As [`Queue::jobs`].
    pub async fn held_by(
        &self,
        queue: &str,
        consumer: &str,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page, Error> {
        let page = async |keys: Arc<Partition>, after: Option<Cursor>, limit| {
            let after = after.as_ref();
            self.in_hand(&keys, Some(consumer), after, limit).await
        };
        self.pages(queue, after, limit, page).await
    }

    async fn ready(
        &self,
        keys: &Partition,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page, Error> {
        // What was fetched meanwhile is not ready any more, wherever the last page ended.
        let delivered = self.delivered(keys).await?;
        let from = entry_after(after)?.map_or(delivered, |last| last.max(delivered));
        let range = [&*format!("({from}"), "+"];
        let entries = self
            .entries("XRANGE", keys, &keys.stream, range, limit)
            .await?;
        let next = Cursor::after_entry(entries.last().map(|(id, _)| *id), entries.len() == limit);
        let jobs = entries.into_iter();
        let jobs =
            jobs.map(|(entry, envelope)| Located::new(keys, Place::Ready { entry }, envelope));
        let jobs = jobs.collect();
        Ok(Page { jobs, next })
    }

    async fn in_hand(
        &self,
        keys: &Partition,
        consumer: Option<&str>,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page, Error> {
        let from = entry_after(after)?.map_or("-".to_owned(), |id| format!("({id}"));
        let holds = self.holds(keys, [&from, "+"], limit, consumer).await?;
        let next = Cursor::after_entry(holds.last().map(|hold| hold.entry), holds.len() == limit);
        let mut pipeline = Pipeline::with_capacity(holds.len());
        for hold in &holds {
            pipeline.add_command(one_entry(keys, hold.entry));
        }
        let entries = keys.connection.all(&pipeline).await?;
        first_error(&entries)?;
        let both = holds.into_iter().zip(entries);
        let jobs = both.filter_map(|(hold, rows)| {
            // Done between the two questions, or half of "done".
            let (_, envelope) = raw(rows).pop()?;
            Some(Located::new(keys, hold.into(), envelope))
        });
        let jobs = jobs.collect();
        Ok(Page { jobs, next })
    }

    async fn delayed(
        &self,
        keys: &Partition,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page, Error> {
        let from = match after {
            None => 0,
            Some(Cursor(After::Due(due, id))) => self.rank_after(keys, *due, id).await?,
            Some(_) => return Err(InvalidCursor.into()),
        };
        let to = from + u64::try_from(limit).unwrap_or(u64::MAX) - 1;
        let mut cmd = redis::cmd("ZRANGE");
        cmd.arg(&keys.delayed).arg(from).arg(to).arg("WITHSCORES");
        let Value::Array(rows) = keys.connection.one(&cmd).await? else {
            return Err(Error::Reply("ZRANGE"));
        };
        let due: Vec<(String, u64)> = rows.iter().filter_map(scored).collect();
        let full = due.len() == limit;
        let next = due.last().filter(|_| full);
        let next = next.map(|(id, due)| Cursor(After::Due(*due, id.clone())));
        if due.is_empty() {
            return Ok(Page::default());
        }
        let ids: Vec<&str> = due.iter().map(|(id, _)| id.as_str()).collect();
        let mut cmd = redis::cmd("HMGET");
        cmd.arg(&keys.payloads).arg(ids);
        let Value::Array(envelopes) = keys.connection.one(&cmd).await? else {
            return Err(Error::Reply("HMGET"));
        };
        let both = due.iter().zip(envelopes);
        let jobs = both.filter_map(|((_, due), envelope)| match envelope {
            Value::BulkString(envelope) => Some(Located::new(
                keys,
                Place::Delayed { due_ms: *due },
                envelope,
            )),
            // It has become ready between the two questions.
            _ => None,
        });
        let jobs = jobs.collect();
        Ok(Page { jobs, next })
    }

    /// How many delayed jobs come before those after this one, which may be gone.
    async fn rank_after(&self, keys: &Partition, due: u64, id: &str) -> Result<u64, Error> {
        let mut pipeline = Pipeline::new();
        pipeline.cmd("ZSCORE").arg(&keys.delayed).arg(id);
        pipeline.cmd("ZRANK").arg(&keys.delayed).arg(id);
        let earlier = pipeline.cmd("ZCOUNT").arg(&keys.delayed);
        earlier.arg("-inf").arg(format!("({due}"));
        let answers = keys.connection.all(&pipeline).await?;
        first_error(&answers)?;
        let [score, rank, earlier] = answers.as_slice() else {
            return Err(Error::Reply("a pipeline"));
        };
        Ok(match rank {
            // With another time it is another wait: it failed once more.
            Value::Int(_) if number(score) == due => number(rank) + 1,
            _ => number(earlier),
        })
    }

    /// Who owns the entries of a range.
    pub(super) async fn holds(
        &self,
        keys: &Partition,
        [from, to]: [&str; 2],
        limit: usize,
        consumer: Option<&str>,
    ) -> Result<Vec<Hold>, Error> {
        let mut cmd = redis::cmd("XPENDING");
        cmd.arg(&keys.stream).arg(GROUP);
        cmd.arg(from).arg(to).arg(limit).arg(consumer);
        let mut pipeline = Pipeline::with_capacity(1);
        pipeline.add_command(cmd);
        let mut answers = keys.connection.all(&pipeline).await?;
        match answers.pop().map(of_group).transpose()? {
            Some(Value::Array(rows)) => Ok(rows.into_iter().filter_map(hold).collect()),
            _ => Err(Error::Reply("XPENDING")),
        }
    }

    /// Entries of a stream, by `XRANGE` or `XREVRANGE`.
    pub(super) async fn entries(
        &self,
        command: &'static str,
        keys: &Partition,
        stream: &str,
        [from, to]: [&str; 2],
        limit: usize,
    ) -> Result<Vec<Raw>, Error> {
        let mut cmd = redis::cmd(command);
        cmd.arg(stream).arg(from).arg(to);
        cmd.arg("COUNT").arg(limit);
        Ok(raw(keys.connection.one(&cmd).await?))
    }
}

/// An entry in the group's list of pending ones.
pub(super) struct Hold {
    pub(super) entry: EntryId,
    consumer: String,
    since: Duration,
    deliveries: u32,
}

impl From<Hold> for Place {
    fn from(hold: Hold) -> Self {
        Self::InHand {
            entry: hold.entry,
            consumer: Some(hold.consumer).filter(|name| name != BETWEEN),
            since: hold.since,
            deliveries: hold.deliveries,
        }
    }
}

/// Reads `[id, consumer, ms, deliveries]`.
fn hold(row: Value) -> Option<Hold> {
    let Value::Array(row) = row else {
        return None;
    };
    let [entry, consumer, idle, deliveries] = row.as_slice() else {
        return None;
    };
    Some(Hold {
        entry: parse(entry)?,
        consumer: parse(consumer)?,
        since: Duration::from_millis(number(idle)),
        deliveries: u32::try_from(number(deliveries)).unwrap_or(u32::MAX),
    })
}

fn one_entry(keys: &Keys, entry: EntryId) -> Cmd {
    let mut cmd = redis::cmd("XRANGE");
    cmd.arg(&keys.stream);
    cmd.arg(entry.to_string()).arg(entry.to_string());
    cmd
}

fn raw(rows: Value) -> Vec<Raw> {
    match rows {
        Value::Array(rows) => rows.into_iter().filter_map(parse_entry).collect(),
        _ => Vec::new(),
    }
}

fn entry_after(after: Option<&Cursor>) -> Result<Option<EntryId>, InvalidCursor> {
    match after {
        None => Ok(None),
        Some(Cursor(After::Entry(id))) => Ok(Some(*id)),
        Some(_) => Err(InvalidCursor),
    }
}

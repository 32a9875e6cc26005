//! Pages of jobs, state by state.

use std::time::Duration;

use redis::{Cmd, Pipeline, Value};

use super::{
    BETWEEN,
    cursor::{After, Cursor, InvalidCursor},
    of_group,
    place::{Located, Place, State},
    scored,
};
use crate::{
    EntryId, Error, Priority, Queue,
    connection::first_error,
    keys::GROUP,
    queue::Partition,
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

/// What jobs a page is of.
#[derive(Clone, Copy)]
enum Wanted<'a> {
    In(State),
    HeldBy(&'a str),
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
        self.pages(queue, Wanted::In(state), after, limit).await
    }

    /// A page out of those that each partition has.
    async fn pages(
        &self,
        queue: &str,
        wanted: Wanted<'_>,
        after: Option<&Cursor>,
        limit: usize,
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
            let (room, after) = (limit - all.jobs.len(), after.take());
            let some = match wanted {
                Wanted::In(state) => self.jobs_in(&keys, state, after.as_ref(), room).await?,
                Wanted::HeldBy(consumer) => {
                    let consumer = Some(consumer);
                    self.in_hand(&keys, consumer, after.as_ref(), room).await?
                }
            };
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
            State::Blocked => self.blocked(keys, after, limit).await,
            State::Dead => {
                let newest = entry_after(after)?;
                let newest = newest.map_or("+".to_owned(), |(_, id)| format!("({id}"));
                let range = [&newest[..], "-"];
                let letters = self.letters("XREVRANGE", keys, range, limit).await?;
                let last = letters.last().map(|last| (Priority::Normal, last.id));
                let next = Cursor::after_entry(last, letters.len() == limit);
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
        self.pages(queue, Wanted::HeldBy(consumer), after, limit)
            .await
    }

    async fn ready(
        &self,
        keys: &Partition,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page, Error> {
        let mut page = Page::default();
        for (priority, after) in from_here(after)? {
            // What was fetched meanwhile is not ready any more, wherever the last page ended.
            let delivered = self.delivered(keys, priority).await?;
            let from = after.map_or(delivered, |last| last.max(delivered));
            let range = [&*format!("({from}"), "+"];
            let room = limit - page.jobs.len();
            let stream = keys.stream(priority);
            let entries = self.entries("XRANGE", keys, stream, range, room).await?;
            let last = entries.last().map(|(id, _)| (priority, *id));
            page.next = Cursor::after_entry(last, entries.len() == room);
            let jobs = entries.into_iter();
            let jobs = jobs.map(|(entry, envelope)| {
                let place = Place::Ready { entry, priority };
                Located::new(keys, place, envelope)
            });
            page.jobs.extend(jobs);
            if page.next.is_some() {
                break;
            }
        }
        Ok(page)
    }

    async fn in_hand(
        &self,
        keys: &Partition,
        consumer: Option<&str>,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page, Error> {
        let mut page = Page::default();
        let mut room = limit;
        for (priority, after) in from_here(after)? {
            let from = after.map_or("-".to_owned(), |id| format!("({id}"));
            let stream = keys.stream(priority);
            let range = [&*from, "+"];
            let holds = self.holds(keys, stream, range, room, consumer).await?;
            let last = holds.last().map(|hold| (priority, hold.entry));
            page.next = Cursor::after_entry(last, holds.len() == room);
            room -= holds.len();
            let mut pipeline = Pipeline::with_capacity(holds.len());
            for hold in &holds {
                pipeline.add_command(one_entry(stream, hold.entry));
            }
            let entries = keys.connection.all(&pipeline).await?;
            first_error(&entries)?;
            let both = holds.into_iter().zip(entries);
            page.jobs.extend(both.filter_map(|(hold, rows)| {
                // Done between the two questions, or half of "done".
                let (_, envelope) = raw(rows).pop()?;
                Some(Located::new(keys, hold.in_stream(priority), envelope))
            }));
            if page.next.is_some() {
                break;
            }
        }
        Ok(page)
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
        let ids = due.iter().map(|(id, _)| id.clone()).collect();
        let envelopes = self.payloads(keys, ids).await?;
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
        stream: &str,
        [from, to]: [&str; 2],
        limit: usize,
        consumer: Option<&str>,
    ) -> Result<Vec<Hold>, Error> {
        let mut cmd = redis::cmd("XPENDING");
        cmd.arg(stream).arg(GROUP);
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

impl Hold {
    pub(super) fn in_stream(self, priority: Priority) -> Place {
        Place::InHand {
            entry: self.entry,
            priority,
            consumer: Some(self.consumer).filter(|name| name != BETWEEN),
            since: self.since,
            deliveries: self.deliveries,
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

fn one_entry(stream: &str, entry: EntryId) -> Cmd {
    let mut cmd = redis::cmd("XRANGE");
    cmd.arg(stream);
    cmd.arg(entry.to_string()).arg(entry.to_string());
    cmd
}

fn raw(rows: Value) -> Vec<Raw> {
    match rows {
        Value::Array(rows) => rows.into_iter().filter_map(parse_entry).collect(),
        _ => Vec::new(),
    }
}

/// The priorities from this cursor on, the first first, and where to begin in each.
fn from_here(
    after: Option<&Cursor>,
) -> Result<impl Iterator<Item = (Priority, Option<EntryId>)>, InvalidCursor> {
    let after = entry_after(after)?;
    let rest = Priority::ORDER.into_iter();
    let rest = rest.skip_while(move |priority| after.is_some_and(|(at, _)| at != *priority));
    Ok(rest.map(move |priority| {
        let here = after.filter(|(at, _)| *at == priority);
        (priority, here.map(|(_, id)| id))
    }))
}

fn entry_after(after: Option<&Cursor>) -> Result<Option<(Priority, EntryId)>, InvalidCursor> {
    match after {
        None => Ok(None),
        Some(Cursor(After::Entry(priority, id))) => Ok(Some((*priority, *id))),
        Some(_) => Err(InvalidCursor),
    }
}

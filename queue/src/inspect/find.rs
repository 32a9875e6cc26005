//! A job by its id, without an index of ids.
//!
//! An id is a UUID of version 7, which begins with the millisecond when it was made,
//! and the id of a stream's entry begins with the millisecond when that was written.
//! For a job that was enqueued to run at once the two are the same moment, as far as
//! the clocks of producer and server agree.

use redis::{Pipeline, Value};

use super::{Located, Place};
use crate::{
    EntryId, Envelope, Error, JobId, Priority, Queue, Unknown,
    connection::first_error,
    envelope::{Header, NEWEST},
    queue::Partition,
    reply::number,
    slot::waiter,
    worker::entry::Raw,
};

/// Entries in one answer.
const PAGE: usize = 25;
/// Pages looked through from each of the four starting points.
const PAGES: usize = 20;

/// What a search for a job has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Search {
    /// The job.
    Found(Box<Located>),
    /// It is not in the queue: it is done, was deleted, or never came.
    Absent,
    /// It is not where it was looked for, and there is more than was looked through.
    Unseen,
}

impl Search {
    /// The job, if it was found.
    #[must_use]
    pub fn found(self) -> Option<Located> {
        match self {
            Self::Found(job) => Some(*job),
            Self::Absent | Self::Unseen => None,
        }
    }
}

impl Queue {
    /// Looks for a job by its id, with at most eighty reads of 25 entries for each
    /// priority that the queue has jobs of, in each of its partitions.
    ///
    /// - A **delayed**, **parked** or **blocked** job is always found, unless it is parked in an
    ///   envelope that its worker could not read.
    /// - A **ready** or **running** job is found when it is among the 500 oldest or
    ///   the 500 newest entries of its priority, or its entry is one of the 500 before or
    ///   after the millisecond in its id. So one that was enqueued to run at once is
    ///   found in a backlog of any length, if the producer's clock agrees with the
    ///   server's. One that was delayed, retried, unparked or replayed has an entry that
    ///   is newer than its id: behind the 500 oldest, and before the 500 newest, of a
    ///   longer backlog it is not found.
    /// - A **dead letter** is found by the same rule among the letters: the newest are,
    ///   and those that died soon after they were enqueued.
    ///
    /// Where there are fewer than 500 entries of each priority, and letters, all were looked
    /// through, and the answer is [`Search::Absent`], else [`Search::Unseen`]; and so it is while
    /// jobs are parked that their worker could not read.
    ///
    /// # Errors
    /// [`Error::Redis`].
    pub async fn find(&self, queue: &str, id: JobId) -> Result<Search, Error> {
        let mut search = Search::Absent;
        for keys in self.all_partitions(queue) {
            match self.find_in(&keys, id).await? {
                Search::Absent => {}
                Search::Unseen => search = Search::Unseen,
                found @ Search::Found(_) => return Ok(found),
            }
        }
        Ok(search)
    }

    pub(crate) async fn find_in(&self, keys: &Partition, id: JobId) -> Result<Search, Error> {
        if let Some(found) = self.find_set_aside(keys, id).await? {
            return Ok(Search::Found(Box::new(found)));
        }
        let sought = Sought::new(id);
        let mut all_seen = true;
        for priority in Priority::ALL {
            match self.seek(keys, keys.stream(priority), &sought).await? {
                Sight::Found(entry) => {
                    let found = self.find_entry(keys, priority, entry).await?;
                    return Ok(Search::Found(Box::new(found)));
                }
                Sight::Unseen => all_seen = false,
                Sight::Absent => {}
            }
        }
        let letters = self.seek(keys, &keys.dead, &sought).await?;
        if let Sight::Found((letter, _)) = letters {
            let letter = letter.to_string();
            let range = [&*letter, &letter];
            let mut found = self.letters("XRANGE", keys, range, 1).await?;
            if let Some(found) = found.pop() {
                return Ok(Search::Found(Box::new(found.into())));
            }
        }
        // It may have been set aside behind our back, for another attempt.
        Ok(match self.find_set_aside(keys, id).await? {
            Some(found) => Search::Found(Box::new(found)),
            None if all_seen
                && matches!(letters, Sight::Absent)
                && !self.has_unread(keys).await? =>
            {
                Search::Absent
            }
            None => Search::Unseen,
        })
    }

    async fn find_set_aside(&self, keys: &Partition, id: JobId) -> Result<Option<Located>, Error> {
        let mut pipeline = Pipeline::new();
        let name = id.to_string();
        pipeline.cmd("HGET").arg(&keys.payloads).arg(&name);
        pipeline.cmd("ZSCORE").arg(&keys.delayed).arg(&name);
        let answers = keys.connection.all(&pipeline).await?;
        first_error(&answers)?;
        let [Value::BulkString(envelope), due] = answers.as_slice() else {
            return Ok(None);
        };
        if *due != Value::Nil {
            let due_ms = number(due);
            let place = Place::Delayed { due_ms };
            return Ok(Some(Located::new(keys, place, envelope.clone())));
        }
        let Ok(job) = Envelope::decode(envelope) else {
            return Ok(None);
        };
        let slot = job.slot;
        let kind = Unknown::Kind {
            name: job.name,
            version: job.version,
        };
        let key = job.packing.and_then(|packing| packing.key);
        let key = key.map(|id| Unknown::Key { id });
        for reason in [Some(kind), key].into_iter().flatten() {
            let member = format!("{}{id}", reason.prefix());
            if self.has_member(keys, &keys.parked, &member).await? {
                let place = Place::Parked { reason };
                return Ok(Some(Located::new(keys, place, envelope.clone())));
            }
        }
        if let Some(slot) = slot
            && self
                .has_member(keys, &keys.blocked, &waiter(slot, id))
                .await?
        {
            let place = Place::Blocked { slot };
            return Ok(Some(Located::new(keys, place, envelope.clone())));
        }
        // On its way into the stream.
        Ok(None)
    }

    /// Whether jobs are parked that a worker could not read: any could be the one.
    async fn has_unread(&self, keys: &Partition) -> Result<bool, Error> {
        let mut cmd = redis::cmd("ZRANGEBYLEX");
        // What `envelope_prefix` begins with, and the character behind it.
        cmd.arg(&keys.parked).arg("[? ").arg("(?!");
        cmd.arg("LIMIT").arg(0).arg(1);
        let unread = keys.connection.one(&cmd).await?;
        Ok(unread != Value::Array(Vec::new()))
    }

    async fn has_member(&self, keys: &Partition, index: &str, member: &str) -> Result<bool, Error> {
        let mut score = redis::cmd("ZSCORE");
        score.arg(index).arg(member);
        Ok(keys.connection.one(&score).await? != Value::Nil)
    }

    /// Looks in a stream: the entry with the job, or whether all were looked through.
    async fn seek(&self, keys: &Partition, stream: &str, sought: &Sought) -> Result<Sight, Error> {
        for mut walk in sought.walks() {
            for _ in 0..PAGES {
                let entries = self
                    .entries(walk.command, keys, stream, walk.range(), PAGE)
                    .await?;
                let full = entries.len() == PAGE;
                let last = entries.last().map(|(entry, _)| *entry);
                let mut entries = entries.into_iter();
                if let Some(found) = entries.find(|(_, envelope)| sought.is_in(envelope)) {
                    return Ok(Sight::Found(found));
                }
                match last.filter(|_| full) {
                    Some(last) => walk.from = format!("({last}"),
                    None if walk.sees_all => return Ok(Sight::Absent),
                    None => break,
                }
            }
        }
        Ok(Sight::Unseen)
    }

    async fn find_entry(
        &self,
        keys: &Partition,
        priority: Priority,
        (entry, envelope): Raw,
    ) -> Result<Located, Error> {
        let id = entry.to_string();
        let stream = keys.stream(priority);
        let holds = self.holds(keys, stream, [&id, &id], 1, None).await?;
        let hold = holds.into_iter().next();
        let place = match hold {
            Some(hold) => hold.in_stream(priority),
            None => Place::Ready { entry, priority },
        };
        Ok(Located::new(keys, place, envelope))
    }
}

/// What was seen in a stream.
enum Sight {
    Found(Raw),
    Absent,
    Unseen,
}

/// The job that is looked for.
struct Sought {
    id: JobId,
    /// When its id was made.
    made: EntryId,
}

impl Sought {
    fn new(id: JobId) -> Self {
        Self {
            id,
            made: EntryId::new(id.made_at_ms(), 0),
        }
    }

    fn is_in(&self, envelope: &[u8]) -> bool {
        Header::read(envelope, NEWEST).is_ok_and(|(header, _)| header.id() == self.id)
    }

    /// Where to look, the likely first. Each walk goes through [`PAGES`] pages at most.
    fn walks(&self) -> [Walk; 4] {
        let walk = |command, from: String, sees_all| Walk {
            command,
            from,
            sees_all,
        };
        [
            walk("XRANGE", self.made.to_string(), false),
            walk("XREVRANGE", format!("({}", self.made), false),
            walk("XRANGE", "-".to_owned(), true),
            walk("XREVRANGE", "+".to_owned(), true),
        ]
    }
}

/// Entries one after another, from a place on.
struct Walk {
    command: &'static str,
    from: String,
    /// From one end of the stream: who comes to the other has seen all.
    sees_all: bool,
}

impl Walk {
    fn range(&self) -> [&str; 2] {
        let end = if self.command == "XRANGE" { "+" } else { "-" };
        [&self.from, end]
    }
}

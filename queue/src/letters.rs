//! Dead letters: the jobs that no worker runs any more, and their way back.

use std::cmp::Reverse;

use redis::Value;

use crate::{
    EntryId, Envelope, Error, JobId, Queue,
    envelope::whole_ms,
    keys::ENVELOPE,
    queue::Partition,
    reply::{number, parse, text},
    scripts,
};

/// Letters in one answer to [`Queue::replay_all`].
const PAGE: usize = 100;

/// A job that no worker runs any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The partition that it is in, for [`Queue::replay`]: the queue, or `queue:1`.
    pub queue: String,
    /// Its place among the letters, for [`Queue::replay`].
    pub id: EntryId,
    /// The job as it was last; [`Envelope::decode`] reads it.
    pub envelope: Vec<u8>,
    /// `attempts` used up, `discarded` by its handler, `crash` of its workers, or
    /// an `envelope` that is damaged.
    pub why: String,
    /// The last error with its sources.
    pub error: String,
    /// Attempts, or deliveries where no attempt ended.
    pub attempts: u32,
}

/// What became of a dead letter that was to be a job again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replay {
    /// It is this job again, with the id that it had and all of its attempts.
    Replayed(JobId),
    /// There is no such letter (any more): it was replayed already, or trimmed.
    Gone,
    /// The letter stays, because a request to cancel the job is remembered: for a day.
    Cancelled,
    /// The letter stays, because this job holds the key of the unique job in it.
    Duplicate(JobId),
}

impl Queue {
    /// The newest dead letters of a queue, at most `limit`, newest first.
    ///
    /// # Errors
    /// [`Error::Redis`].
    pub async fn dead_letters(&self, queue: &str, limit: usize) -> Result<Vec<DeadLetter>, Error> {
        let mut letters = Vec::new();
        for keys in self.all_partitions(queue) {
            let some = self.letters("XREVRANGE", &keys, ["+", "-"], limit).await?;
            letters.extend(some);
        }
        letters.sort_by_key(|letter| Reverse(letter.id));
        letters.truncate(limit);
        Ok(letters)
    }

    /// Makes a dead letter a job again, to run as soon as a worker is free.
    ///
    /// Of two replays of a letter only one finds it. Two partitions of a queue can have letters
    /// with one id: [`DeadLetter::queue`] tells them apart, and by the queue's name the first is
    /// replayed.
    ///
    /// # Errors
    /// [`Error::Letter`] for one that cannot be read; it stays. [`Error::Redis`]:
    /// when the answer was lost, the job may be there.
    pub async fn replay(&self, queue: &str, letter: EntryId) -> Result<Replay, Error> {
        let id = letter.to_string();
        for keys in self.all_partitions(queue) {
            let found = self.letters("XRANGE", &keys, [&id, &id], 1).await?;
            if let Some(letter) = found.first() {
                return self.revive(&keys, letter).await;
            }
        }
        Ok(Replay::Gone)
    }

    /// Replays all letters of a queue that are there now, oldest first in each partition.
    ///
    /// Returns how many. The others stay: those that cannot be read, those of unique
    /// jobs whose key is held, and those that were to be cancelled.
    ///
    /// # Errors
    /// [`Error::Redis`]; some may have been replayed.
    pub async fn replay_all(&self, queue: &str) -> Result<u64, Error> {
        let mut replayed = 0;
        for keys in self.all_partitions(queue) {
            replayed += self.replay_all_in(&keys).await?;
        }
        Ok(replayed)
    }

    async fn replay_all_in(&self, keys: &Partition) -> Result<u64, Error> {
        let newest = self.letters("XREVRANGE", keys, ["+", "-"], 1).await?;
        let Some(newest) = newest.first() else {
            return Ok(0);
        };
        // A job that dies again meanwhile is a letter behind this one.
        let end = newest.id.to_string();
        let mut start = "-".to_owned();
        let mut replayed = 0;
        loop {
            let page = self.letters("XRANGE", keys, [&start, &end], PAGE).await?;
            let Some(last) = page.last() else {
                return Ok(replayed);
            };
            start = format!("({}", last.id);
            for letter in &page {
                match self.revive(keys, letter).await {
                    Ok(Replay::Replayed(_)) => replayed += 1,
                    Ok(Replay::Gone | Replay::Cancelled | Replay::Duplicate(_))
                    | Err(Error::Letter { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
        }
    }

    async fn revive(&self, keys: &Partition, letter: &DeadLetter) -> Result<Replay, Error> {
        let id = letter.id;
        let decoded = Envelope::decode(&letter.envelope);
        let mut envelope = decoded.map_err(|source| Error::Letter { id, source })?;
        envelope.attempt = 1;
        let lock = envelope.unique.map(|unique| keys.lock(unique));
        let mut named = keys.with_streams(&[&keys.dead, &keys.requests]);
        named.extend(lock.as_deref());
        let mut cmd = scripts::call(&scripts::REPLAY, &named);
        cmd.arg(id.to_string())
            .arg(envelope.encode())
            .arg(envelope.id.to_string())
            .arg(whole_ms(self.settings().tuning.unique_ttl));
        match keys.connection.one(&cmd).await? {
            Value::Int(1) => Ok(Replay::Replayed(envelope.id)),
            Value::Int(-1) => Ok(Replay::Cancelled),
            Value::Int(_) => Ok(Replay::Gone),
            holder => match parse(&holder) {
                Some(holder) => Ok(Replay::Duplicate(holder)),
                None => Err(Error::Reply("replay.lua")),
            },
        }
    }

    /// Letters in a range, by `XRANGE` or `XREVRANGE`.
    pub(crate) async fn letters(
        &self,
        command: &'static str,
        keys: &Partition,
        [from, to]: [&str; 2],
        limit: usize,
    ) -> Result<Vec<DeadLetter>, Error> {
        let mut cmd = redis::cmd(command);
        cmd.arg(&keys.dead).arg(from).arg(to);
        cmd.arg("COUNT").arg(limit);
        match keys.connection.one(&cmd).await? {
            Value::Array(rows) => {
                let letters = rows.into_iter();
                let letters = letters.filter_map(|row| dead_letter(&keys.name, row));
                Ok(letters.collect())
            }
            _ => Err(Error::Reply(command)),
        }
    }
}

/// Reads `[id, [field, value, ...]]`.
fn dead_letter(queue: &str, row: Value) -> Option<DeadLetter> {
    let Value::Array(mut parts) = row else {
        return None;
    };
    let Value::Array(fields) = parts.pop()? else {
        return None;
    };
    let mut letter = DeadLetter {
        queue: queue.to_owned(),
        id: parse(&parts.pop()?)?,
        envelope: Vec::new(),
        why: String::new(),
        error: String::new(),
        attempts: 0,
    };
    let mut fields = fields.into_iter();
    while let (Some(Value::BulkString(field)), Some(value)) = (fields.next(), fields.next()) {
        match (field.as_slice(), value) {
            (field, Value::BulkString(bytes)) if field == ENVELOPE.as_bytes() => {
                letter.envelope = bytes;
            }
            (b"why", Value::BulkString(bytes)) => letter.why = text(bytes),
            (b"error", Value::BulkString(bytes)) => letter.error = text(bytes),
            (b"n", value) => letter.attempts = u32::try_from(number(&value)).unwrap_or(u32::MAX),
            _ => {}
        }
    }
    Some(letter)
}

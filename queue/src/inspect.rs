//! What is in a queue, by calls whose cost does not grow with it.

use redis::{Pipeline, Value};

use crate::{
    Error, Queue,
    connection::first_error,
    error::Trouble,
    keys::{ENVELOPE, GROUP},
};

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
    /// Dead letters.
    pub dead: u64,
    /// Dead letters that were trimmed, since the queue began.
    pub dead_trimmed: u64,
}

/// A job that no worker runs any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The job as it was last; [`crate::Envelope::decode`] reads it.
    pub envelope: Vec<u8>,
    /// `attempts` used up, `discarded` by its handler, `crash` of its workers, or
    /// an `envelope` that is damaged.
    pub why: String,
    /// The last error with its sources.
    pub error: String,
    /// Attempts, or deliveries where no attempt ended.
    pub attempts: u32,
}

impl Queue {
    /// Counts the jobs of a queue.
    ///
    /// # Errors
    /// [`Error::Redis`].
    pub async fn counts(&self, queue: &str) -> Result<Counts, Error> {
        let keys = self.keys(queue);
        let mut pipeline = Pipeline::new();
        pipeline.cmd("XLEN").arg(&keys.stream);
        pipeline.cmd("ZCARD").arg(&keys.delayed);
        pipeline.cmd("ZCARD").arg(&keys.parked);
        pipeline.cmd("XLEN").arg(&keys.dead);
        pipeline.cmd("HGET").arg(&keys.meta).arg("dead_trimmed");
        pipeline.cmd("XPENDING").arg(&keys.stream).arg(GROUP);
        let mut answers = self.connection().all(&pipeline).await?;
        let pending = match answers.pop() {
            // No group yet, so nothing is pending.
            Some(Value::ServerError(error))
                if Trouble::of(&error.clone().into()) == Trouble::NoGroup =>
            {
                0
            }
            Some(Value::ServerError(error)) => return Err(Error::Redis(error.into())),
            Some(Value::Array(summary)) => summary.first().map_or(0, number),
            _ => return Err(Error::Reply("XPENDING")),
        };
        first_error(&answers)?;
        let [length, delayed, parked, dead, trimmed] = answers.as_slice() else {
            return Err(Error::Reply("a pipeline"));
        };
        Ok(Counts {
            ready: number(length).saturating_sub(pending),
            in_hand: pending,
            delayed: number(delayed),
            parked: number(parked),
            dead: number(dead),
            dead_trimmed: number(trimmed),
        })
    }

    /// The newest dead letters of a queue, at most `limit`.
    ///
    /// # Errors
    /// [`Error::Redis`].
    pub async fn dead_letters(&self, queue: &str, limit: usize) -> Result<Vec<DeadLetter>, Error> {
        let mut cmd = redis::cmd("XREVRANGE");
        cmd.arg(&self.keys(queue).dead)
            .arg("+")
            .arg("-")
            .arg("COUNT")
            .arg(limit);
        let Value::Array(rows) = self.connection().one(&cmd).await? else {
            return Err(Error::Reply("XREVRANGE"));
        };
        Ok(rows.into_iter().filter_map(dead_letter).collect())
    }
}

fn number(value: &Value) -> u64 {
    match value {
        Value::Int(number) => u64::try_from(*number).unwrap_or(0),
        Value::BulkString(bytes) => std::str::from_utf8(bytes)
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or(0),
        _ => 0,
    }
}

fn dead_letter(row: Value) -> Option<DeadLetter> {
    let Value::Array(mut parts) = row else {
        return None;
    };
    let Value::Array(fields) = parts.pop()? else {
        return None;
    };
    let mut letter = DeadLetter {
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

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

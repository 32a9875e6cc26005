use std::fmt;

use redis::{Pipeline, Value};

use crate::{Error, JobId, Queue, connection::first_error, reply::text};

/// A job that waits for a worker that knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parked {
    /// Its id; none where no worker could read the envelope.
    pub id: Option<JobId>,
    /// Why it waits.
    pub reason: Unknown,
    /// The job; [`crate::Envelope::decode`] reads it, if this release can.
    pub envelope: Vec<u8>,
}

/// What the worker that parked a job did not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unknown {
    /// The kind of job, or this version of its payload.
    Kind {
        /// Its [`crate::Job::NAME`].
        name: String,
        /// Its [`crate::Job::VERSION`].
        version: u16,
    },
    /// This version of the envelope, which a newer release wrote.
    Envelope {
        /// The first byte of the envelope.
        version: u8,
    },
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind { name, version } => {
                write!(f, "no handler for {name} of version {version}")
            }
            Self::Envelope { version } => write!(f, "envelope of unknown version {version}"),
        }
    }
}

impl Queue {
    /// Parked jobs of a queue, at most `limit`, those of one kind together.
    ///
    /// # Errors
    /// [`Error::Redis`].
    pub async fn parked(&self, queue: &str, limit: usize) -> Result<Vec<Parked>, Error> {
        let queue = self.partition(queue);
        let keys = &queue.keys;
        let mut cmd = redis::cmd("ZRANGEBYLEX");
        cmd.arg(&keys.parked).arg("-").arg("+");
        cmd.arg("LIMIT").arg(0).arg(limit);
        let Value::Array(members) = queue.connection.one(&cmd).await? else {
            return Err(Error::Reply("ZRANGEBYLEX"));
        };
        let members: Vec<_> = members.into_iter().filter_map(member).collect();
        let mut pipeline = Pipeline::with_capacity(members.len());
        for (_, field) in &members {
            pipeline.cmd("HGET").arg(&keys.payloads).arg(field);
        }
        let envelopes = queue.connection.all(&pipeline).await?;
        first_error(&envelopes)?;
        let both = members.into_iter().zip(envelopes);
        Ok(both.filter_map(parked).collect())
    }
}

/// Reads `name version field`; only the name can have a space, where it is no name of ours.
fn member(value: Value) -> Option<(Unknown, String)> {
    let Value::BulkString(bytes) = value else {
        return None;
    };
    let member = text(bytes);
    let mut words = member.rsplitn(3, ' ');
    let (field, version, name) = (words.next()?, words.next()?, words.next()?);
    let unknown = match name {
        "?" => Unknown::Envelope {
            version: version.parse().ok()?,
        },
        name => Unknown::Kind {
            name: name.to_owned(),
            version: version.parse().ok()?,
        },
    };
    Some((unknown, field.to_owned()))
}

/// Puts the parts together; `None` for a job that was taken back meanwhile.
fn parked(((reason, field), envelope): ((Unknown, String), Value)) -> Option<Parked> {
    let Value::BulkString(envelope) = envelope else {
        return None;
    };
    Some(Parked {
        // The field of an envelope that cannot be read is its entry's id.
        id: field.parse().ok(),
        reason,
        envelope,
    })
}

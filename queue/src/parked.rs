use std::fmt;

use redis::{Pipeline, Value};

use crate::{Error, JobId, Queue, connection::first_error, queue::Partition, reply::text};

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
    /// The key that its payload was encrypted with.
    Key {
        /// Its id in a [`crate::Keyring`].
        id: u32,
    },
}

impl Unknown {
    /// What the parked jobs of this reason start with in the index.
    pub(crate) fn prefix(&self) -> String {
        match self {
            Self::Kind { name, version } => kind_prefix(name, *version),
            Self::Envelope { version } => envelope_prefix(*version),
            Self::Key { id } => key_prefix(*id),
        }
    }
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind { name, version } => {
                write!(f, "no handler for {name} of version {version}")
            }
            Self::Envelope { version } => write!(f, "envelope of unknown version {version}"),
            Self::Key { id } => write!(f, "no key {id} for its payload"),
        }
    }
}

impl Queue {
    /// Parked jobs of a queue, at most `limit`, those of one kind together in each partition.
    ///
    /// # Errors
    /// [`Error::Redis`].
    pub async fn parked(&self, queue: &str, limit: usize) -> Result<Vec<Parked>, Error> {
        let mut jobs = Vec::new();
        for keys in self.all_partitions(queue) {
            let room = limit.saturating_sub(jobs.len());
            if room == 0 {
                break;
            }
            let members = self.parked_members(&keys, "-", room).await?;
            jobs.extend(self.parked_jobs(&keys, members).await?);
        }
        Ok(jobs)
    }

    /// Members of the index, from one on.
    pub(crate) async fn parked_members(
        &self,
        keys: &Partition,
        from: &str,
        limit: usize,
    ) -> Result<Vec<Member>, Error> {
        let mut cmd = redis::cmd("ZRANGEBYLEX");
        cmd.arg(&keys.parked).arg(from).arg("+");
        cmd.arg("LIMIT").arg(0).arg(limit);
        let Value::Array(members) = keys.connection.one(&cmd).await? else {
            return Err(Error::Reply("ZRANGEBYLEX"));
        };
        let members = members.into_iter().filter_map(|value| match value {
            Value::BulkString(bytes) => member(&text(bytes)),
            _ => None,
        });
        Ok(members.collect())
    }

    /// The jobs of these members, but for those that were taken back meanwhile.
    pub(crate) async fn parked_jobs(
        &self,
        keys: &Partition,
        members: Vec<Member>,
    ) -> Result<Vec<Parked>, Error> {
        let mut pipeline = Pipeline::with_capacity(members.len());
        for member in &members {
            pipeline.cmd("HGET").arg(&keys.payloads).arg(&member.field);
        }
        let envelopes = keys.connection.all(&pipeline).await?;
        first_error(&envelopes)?;
        let both = members.into_iter().zip(envelopes);
        Ok(both.filter_map(parked).collect())
    }
}

/// What parked jobs of this kind start with in the index.
pub(crate) fn kind_prefix(name: &str, version: u16) -> String {
    format!("{name} {version} ")
}

/// What parked envelopes of this version start with; no kind's name has a `?`.
pub(crate) fn envelope_prefix(version: u8) -> String {
    format!("? {version} ")
}

/// What parked jobs that were encrypted with this key start with.
pub(crate) fn key_prefix(id: u32) -> String {
    format!("?key {id} ")
}

/// A member of the index of parked jobs.
pub(crate) struct Member {
    /// All of it.
    pub(crate) text: String,
    reason: Unknown,
    /// Its field among the payloads.
    field: String,
}

/// Reads `name version field`, or `?key id field`; only the name can have a space, where it is no name of ours.
pub(crate) fn member(text: &str) -> Option<Member> {
    let mut words = text.rsplitn(3, ' ');
    let (field, version, name) = (words.next()?, words.next()?, words.next()?);
    let reason = match name {
        "?" => Unknown::Envelope {
            version: version.parse().ok()?,
        },
        "?key" => Unknown::Key {
            id: version.parse().ok()?,
        },
        name => Unknown::Kind {
            name: name.to_owned(),
            version: version.parse().ok()?,
        },
    };
    Some(Member {
        text: text.to_owned(),
        reason,
        field: field.to_owned(),
    })
}

/// Puts the parts together; `None` for a job that was taken back meanwhile.
fn parked((member, envelope): (Member, Value)) -> Option<Parked> {
    let Value::BulkString(envelope) = envelope else {
        return None;
    };
    Some(Parked {
        // The field of an envelope that cannot be read is its entry's id.
        id: member.field.parse().ok(),
        reason: member.reason,
        envelope,
    })
}

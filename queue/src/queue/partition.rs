//! Where each queue is, and each of its partitions.

use std::{
    ops::Deref,
    sync::{Arc, PoisonError},
    time::Duration,
};

use super::Queue;
use crate::{
    Error,
    connection::Connection,
    keys::Keys,
    partitions::{jump, queue_of},
};

/// The queue whose server is asked by [`Queue::ping`] in any case.
const PINGED: &str = "default";
/// Limit for [`Queue::ping`], which stands in readiness probes.
const PING_TIMEOUT: Duration = Duration::from_millis(900);

/// Where one partition of a queue is: its keys, and a connection to the server that has them.
pub(crate) struct Partition {
    /// As people call it: the queue, or `queue:1`.
    pub(crate) name: String,
    pub(crate) keys: Arc<Keys>,
    pub(crate) connection: Connection,
    /// Most unfinished jobs here, of a queue with a limit.
    pub(crate) limit: Option<u64>,
    /// The other partitions, where this is the first of several.
    others: Vec<Arc<Self>>,
}

impl Deref for Partition {
    type Target = Keys;

    fn deref(&self) -> &Keys {
        &self.keys
    }
}

impl Queue {
    /// Asks Redis for a sign of life, for at most a second; in a Cluster one node that has
    /// a queue which was used here will do.
    ///
    /// # Errors
    /// [`Error::Redis`] when there is none.
    pub async fn ping(&self) -> Result<(), Error> {
        let ping = redis::cmd("PING");
        let connections = self.connections();
        let asked = connections.iter().map(|one| Box::pin(one.one(&ping)));
        let asked = futures_util::future::select_ok(asked);
        match tokio::time::timeout(PING_TIMEOUT, asked).await {
            Ok(answer) => Ok(answer.map(drop)?),
            Err(elapsed) => Err(Error::Redis(std::io::Error::from(elapsed).into())),
        }
    }

    /// A connection to each server that is in use, at least one.
    fn connections(&self) -> Vec<Connection> {
        let first = self.partition(PINGED).connection.clone();
        let mut connections = vec![first];
        let known = self.0.partitions.read();
        for partition in known.unwrap_or_else(PoisonError::into_inner).values() {
            let connection = &partition.connection;
            if !connections.iter().any(|one| one.is(connection)) {
                connections.push(connection.clone());
            }
        }
        connections
    }

    /// How many partitions the queue has, by the settings: 1 if they do not name it.
    #[must_use]
    pub fn partitions(&self, queue: &str) -> u16 {
        let partitions = &self.settings().partitions;
        partitions.get(queue).copied().unwrap_or(1)
    }

    /// The first partition of a queue, or the one of this name: `queue:1`.
    pub(crate) fn partition(&self, name: &str) -> Arc<Partition> {
        let known = &self.0.partitions;
        let read = known.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(partition) = read.get(name) {
            return Arc::clone(partition);
        }
        drop(read);
        let partition = Arc::new(self.new_partition(name));
        let mut known = known.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(known.entry(name.to_owned()).or_insert(partition))
    }

    pub(crate) fn new_partition(&self, name: &str) -> Partition {
        let queue = queue_of(name);
        let partitions = self.partitions(queue);
        let others = if queue == name { 1..partitions } else { 1..1 };
        let keyed = name.strip_suffix(":0").unwrap_or(name);
        let keys = Arc::new(Keys::new(&self.settings().namespace, keyed));
        let limit = self.limit(queue);
        Partition {
            name: name.to_owned(),
            connection: self.0.connections.to(&keys.meta),
            keys,
            limit: limit.map(|limit| limit.div_ceil(u64::from(partitions))),
            others: others
                .map(|number| self.partition(&format!("{queue}:{number}")))
                .collect(),
        }
    }

    /// All partitions of a queue, or the one of this name.
    pub(crate) fn all_partitions(&self, queue: &str) -> Vec<Arc<Partition>> {
        let first = self.partition(queue);
        let others = first.others.clone();
        std::iter::once(first).chain(others).collect()
    }

    /// The partition of a queue in which a job is enqueued that is spread by these bits.
    pub(crate) fn place(&self, queue: &str, bits: u64) -> Arc<Partition> {
        let first = self.partition(queue);
        match jump(bits, first.others.len() + 1) {
            0 => first,
            other => Arc::clone(&first.others[other - 1]),
        }
    }
}

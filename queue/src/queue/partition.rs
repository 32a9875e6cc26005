//! Where each queue is.

use std::{
    ops::Deref,
    sync::{Arc, PoisonError},
    time::Duration,
};

use super::Queue;
use crate::{Error, connection::Connection, keys::Keys};

/// The queue whose server is asked by [`Queue::ping`] in any case.
const PINGED: &str = "default";
/// Limit for [`Queue::ping`], which stands in readiness probes.
const PING_TIMEOUT: Duration = Duration::from_millis(900);

/// Where one queue is: its keys, and a connection to the server that has them.
pub(crate) struct Partition {
    pub(crate) keys: Arc<Keys>,
    pub(crate) connection: Connection,
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

    pub(crate) fn partition(&self, queue: &str) -> Arc<Partition> {
        let known = &self.0.partitions;
        let read = known.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(partition) = read.get(queue) {
            return Arc::clone(partition);
        }
        drop(read);
        let keys = Arc::new(Keys::new(&self.settings().namespace, queue));
        let connection = self.0.connections.to(&keys.meta);
        let partition = Arc::new(Partition { keys, connection });
        let mut known = known.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(known.entry(queue.to_owned()).or_insert(partition))
    }
}

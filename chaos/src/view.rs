//! The conductor's own look into Redis, past every proxy.

use std::{collections::HashMap, time::Duration};

use anyhow::{Context, Result};
use queue::Envelope;
use redis::{AsyncConnectionConfig, InfoDict, Value, aio::MultiplexedConnection};

use crate::{
    brief::{Address, NAMESPACE, PARTITIONS},
    history::{DeadJob, Snapshot},
    journal::now,
    servers::node_of,
};

/// Enough for Redis on a busy machine.
const PATIENCE: Duration = Duration::from_secs(2);

/// Id of an entry, and its fields.
type Entry = (String, HashMap<String, Vec<u8>>);

/// What `view.lua` returns.
type Seen = (
    Vec<Entry>,
    Vec<(String, String, u64, u64)>,
    Vec<String>,
    Vec<String>,
    HashMap<String, Vec<u8>>,
    Vec<Entry>,
    Vec<(String, String)>,
    Vec<HashMap<String, Value>>,
    Vec<(String, i64)>,
    Vec<String>,
    u64,
    (Vec<Vec<u8>>, Vec<String>),
);

/// Connections of the conductor's own.
pub(crate) struct View {
    /// Each partition of the queues, and the server that it is on.
    queues: Vec<(&'static str, MultiplexedConnection)>,
}

/// One look.
#[derive(Debug, Default)]
pub(crate) struct Look {
    pub(crate) snapshot: Snapshot,
    /// Entries pending in the group, those without a body too.
    pub(crate) pending: u64,
    /// Who has a lease or has fetched, but for the one that holds what was handed back.
    pub(crate) consumers: Vec<String>,
    /// Queue and key, without their common beginning, and time to live in ms (below 0: none).
    /// Markers of relayed jobs are left out, if they have one.
    pub(crate) keys: Vec<(&'static str, String, i64)>,
}

impl View {
    pub(crate) async fn open(redis: &Address) -> Result<Self> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE));
        let mut queues = Vec::new();
        for queue in PARTITIONS {
            let url = format!("redis://127.0.0.1:{}", node_of(redis, queue).await?);
            let client = redis::Client::open(url)?;
            let connection = client.get_multiplexed_async_connection_with_config(&config);
            queues.push((queue, connection.await?));
        }
        Ok(Self { queues })
    }

    /// Where every job is now, one partition after the other: no job goes from one to another.
    pub(crate) async fn look(&mut self) -> Result<Look> {
        let mut look = Look::default();
        look.snapshot.asked = now();
        for (queue, connection) in &mut self.queues {
            let seen = redis::cmd("EVAL")
                .arg(include_str!("view.lua"))
                .arg(1)
                .arg(format!("{{{NAMESPACE}:{queue}}}:s:0"))
                .arg(format!("{{{NAMESPACE}:{queue}}}:"))
                .query_async(connection)
                .await?;
            let mut partition = Snapshot::default();
            look.take(queue, &mut partition, seen)?;
            look.snapshot.add(queue, partition);
        }
        Ok(look)
    }

    /// Lets Redis have no more memory than it uses now, or as much as it likes.
    pub(crate) async fn limit_memory(&mut self, limited: bool) -> Result<()> {
        for (_, connection) in &mut self.queues {
            let info: InfoDict = redis::cmd("INFO")
                .arg("memory")
                .query_async(connection)
                .await?;
            let used: u64 = info.get("used_memory").context("Redis tells its memory")?;
            redis::cmd("CONFIG")
                .arg("SET")
                .arg("maxmemory")
                .arg(if limited { used } else { 0 })
                .exec_async(connection)
                .await?;
        }
        Ok(())
    }

    /// Makes Redis forget all loaded scripts.
    pub(crate) async fn forget_scripts(&mut self) -> Result<()> {
        for (_, connection) in &mut self.queues {
            redis::cmd("SCRIPT")
                .arg("FLUSH")
                .exec_async(connection)
                .await?;
        }
        Ok(())
    }
}

impl Look {
    /// Adds what was seen of one partition: its jobs to this snapshot, the rest to us.
    fn take(&mut self, queue: &'static str, snapshot: &mut Snapshot, seen: Seen) -> Result<()> {
        let (
            stream,
            pending,
            delayed,
            parked,
            payloads,
            dead,
            locks,
            consumers,
            keys,
            requests,
            cancelled,
            (kept, blocked),
        ) = seen;
        let depth = (stream.len() + delayed.len() + blocked.len()) as u64;
        snapshot.depths.insert(queue.to_owned(), depth);
        snapshot.cancelled += cancelled;
        let owners: HashMap<&str, (&String, u64)> = pending
            .iter()
            .map(|(entry, owner, _, times)| (entry.as_str(), (owner, *times)))
            .collect();
        for (entry, fields) in &stream {
            let envelope = job(fields)?;
            let id = envelope.id;
            if is_sealed(&envelope) {
                snapshot.sealed.insert(id);
            }
            let owner = owners.get(entry.as_str());
            let name = owner.map(|(owner, _)| (*owner).clone());
            snapshot.stream.push((id, name));
            if let Some((_, times @ 2..)) = owner {
                snapshot.delivered.push((id, *times));
            }
        }
        for (_, fields) in &dead {
            let text = |field: &str| {
                let bytes = fields.get(field).map(Vec::as_slice).unwrap_or_default();
                String::from_utf8_lossy(bytes).into_owned()
            };
            let envelope = job(fields)?;
            if is_sealed(&envelope) {
                snapshot.sealed.insert(envelope.id);
            }
            snapshot.dead.push(DeadJob {
                id: envelope.id,
                why: text("why"),
                attempts: text("n").parse().context("a dead letter has a number")?,
            });
        }
        // The field of a payload is an entry's id where the worker could not read the job's.
        let mut ids = HashMap::new();
        for (field, envelope) in &payloads {
            let envelope = Envelope::decode(envelope)?;
            let id = envelope.id;
            if is_sealed(&envelope) {
                snapshot.sealed.insert(id);
            }
            ids.insert(field.as_str(), id);
            snapshot.payloads.push(id);
        }
        let id = |field: &str| match ids.get(field) {
            Some(id) => Ok(*id),
            None => field
                .parse()
                .with_context(|| format!("{field} has no payload")),
        };
        for field in &delayed {
            snapshot.delayed.push(id(field)?);
        }
        for member in &parked {
            let field = member.rsplit(' ').next().unwrap_or_default();
            snapshot.parked.push(id(field)?);
        }
        // Key, job, limit.
        for member in &blocked {
            let id = member.split(' ').nth(1);
            let id = id.context("a blocked job has an id")?;
            snapshot.blocked.push(id.parse()?);
        }
        for envelope in kept {
            let envelope = Envelope::decode(&envelope)?;
            if is_sealed(&envelope) {
                snapshot.sealed.insert(envelope.id);
            }
            snapshot.kept.push(envelope.id);
        }
        for (key, holder) in locks {
            snapshot.locks.push((key, holder.parse()?));
        }
        for request in requests {
            snapshot.requests.push(request.parse()?);
        }
        let names = consumers.into_iter().filter_map(|mut consumer| {
            let name = redis::from_redis_value::<String>(consumer.remove("name")?).ok()?;
            (name != "~").then_some(name)
        });
        self.pending += pending.len() as u64;
        self.consumers.extend(names);
        let keys = keys.into_iter().map(|(key, ttl)| (queue, key, ttl));
        self.keys.extend(keys);
        Ok(())
    }
}

fn job(fields: &HashMap<String, Vec<u8>>) -> Result<Envelope> {
    let envelope = fields.get("e").context("an entry has an envelope")?;
    Ok(Envelope::decode(envelope)?)
}

/// Whether the payload shows nothing of what is in each of ours.
fn is_sealed(envelope: &Envelope) -> bool {
    let payload = String::from_utf8_lossy(&envelope.payload);
    !["serial", "slot"].iter().any(|word| payload.contains(word))
}

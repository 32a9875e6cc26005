//! The conductor's own look into Redis, past every proxy.

use std::{collections::HashMap, time::Duration};

use anyhow::{Context, Result};
use queue::{Envelope, JobId};
use redis::{AsyncConnectionConfig, InfoDict, Value, aio::MultiplexedConnection};

use crate::{
    brief::NAMESPACE,
    history::{DeadJob, Snapshot},
    journal::now,
};

/// The queue that all jobs go to.
const QUEUE: &str = "default";
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
);

/// A connection of the conductor's own.
pub(crate) struct View {
    connection: MultiplexedConnection,
}

/// One look.
#[derive(Debug, Default)]
pub(crate) struct Look {
    pub(crate) snapshot: Snapshot,
    /// Entries pending in the group, those without a body too.
    pub(crate) pending: u64,
    /// Consumers of the group, but for the one that holds what was handed back.
    pub(crate) consumers: Vec<String>,
    /// Keys, without their common beginning, and their times to live in ms (below 0: none).
    /// Markers of relayed jobs are left out, if they have one.
    pub(crate) keys: Vec<(String, i64)>,
}

impl View {
    pub(crate) async fn open(url: &str) -> Result<Self> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE));
        let connection = redis::Client::open(url)?
            .get_multiplexed_async_connection_with_config(&config)
            .await?;
        Ok(Self { connection })
    }

    /// Where every job is now.
    pub(crate) async fn look(&mut self) -> Result<Look> {
        let asked = now();
        let (stream, pending, delayed, parked, payloads, dead, locks, consumers, keys): Seen =
            redis::cmd("EVAL")
                .arg(include_str!("view.lua"))
                .arg(0)
                .arg(format!("{{{NAMESPACE}:{QUEUE}}}:"))
                .query_async(&mut self.connection)
                .await?;
        let owners: HashMap<&str, &String> = pending
            .iter()
            .map(|(entry, owner, ..)| (entry.as_str(), owner))
            .collect();
        let mut snapshot = Snapshot {
            asked,
            ..Snapshot::default()
        };
        for (entry, fields) in &stream {
            let owner = owners.get(entry.as_str()).map(ToString::to_string);
            snapshot.stream.push((job(fields)?, owner));
        }
        for (_, fields) in &dead {
            let text = |field: &str| {
                let bytes = fields.get(field).map(Vec::as_slice).unwrap_or_default();
                String::from_utf8_lossy(bytes).into_owned()
            };
            snapshot.dead.push(DeadJob {
                id: job(fields)?,
                why: text("why"),
                attempts: text("n").parse().context("a dead letter has a number")?,
            });
        }
        // The field of a payload is an entry's id where the worker could not read the job's.
        let mut ids = HashMap::new();
        for (field, envelope) in &payloads {
            let id = Envelope::decode(envelope)?.id;
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
        for (key, holder) in locks {
            snapshot.locks.push((key, holder.parse()?));
        }
        let names = consumers.into_iter().filter_map(|mut consumer| {
            let name = redis::from_redis_value::<String>(consumer.remove("name")?).ok()?;
            (name != "~").then_some(name)
        });
        Ok(Look {
            pending: pending.len() as u64,
            consumers: names.collect(),
            snapshot,
            keys,
        })
    }

    /// Lets Redis have no more memory than it uses now, or as much as it likes.
    pub(crate) async fn limit_memory(&mut self, limited: bool) -> Result<()> {
        let info: InfoDict = redis::cmd("INFO")
            .arg("memory")
            .query_async(&mut self.connection)
            .await?;
        let used: u64 = info.get("used_memory").context("Redis tells its memory")?;
        redis::cmd("CONFIG")
            .arg("SET")
            .arg("maxmemory")
            .arg(if limited { used } else { 0 })
            .exec_async(&mut self.connection)
            .await?;
        Ok(())
    }

    /// Makes Redis forget all loaded scripts.
    pub(crate) async fn forget_scripts(&mut self) -> Result<()> {
        redis::cmd("SCRIPT")
            .arg("FLUSH")
            .exec_async(&mut self.connection)
            .await?;
        Ok(())
    }
}

fn job(fields: &HashMap<String, Vec<u8>>) -> Result<JobId> {
    let envelope = fields.get("e").context("an entry has an envelope")?;
    Ok(Envelope::decode(envelope)?.id)
}

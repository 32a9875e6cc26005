//! What the conductor tells a process at its start.

use std::{path::PathBuf, time::Duration};

use anyhow::Result;
use queue::{Cluster, Keyring, Packer, Sentinel, Servers};
use redis::{IntoConnectionInfo, RedisConnectionInfo};
use serde::{Deserialize, Serialize};
use sqlx::{PgPool, postgres::PgPoolOptions};

use crate::{
    history::{Gate, Kind, Release},
    journal::Journal,
};

/// Prefix of all keys in Redis.
pub(crate) const NAMESPACE: &str = "chaos";

/// The queues, the first three each on another node of a Cluster of three.
pub(crate) const QUEUES: [&str; 4] = ["default", "limited", "kept", "gated"];

/// All partitions of the queues, by their own names: `kept` is on another two nodes.
pub(crate) const PARTITIONS: [&str; 6] =
    ["default", "limited", "kept", "kept:1", "kept:2", "gated"];

/// Most unfinished jobs of [`Kind::Bounded`]: few, so that the queue is often full.
pub(crate) const LIMIT: u64 = 40;

/// Keys that payloads are encrypted with, by their ids. One worker has but the first, and those
/// of the release before have none.
pub(crate) const SECRETS: [(u32, [u8; 32]); 2] = [(1, [1; 32]), (2, [2; 32])];

/// The slot among the workers that has but the first key.
const ONE_KEY: u64 = 2;

/// What is let through of [`Kind::Gated`]: a little more than is offered.
pub(crate) const GATE: Gate = Gate {
    most: 2,
    per_second: 6,
    burst: 3,
};

/// What the Sentinels call the servers.
pub(crate) const SET: &str = "primary";

/// Where Redis is, by the ports of this machine.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Address {
    /// A server, or the proxy before it.
    One(u16),
    /// Sentinels that know the primary.
    Sentinel(Vec<u16>),
    /// The nodes of a Cluster.
    Cluster(Vec<u16>),
}

impl Address {
    /// For [`queue::Settings`]: the address of the one server, or of nobody, and who knows it.
    fn servers(&self) -> (u16, Servers) {
        const NOBODY: u16 = 1;
        let nodes = |ports: &[u16]| {
            let ports = ports.iter();
            ports.map(|port| ("127.0.0.1".to_owned(), *port)).collect()
        };
        match self {
            Self::One(port) => (*port, Servers::One),
            Self::Sentinel(ports) => {
                let sentinel = Sentinel {
                    nodes: nodes(ports),
                    set: SET.to_owned(),
                    login: RedisConnectionInfo::default(),
                };
                (NOBODY, Servers::Sentinel(sentinel))
            }
            Self::Cluster(ports) => {
                let nodes = nodes(ports);
                (NOBODY, Servers::Cluster(Cluster { nodes }))
            }
        }
    }
}

/// The one argument of a worker or producer, as JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Brief {
    /// Slot and life: `w2.3`.
    pub(crate) label: String,
    /// Number of the slot among those of its sort.
    pub(crate) slot: u64,
    /// Number of the life in this slot; 1 is the first.
    pub(crate) life: u64,
    pub(crate) release: Release,
    /// Whether it came last: it knows a kind of job that nobody knew before, and no schedules.
    pub(crate) last: bool,
    pub(crate) redis: Address,
    pub(crate) database_url: String,
    pub(crate) history: PathBuf,
    pub(crate) seed: u64,
    pub(crate) lease: Duration,
}

impl Brief {
    /// The file that this process writes its history to.
    pub(crate) fn journal(&self) -> Result<Journal> {
        Journal::open(&self.history, &self.label)
    }

    /// The queue with all times cut to the lease, in the proportions of the defaults.
    pub(crate) fn queue(&self) -> Result<queue::Settings> {
        let (port, servers) = self.redis.servers();
        let redis = ("127.0.0.1", port).into_connection_info()?;
        let mut settings = queue::Settings::new(redis, NAMESPACE);
        settings.lease = self.lease;
        settings.servers = servers;
        let limited = Kind::Bounded.queue().to_owned();
        settings.limits.insert(limited, LIMIT);
        for queue in QUEUES {
            let number = u16::try_from(partitions_of(queue).count())?;
            settings.partitions.insert(queue.to_owned(), number);
        }
        let tuning = &mut settings.tuning;
        tuning.scan = scan(self.lease);
        tuning.connect_timeout = self.lease / 4;
        tuning.response_timeout = self.lease / 2;
        tuning.block = self.lease / 2;
        tuning.reconcile = 3 * self.lease;
        Ok(match self.release {
            Release::New => settings,
            Release::Old => queue::testing::release_before(settings),
        })
    }

    /// The ids of the keys that this process has.
    pub(crate) fn keys(&self) -> Vec<u32> {
        let known = match self.release {
            Release::Old => 0,
            Release::New if self.label.starts_with('w') && self.slot == ONE_KEY => 1,
            Release::New => SECRETS.len(),
        };
        SECRETS.iter().take(known).map(|(id, _)| *id).collect()
    }

    /// The queue with all payloads encrypted by one of our keys, or by none.
    pub(crate) fn sealing(&self, current: Option<u32>) -> Result<queue::Settings> {
        let mut settings = self.queue()?;
        let ours = self.keys();
        let ours = SECRETS.iter().filter(|(id, _)| ours.contains(id));
        let keys = Keyring::new(current, ours.map(|(id, secret)| (*id, secret)))?;
        // Payloads of which some are smaller, and some are larger.
        settings.packing = Packer {
            compress_above: current.map(|_| 80),
            keys,
        };
        Ok(settings)
    }

    /// Connects when it is first used; `most` connections.
    pub(crate) fn database(&self, most: u32) -> Result<PgPool> {
        let pool = PgPoolOptions::new()
            .max_connections(most)
            .acquire_timeout(Duration::from_secs(2))
            .connect_lazy(&self.database_url)?;
        Ok(pool)
    }

    /// How long a worker may drain, and how long it may then take to be gone.
    pub(crate) fn drain(&self) -> Drain {
        Drain {
            timeout: self.lease,
            exit: self.lease + Duration::from_secs(8),
        }
    }
}

/// Limits of a worker's end.
pub(crate) struct Drain {
    /// For running jobs, after SIGTERM.
    pub(crate) timeout: Duration,
    /// For the whole process, after SIGTERM.
    pub(crate) exit: Duration,
}

/// The queue of a partition.
pub(crate) fn queue_of(partition: &str) -> &str {
    partition
        .split_once(':')
        .map_or(partition, |(queue, _)| queue)
}

/// The partitions of a queue.
pub(crate) fn partitions_of(queue: &str) -> impl Iterator<Item = &'static str> {
    let all = PARTITIONS.into_iter();
    all.filter(move |partition| queue_of(partition) == queue)
}

/// How often ended leases are looked for.
pub(crate) fn scan(lease: Duration) -> Duration {
    lease / 5
}

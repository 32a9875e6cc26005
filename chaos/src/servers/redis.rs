//! The servers that the queues are on: one, a set with Sentinels, or a Cluster.

use std::{cell::Cell, path::Path, time::Duration};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use super::{Programs, find::node_of, free_port, node::Node, wait_until};
use crate::brief::{Address, PARTITIONS, SET};

/// After so long a silence others take a primary for dead.
const SILENCE: Duration = Duration::from_secs(1);
/// Primaries of a Cluster; each has a replica.
const PRIMARIES: usize = 3;
const SLOTS: [&str; PRIMARIES] = ["0 5460", "5461 10922", "10923 16383"];

/// Which servers there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// One server
    One,
    /// A primary and a replica, and three Sentinels
    Sentinel,
    /// Three primaries with a replica each
    Cluster,
}

/// All of them.
pub(crate) struct Redis {
    kind: Kind,
    nodes: Vec<Node>,
    sentinels: Vec<Node>,
}

impl Redis {
    /// Returns when all know each other.
    pub(crate) async fn start(kind: Kind, programs: &Programs, folder: &Path) -> Result<Self> {
        let mut redis = Self {
            kind,
            nodes: Vec::new(),
            sentinels: Vec::new(),
        };
        match kind {
            Kind::One => {
                let node = Node::start(&programs.redis, folder, "redis", Vec::new()).await?;
                redis.nodes.push(node);
            }
            Kind::Sentinel => redis.start_set(programs, folder).await?,
            Kind::Cluster => redis.start_cluster(programs, folder).await?,
        }
        Ok(redis)
    }

    async fn start_set(&mut self, programs: &Programs, folder: &Path) -> Result<()> {
        let program = &programs.redis;
        let primary = Node::start(program, folder, "redis-1", Vec::new()).await?;
        let port = primary.port.to_string();
        let options = ["--replicaof", "127.0.0.1", &port].map(str::to_owned);
        let replica = Node::start(program, folder, "redis-2", options.to_vec()).await?;
        self.nodes = vec![primary, replica];
        let watch = format!(
            "sentinel monitor {SET} 127.0.0.1 {port} 2\n\
             sentinel down-after-milliseconds {SET} {}\n\
             sentinel failover-timeout {SET} 5000\n",
            SILENCE.as_millis()
        );
        for number in 1..=3 {
            let name = format!("sentinel-{number}");
            let sentinel = Node::sentinel(program, folder, &name, &watch).await?;
            self.sentinels.push(sentinel);
        }
        for sentinel in &self.sentinels {
            wait_until("the Sentinels", async || {
                let info: String = sentinel.ask("INFO sentinel").await?;
                let whole = info.contains("status=ok") && info.contains("slaves=1,sentinels=3");
                whole.then_some(()).context("they do not know each other")
            })
            .await?;
        }
        Ok(())
    }

    async fn start_cluster(&mut self, programs: &Programs, folder: &Path) -> Result<()> {
        let mut buses = Vec::new();
        for number in 1..=2 * PRIMARIES {
            let bus = free_port()?;
            let silence = SILENCE.as_millis();
            let options = format!(
                "--cluster-enabled yes --cluster-node-timeout {silence} --cluster-port {bus}"
            );
            let options = options.split(' ').map(str::to_owned).collect();
            let name = format!("redis-{number}");
            let node = Node::start(&programs.redis, folder, &name, options).await?;
            self.nodes.push(node);
            buses.push(bus);
        }
        let (first, nodes) = (&self.nodes[0], &self.nodes);
        for (node, bus) in nodes.iter().zip(buses).skip(1) {
            let meet = format!("CLUSTER MEET 127.0.0.1 {} {bus}", node.port);
            let () = first.ask(&meet).await?;
        }
        for (node, slots) in nodes.iter().zip(SLOTS) {
            let () = node.ask(&format!("CLUSTER ADDSLOTSRANGE {slots}")).await?;
        }
        for (primary, replica) in nodes.iter().zip(&nodes[PRIMARIES..]) {
            let id: String = primary.ask("CLUSTER MYID").await?;
            let follow = format!("CLUSTER REPLICATE {id}");
            wait_until("the Cluster", async || replica.ask::<()>(&follow).await).await?;
        }
        for node in nodes {
            wait_until("the Cluster", async || {
                let info: String = node.ask("CLUSTER INFO").await?;
                let others: String = node.ask("CLUSTER NODES").await?;
                let replicas = others.lines().filter(|line| line.contains("slave"));
                let whole = info.contains("cluster_state:ok") && replicas.count() == PRIMARIES;
                whole.then_some(()).context("it is not whole")
            })
            .await?;
        }
        Ok(())
    }

    /// Where others find it.
    pub(crate) fn address(&self) -> Address {
        let ports = |nodes: &[Node]| nodes.iter().map(|node| node.port).collect();
        match self.kind {
            Kind::One => Address::One(self.nodes[0].port),
            Kind::Sentinel => Address::Sentinel(ports(&self.sentinels)),
            Kind::Cluster => Address::Cluster(ports(&self.nodes)),
        }
    }

    /// The place of the primary that a queue is on, when all that it has written is with a
    /// replica: else that could not take its place.
    pub(crate) async fn primary(&self, queue: &str) -> Result<usize> {
        let place = Cell::new(None);
        wait_until("a primary with a replica", async || {
            place.set(Some(self.with_replica(queue).await?));
            anyhow::Ok(())
        })
        .await?;
        place.get().context("it was found")
    }

    async fn with_replica(&self, queue: &str) -> Result<usize> {
        let place = self.place_of(queue).await?;
        let copied: u8 = self.nodes[place].ask("WAIT 1 100").await?;
        let replication: String = self.nodes[place].ask("INFO replication").await?;
        // It may have been a replica itself until just now, and not be told of it.
        if copied == 0 || !replication.contains("role:master") {
            bail!("it has no replica");
        }
        Ok(place)
    }

    async fn place_of(&self, queue: &str) -> Result<usize> {
        let port = node_of(&self.address(), queue).await?;
        let place = self.nodes.iter().position(|node| node.port == port);
        place.with_context(|| format!("{port} is none of ours"))
    }

    /// The place of a replica of this primary.
    pub(crate) async fn replica_of(&self, primary: usize) -> Result<usize> {
        let port = self.nodes[primary].port;
        for (place, node) in self.nodes.iter().enumerate() {
            let replication: String = node.ask("INFO replication").await?;
            if replication.contains(&format!("master_port:{port}\r")) {
                return Ok(place);
            }
        }
        bail!("{port} has no replica")
    }

    /// Waits until the queues of a primary that is gone are on another one.
    pub(crate) async fn promoted(&self, gone: usize) -> Result<()> {
        for queue in PARTITIONS {
            wait_until("a new primary", async || {
                let place = self.place_of(queue).await?;
                if place == gone {
                    bail!("it is still the one of before");
                }
                let replication: String = self.nodes[place].ask("INFO replication").await?;
                let leads = replication.contains("role:master");
                leads.then_some(()).context("it is a replica yet")
            })
            .await?;
        }
        Ok(())
    }

    /// Starts a node with what is on its disk; in the place of all where there is one.
    pub(crate) async fn resume(&mut self, place: usize) -> Result<()> {
        self.nodes[place].resume().await
    }

    /// Ends a node as a power cut would.
    pub(crate) fn kill(&mut self, place: usize) {
        self.nodes[place].kill();
    }

    /// Throws the data of all away.
    pub(crate) fn forget(&self) -> Result<()> {
        self.nodes.iter().try_for_each(Node::forget)
    }

    /// Stops all in their tracks, or lets them go on.
    pub(crate) fn freeze(&self, frozen: bool) {
        for node in &self.nodes {
            node.freeze(frozen);
        }
    }

    /// Closes all connections but those between the servers.
    pub(crate) async fn disconnect(&self) -> Result<()> {
        for node in self.nodes.iter().filter(|node| node.is_up()) {
            let _: u64 = node.ask("CLIENT KILL TYPE normal SKIPME yes").await?;
        }
        Ok(())
    }
}

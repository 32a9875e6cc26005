//! A Redis of the test's own, to stop and to start.

use std::{
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use queue::redis::aio::MultiplexedConnection;

use crate::harness::{query, until};

pub(crate) struct Server {
    port: u16,
    dir: tempfile::TempDir,
    child: Option<Child>,
    append_only: bool,
    /// What else it is told.
    options: Vec<String>,
}

impl Server {
    /// A server on a free port, with or without an append-only file.
    pub(crate) fn start(append_only: bool) -> Self {
        Self::start_with(append_only, Vec::new())
    }

    /// A replica of another.
    pub(crate) fn replica_of(primary: &Self) -> Self {
        let options = format!("--replicaof 127.0.0.1 {}", primary.port);
        let options = options.split(' ').map(ToOwned::to_owned);
        Self::start_with(primary.append_only, options.collect())
    }

    /// A node of a Cluster that it has not joined yet.
    fn node() -> Self {
        let options = format!(
            "--cluster-enabled yes --cluster-node-timeout 1000 --cluster-port {}",
            free_port()
        );
        let options = options.split(' ').map(ToOwned::to_owned);
        Self::start_with(false, options.collect())
    }

    fn start_with(append_only: bool, options: Vec<String>) -> Self {
        let mut server = Self {
            options,
            port: free_port(),
            dir: tempfile::tempdir().unwrap(),
            child: None,
            append_only,
        };
        server.resume();
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// A connection of the test's own.
    pub(crate) async fn connection(&self) -> MultiplexedConnection {
        let client = queue::redis::Client::open(self.url()).unwrap();
        client.get_multiplexed_async_connection().await.unwrap()
    }

    /// Its socket file, as an address.
    pub(crate) fn socket(&self) -> String {
        format!("redis+unix://{}", self.dir.path().join("redis").display())
    }

    /// Where it keeps its data, and a test what else the server is to read.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Ends the server as a power cut would.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Makes it silent: its port is open, and it answers nothing.
    pub(crate) fn freeze(&self) {
        self.signal("-STOP");
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let id = self.child.as_ref().unwrap().id().to_string();
        let sent = Command::new("kill").args([signal, &id]).status().unwrap();
        assert!(sent.success());
    }

    /// Starts it again, with what is on its disk.
    pub(crate) fn resume(&mut self) {
        let child = Command::new("redis-server")
            .args(&self.options)
            .args(["--port", &self.port.to_string()])
            .args(["--bind", "127.0.0.1"])
            .args(["--save", ""])
            .args(["--appendonly", if self.append_only { "yes" } else { "no" }])
            .args(["--appendfsync", "always"])
            .args(["--unixsocket", "redis"])
            .arg("--dir")
            .arg(self.dir.path())
            .stdout(Stdio::null())
            .spawn()
            .expect(
                "redis-server is not in PATH: run the tests with `cargo xtask test`, \
                 or install Redis 7 or newer",
            );
        self.child = Some(child);
        let end = Instant::now() + Duration::from_secs(10);
        while !self.answers() {
            assert!(Instant::now() < end, "redis-server does not start");
            std::thread::park_timeout(Duration::from_millis(10));
        }
    }

    fn answers(&self) -> bool {
        queue::redis::Client::open(self.url())
            .and_then(|client| client.get_connection())
            .and_then(|mut connection| queue::redis::cmd("PING").query::<String>(&mut connection))
            .is_ok()
    }
}

/// Three Sentinels that watch a primary and its replicas; they call the set `primary`.
pub(crate) struct Sentinels(Vec<(u16, Child)>);

impl Sentinels {
    /// Returns when each knows the replica and the other Sentinels.
    pub(crate) async fn watch(primary: &Server) -> Self {
        let sentinels = Self((0..3).map(|number| sentinel(primary, number)).collect());
        let complete = |info: &str| {
            info.lines()
                .any(|line| line.contains("status=ok") && line.contains("slaves=1,sentinels=3"))
        };
        for (_, port) in sentinels.nodes() {
            until("the Sentinels know each other", async || {
                let client = queue::redis::Client::open(format!("redis://127.0.0.1:{port}"));
                let connection = client.unwrap().get_multiplexed_async_connection().await;
                let Ok(mut connection) = connection else {
                    return false;
                };
                let info: String = query(&mut connection, &["INFO", "sentinel"]).await;
                complete(&info)
            })
            .await;
        }
        sentinels
    }

    pub(crate) fn nodes(&self) -> Vec<(String, u16)> {
        let ports = self.0.iter().map(|(port, _)| *port);
        ports.map(|port| ("127.0.0.1".to_owned(), port)).collect()
    }
}

impl Drop for Sentinels {
    fn drop(&mut self) {
        for (_, child) in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn sentinel(primary: &Server, number: u8) -> (u16, Child) {
    let port = free_port();
    // It writes into its file what it learns.
    let file = primary.dir().join(format!("sentinel-{number}.conf"));
    let watched = primary.port;
    let conf = format!(
        "port {port}\nbind 127.0.0.1\n\
         sentinel monitor primary 127.0.0.1 {watched} 2\n\
         sentinel down-after-milliseconds primary 500\n\
         sentinel failover-timeout primary 5000\n"
    );
    std::fs::write(&file, conf).unwrap();
    let child = Command::new("redis-server")
        .arg(file)
        .arg("--sentinel")
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    (port, child)
}

/// A Cluster of three primaries, each with a replica.
pub(crate) struct ClusterServers(Vec<Server>);

impl ClusterServers {
    /// Returns when all nodes agree.
    pub(crate) async fn start() -> Self {
        let nodes: Vec<Server> = (0..6).map(|_| Server::node()).collect();
        let mut first = nodes[0].connection().await;
        for node in &nodes[1..] {
            let (port, bus) = (node.port.to_string(), &node.options[5]);
            let meet = ["CLUSTER", "MEET", "127.0.0.1", &port, bus];
            let () = query(&mut first, &meet).await;
        }
        let slots = [["0", "5460"], ["5461", "10922"], ["10923", "16383"]];
        for (node, [from, to]) in nodes.iter().zip(slots) {
            let mut node = node.connection().await;
            let () = query(&mut node, &["CLUSTER", "ADDSLOTSRANGE", from, to]).await;
        }
        for (primary, replica) in nodes.iter().zip(&nodes[3..]) {
            let mut primary = primary.connection().await;
            let id: String = query(&mut primary, &["CLUSTER", "MYID"]).await;
            let mut replica = replica.connection().await;
            until("it has heard of its primary", async || {
                let mut cmd = queue::redis::cmd("CLUSTER");
                cmd.arg("REPLICATE").arg(&id);
                cmd.exec_async(&mut replica).await.is_ok()
            })
            .await;
        }
        for node in &nodes {
            let mut node = node.connection().await;
            until("the Cluster is whole", async || {
                let info: String = query(&mut node, &["CLUSTER", "INFO"]).await;
                let nodes: String = query(&mut node, &["CLUSTER", "NODES"]).await;
                let replicas = nodes.lines().filter(|line| line.contains("slave"));
                info.contains("cluster_state:ok") && replicas.count() == 3
            })
            .await;
        }
        Self(nodes)
    }

    pub(crate) fn nodes(&self) -> Vec<(String, u16)> {
        let ports = self.0.iter().map(|node| node.port);
        ports.map(|port| ("127.0.0.1".to_owned(), port)).collect()
    }

    /// The place, among the servers, of the primary that has this key.
    pub(crate) async fn place_of(&self, key: &str) -> usize {
        for (place, node) in self.0[..3].iter().enumerate() {
            let mut node = node.connection().await;
            let mut cmd = queue::redis::cmd("EXISTS");
            if cmd.arg(key).exec_async(&mut node).await.is_ok() {
                return place;
            }
        }
        panic!("no primary has {key}");
    }

    /// Lets all nodes wait for so long for one that is silent, before a replica takes over.
    pub(crate) async fn wait_for_nodes(&self, time: Duration) {
        let time = time.as_millis().to_string();
        for node in &self.0 {
            let mut node = node.connection().await;
            let set = ["CONFIG", "SET", "cluster-node-timeout", &time];
            let () = query(&mut node, &set).await;
        }
    }

    /// Makes a node silent: its port is open, and it answers nothing.
    pub(crate) fn freeze(&self, place: usize) {
        self.0[place].freeze();
    }

    pub(crate) fn thaw_all(&self) {
        for node in &self.0 {
            node.thaw();
        }
    }

    /// Kills a node, as a power cut would.
    pub(crate) fn kill(&mut self, place: usize) {
        self.0.remove(place).kill();
    }

    pub(crate) async fn connection(&self, place: usize) -> MultiplexedConnection {
        self.0[place].connection().await
    }

    pub(crate) fn port(&self, place: usize) -> u16 {
        self.0[place].port
    }
}

/// A port that nobody listened on just now.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

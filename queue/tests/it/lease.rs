//! The scripts around the lease, at chosen times: a server's clock cannot be set,
//! so the tests write what would be in Redis that long after.

use queue::redis::{Script, Value, aio::MultiplexedConnection};

use crate::harness::*;

/// In ms, as by default.
const LEASE: i64 = 6000;

/// One queue, seen through its scripts.
struct Scripts {
    connection: MultiplexedConnection,
    tag: String,
}

impl Scripts {
    async fn new(settings: &queue::Settings) -> Self {
        Self {
            connection: connection(settings).await,
            tag: format!("{{{}:default}}", settings.namespace),
        }
    }

    fn key(&self, name: &str) -> String {
        format!("{}:{name}", self.tag)
    }

    async fn run(&mut self, words: &[&str]) -> Value {
        query(&mut self.connection, words).await
    }

    async fn now(&mut self) -> i64 {
        let (seconds, micros): (i64, i64) = query(&mut self.connection, &["TIME"]).await;
        seconds * 1000 + micros / 1000
    }

    /// The last heartbeat of all was this long ago.
    async fn last_beat(&mut self, ago: i64) {
        let at = (self.now().await - ago).to_string();
        self.run(&["HSET", &self.key("m"), "beat", &at]).await;
    }

    /// This consumer's last heartbeat was this long ago.
    async fn beaten(&mut self, consumer: &str, ago: i64) {
        let ends = (self.now().await - ago + LEASE).to_string();
        self.run(&["ZADD", &self.key("alive"), &ends, consumer])
            .await;
    }

    /// An entry in the hands of this consumer.
    async fn entry_of(&mut self, consumer: &str) {
        let stream = self.key("s:0");
        let group = ["XGROUP", "CREATE", &stream, "g", "0", "MKSTREAM"];
        self.run(&group).await;
        self.run(&["XADD", &stream, "*", "e", "x"]).await;
        let read = ["XREADGROUP", "GROUP", "g", consumer, "STREAMS", &stream];
        self.run(&[&read[..], &[">"]].concat()).await;
    }

    async fn beat(&mut self, consumer: &str) {
        let script = Script::new(include_str!("../../src/lua/beat.lua"));
        let mut call = script.key(self.key("alive"));
        call.key(self.key("m")).arg(consumer).arg(LEASE).arg("life");
        let _: Value = call.invoke_async(&mut self.connection).await.unwrap();
    }

    /// How many entries the consumer takes over.
    async fn reclaim(&mut self, consumer: &str) -> usize {
        let script = Script::new(include_str!("../../src/lua/reclaim.lua"));
        let mut call = script.key(self.key("s:0"));
        call.key(self.key("alive")).key(self.key("m"));
        call.arg(consumer).arg(100).arg(LEASE).arg(3).arg(1).arg(5);
        let taken: Vec<Value> = call.invoke_async(&mut self.connection).await.unwrap();
        taken.len()
    }

    async fn remove(mut self) {
        for name in ["s:0", "alive", "m"] {
            self.run(&["DEL", &self.key(name)]).await;
        }
    }
}

#[tokio::test]
async fn a_dead_workers_entries_are_taken_when_its_lease_ends() {
    let mut scripts = Scripts::new(&settings()).await;
    scripts.entry_of("dead").await;
    scripts.beaten("dead", LEASE - 1000).await;
    scripts.beaten("me", 1000).await;
    scripts.last_beat(1000).await;
    scripts.beat("me").await;
    assert_eq!(scripts.reclaim("me").await, 0, "its lease has not ended");
    scripts.beaten("dead", LEASE + 1).await;
    assert_eq!(scripts.reclaim("me").await, 1);
    scripts.remove().await;
}

#[tokio::test]
async fn an_outage_shorter_than_the_lease_makes_nobody_look_dead() {
    let mut scripts = Scripts::new(&settings()).await;
    // Redis stalled for 0.8 of a lease, a quarter after the peer's last beat.
    let stall = LEASE * 8 / 10;
    scripts.entry_of("peer").await;
    scripts.beaten("peer", stall + LEASE / 4).await;
    scripts.beaten("me", stall).await;
    scripts.last_beat(stall).await;
    assert_eq!(scripts.reclaim("me").await, 0, "before any beat");
    scripts.beat("me").await;
    assert_eq!(
        scripts.reclaim("me").await,
        0,
        "the peer has had no time yet"
    );
    // It does not come back: the grace ends.
    let grace: i64 = {
        let grace = ["HGET", &scripts.key("m"), "grace"];
        query(&mut scripts.connection, &grace).await
    };
    let left = grace - scripts.now().await;
    assert!(left <= LEASE / 2, "a restarted worker would wait {left} ms");
    scripts
        .run(&["HSET", &scripts.key("m"), "grace", "0"])
        .await;
    assert_eq!(scripts.reclaim("me").await, 1);
    scripts.remove().await;
}

#[tokio::test]
async fn a_consumer_that_never_fetched_is_forgotten() {
    let mut scripts = Scripts::new(&settings()).await;
    scripts.entry_of("me").await;
    scripts.beaten("never", LEASE + 1).await;
    scripts.beaten("me", 1000).await;
    scripts.last_beat(1000).await;
    assert_eq!(scripts.reclaim("me").await, 0);
    let alive = ["ZRANGE", &scripts.key("alive"), "0", "-1"];
    let alive: Vec<String> = query(&mut scripts.connection, &alive).await;
    assert_eq!(alive, ["me"]);
    scripts.remove().await;
}

//! The scripts around the lease, at chosen times: a server's clock cannot be set,
//! so the tests write what would be in Redis that long after.

use crate::{
    broker::{Broker, job, taken},
    harness::*,
};

/// In ms, as by default.
const LEASE: i64 = 6000;

/// How many entries the consumer takes over.
async fn reclaim(broker: &mut Broker, consumer: &str) -> usize {
    let call = broker.reclaim(consumer, 100, 1);
    taken(broker.run(&call).await.unwrap()).len()
}

async fn beat(broker: &mut Broker, consumer: &str) {
    let call = broker.beat(consumer, "life");
    broker.run(&call).await.unwrap();
}

/// Ends the consumers and what they hold.
async fn end(fixture: Fixture, mut broker: Broker) {
    for name in ["s:0", "s:1", "s:2", "alive", "m"] {
        let key = broker.key(name);
        let _: u64 = broker.ask(&["DEL", &key]).await;
    }
    fixture.end().await;
}

#[tokio::test]
async fn a_dead_workers_entries_are_taken_when_its_lease_ends() {
    let fixture = Fixture::new().await;
    let mut broker = Broker::new(&fixture, LEASE).await;
    broker.entry_of("dead", job()).await;
    broker.beaten("dead", LEASE - 1000).await;
    broker.beaten("me", 1000).await;
    broker.last_beat(1000).await;
    beat(&mut broker, "me").await;
    let early = reclaim(&mut broker, "me").await;
    assert_eq!(early, 0, "its lease has not ended");
    broker.expire("dead").await;
    assert_eq!(reclaim(&mut broker, "me").await, 1);
    end(fixture, broker).await;
}

#[tokio::test]
async fn an_outage_shorter_than_the_lease_makes_nobody_look_dead() {
    let fixture = Fixture::new().await;
    let mut broker = Broker::new(&fixture, LEASE).await;
    // Redis stalled for 0.8 of a lease, a quarter after the peer's last beat.
    let stall = LEASE * 8 / 10;
    broker.entry_of("peer", job()).await;
    broker.beaten("peer", stall + LEASE / 4).await;
    broker.beaten("me", stall).await;
    broker.last_beat(stall).await;
    assert_eq!(reclaim(&mut broker, "me").await, 0, "before any beat");
    beat(&mut broker, "me").await;
    let early = reclaim(&mut broker, "me").await;
    assert_eq!(early, 0, "the peer has had no time yet");
    // It does not come back: the grace ends.
    let meta = broker.key("m");
    let grace: i64 = broker.ask(&["HGET", &meta, "grace"]).await;
    let left = grace - broker.now().await;
    assert!(left <= LEASE / 2, "a restarted worker would wait {left} ms");
    broker.end_grace().await;
    assert_eq!(reclaim(&mut broker, "me").await, 1);
    end(fixture, broker).await;
}

#[tokio::test]
async fn a_clock_that_was_set_back_does_not_keep_the_dead_alive() {
    let fixture = Fixture::new().await;
    let mut broker = Broker::new(&fixture, LEASE).await;
    // The last beats of both were an hour from now.
    let hour = 3_600_000;
    broker.entry_of("dead", job()).await;
    for name in ["dead", "me"] {
        broker.beaten(name, -hour).await;
    }
    broker.last_beat(-hour).await;
    beat(&mut broker, "me").await;
    broker.end_grace().await;
    let early = reclaim(&mut broker, "me").await;
    assert_eq!(early, 0, "it has a lease to tell that it lives");
    let alive = broker.key("alive");
    let ends: i64 = broker.ask(&["ZSCORE", &alive, "dead"]).await;
    let left = ends - broker.now().await;
    assert!(left <= LEASE, "its jobs would hang for {left} ms");
    broker.expire("dead").await;
    assert_eq!(reclaim(&mut broker, "me").await, 1);
    end(fixture, broker).await;
}

#[tokio::test]
async fn a_consumer_that_never_fetched_is_forgotten() {
    let fixture = Fixture::new().await;
    let mut broker = Broker::new(&fixture, LEASE).await;
    broker.entry_of("me", job()).await;
    broker.expire("never").await;
    broker.beaten("me", 1000).await;
    broker.last_beat(1000).await;
    assert_eq!(reclaim(&mut broker, "me").await, 0);
    let alive = broker.key("alive");
    let alive: Vec<String> = broker.ask(&["ZRANGE", &alive, "0", "-1"]).await;
    assert_eq!(alive, ["me"]);
    end(fixture, broker).await;
}

#[tokio::test]
async fn many_suspects_do_not_hide_the_healthy_entries_behind_them() {
    let fixture = Fixture::new().await;
    let mut broker = Broker::new(&fixture, LEASE).await;
    let stream = broker.key("s:0");
    for _ in 0..250 {
        let (entry, _) = broker.entry_of("dead", job()).await;
        let claim = ["XCLAIM", &stream, "g", "dead", "0", &entry];
        let _: Vec<String> = broker
            .ask(&[&claim[..], &["RETRYCOUNT", "2", "JUSTID"]].concat())
            .await;
    }
    let (healthy, _) = broker.entry_of("dead", job()).await;
    broker.expire("dead").await;
    broker.beaten("me", 1000).await;
    broker.last_beat(1000).await;
    // A suspect runs already, so no other may be taken.
    let call = broker.reclaim("me", 1, 0);
    let rows = taken(broker.run(&call).await.unwrap());
    let entries: Vec<_> = rows.into_iter().map(|(entry, ..)| entry).collect();
    assert_eq!(entries, [healthy]);
    end(fixture, broker).await;
}

//! A set of servers with Sentinels, and a failover in the middle of the work.

use std::net::TcpListener;

use queue::{
    Sentinel, Servers,
    redis::{IntoConnectionInfo, RedisConnectionInfo},
};

use crate::{
    harness::*,
    server::{Sentinels, Server},
};

fn sentinel(sentinels: &Sentinels) -> Sentinel {
    Sentinel {
        nodes: sentinels.nodes(),
        set: "primary".to_owned(),
        login: RedisConnectionInfo::default(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_failover_the_work_goes_on_at_the_new_primary() {
    let mut first = Server::start(true);
    let _second = Server::replica_of(&first);
    let sentinels = Sentinels::watch(&first).await;
    // The settings' own address leads nowhere: only the Sentinels' counts.
    let fixture = Fixture::tuned(|settings| {
        settings.redis = "redis://127.0.0.1:1".into_connection_info().unwrap();
        settings.servers = Servers::Sentinel(sentinel(&sentinels));
    });
    let fixture = fixture.await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    let worker = fixture.start(2);
    let mut ids = queue
        .enqueue_many(&vec![task(Act::Sleep(20)); 40])
        .await
        .unwrap();
    // What is acknowledged is with the replica too: a failover loses what is not.
    let mut admin = first.connection().await;
    until("the replica has all", async || {
        query::<u8>(&mut admin, &["WAIT", "1", "100"]).await == 1
    })
    .await;
    until("some are done", async || log.done_count() >= 5).await;
    first.kill();
    until("jobs can be enqueued again", async || {
        let enqueued = queue.enqueue(&task(Act::Succeed)).await;
        ids.extend(enqueued.as_ref().ok());
        enqueued.is_ok()
    })
    .await;
    // What was done when the first died may have been acknowledged there alone, and runs again.
    until("all are done", async || {
        let done = log.done.lock().unwrap();
        ids.iter().all(|id| done.contains(id))
    })
    .await;
    until("nothing is left", async || {
        let counts = queue.counts("default").await;
        counts.is_ok_and(|counts| counts == queue::Counts::default())
    })
    .await;
    worker.stop().await;
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_sentinel_that_answers_is_enough() {
    let first = Server::start(false);
    let _second = Server::replica_of(&first);
    let sentinels = Sentinels::watch(&first).await;
    let mut settings = quick(queue::Settings::new(
        "redis://127.0.0.1:1".into_connection_info().unwrap(),
        queue::testing::namespace(),
    ));
    let mut sentinel = sentinel(&sentinels);
    // Nobody listens at the one, and the other never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    sentinel.nodes[0].1 = 1;
    sentinel.nodes[1].1 = silent.local_addr().unwrap().port();
    settings.servers = Servers::Sentinel(sentinel);
    let queue = queue::Queue::connect(settings.clone()).await.unwrap();
    queue.ping().await.unwrap();

    let mut sentinel = self::sentinel(&sentinels);
    sentinel.set = "nobody".to_owned();
    settings.servers = Servers::Sentinel(sentinel);
    let queue = queue::Queue::connect(settings).await.unwrap();
    let told = queue.ping().await.unwrap_err().to_string();
    assert!(told.contains("nobody"), "{told}");
}

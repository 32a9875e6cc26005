//! Redis goes away, and comes back with or without its data.

use std::{sync::atomic::Ordering, time::Duration};

use queue::{EnqueueError, Settings, redis::IntoConnectionInfo, testing};

use crate::{harness::*, server::Server};

#[tokio::test(flavor = "multi_thread")]
async fn redis_may_be_away_at_the_start() {
    let mut server = Server::start(true);
    let fixture = Fixture::at(&server.url()).await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    server.kill();
    let error = queue.enqueue(&task(Act::Succeed)).await.unwrap_err();
    assert!(matches!(error, EnqueueError::Unavailable(_)), "{error}");
    assert!(queue.ping().await.is_err());
    let worker = fixture.start(2);
    tokio::time::sleep(Duration::from_millis(200)).await;
    server.resume();
    queue.ping().await.unwrap();
    let id = queue.enqueue(&task(Act::Succeed)).await.unwrap();
    until_done(log, 1).await;
    assert_settled(queue, 0).await;
    log.assert_each_done_once(&[id]);
    worker.stop().await;
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_survive_restarts_under_load() {
    let mut server = Server::start(true);
    let fixture = Fixture::at(&server.url()).await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    let workers = [fixture.start(4), fixture.start(4)];
    let mut ids = Vec::new();
    for round in 0..3 {
        ids.extend(
            queue
                .enqueue_many(&vec![task(Act::Sleep(2)); 300])
                .await
                .unwrap(),
        );
        until_done(log, round * 300 + 50).await;
        server.kill();
        tokio::time::sleep(Duration::from_millis(150)).await;
        server.resume();
    }
    until("all are done", async || {
        let done = log.done.lock().unwrap();
        ids.iter().all(|id| done.contains(id))
    })
    .await;
    assert_settled(queue, 0).await;
    // Workers lived all the time: each outcome was sent until it was confirmed.
    log.assert_each_done_once(&ids);
    for worker in workers {
        worker.stop().await;
    }
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_connections_lose_and_double_nothing() {
    let server = Server::start(false);
    let fixture = Fixture::at(&server.url()).await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    let mut ids = queue
        .enqueue_many(&vec![task(Act::Sleep(1)); 3000])
        .await
        .unwrap();
    let failing = queue
        .enqueue_many(&vec![task(Act::FailTimes(1)); 300])
        .await
        .unwrap();
    ids.extend(&failing);
    let workers = [fixture.start(4), fixture.start(4)];
    let client = queue::redis::Client::open(server.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    // Answers are lost on the way: of fetches, of outcomes, of reclaims.
    while log.done_count() < ids.len() {
        let _: u64 = queue::redis::cmd("CLIENT")
            .arg(&["KILL", "TYPE", "normal", "SKIPME", "yes"])
            .query_async(&mut connection)
            .await
            .unwrap();
        tokio::time::sleep(Duration::from_millis(25)).await;
        if log.done_count() > ids.len() * 2 / 3 {
            break;
        }
    }
    until_done(log, ids.len()).await;
    assert_settled(queue, 0).await;
    log.assert_each_done_once(&ids);
    for id in failing {
        assert_eq!(log.starts_of(id), 2);
    }
    for worker in workers {
        worker.stop().await;
    }
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_outlives_an_outage_longer_than_the_lease() {
    let mut server = Server::start(true);
    let fixture = Fixture::at(&server.url()).await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    let workers = [fixture.start(1), fixture.start(1)];
    let hold = Patient { act: Act::Hold };
    let ids = [
        queue.enqueue(&hold).await.unwrap(),
        queue.enqueue(&hold).await.unwrap(),
    ];
    until("both run", async || log.running.load(Ordering::SeqCst) == 2).await;
    server.kill();
    tokio::time::sleep(LEASE * 2).await;
    server.resume();
    // Time enough for each to find its own lease gone, and the other's.
    tokio::time::sleep(LEASE).await;
    log.let_go.cancel();
    until_done(log, 2).await;
    assert_settled(queue, 0).await;
    log.assert_each_done_once(&ids);
    assert_eq!(log.starts.lock().unwrap().len(), 2, "no job ran twice");
    for worker in workers {
        worker.stop().await;
    }
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_polite_job_yields_when_the_lease_is_in_doubt() {
    let mut server = Server::start(true);
    let fixture = Fixture::at(&server.url()).await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    let worker = fixture.start(2);
    let id = queue.enqueue(&task(Act::AwaitCancel)).await.unwrap();
    until("it runs", async || log.starts_of(id) == 1).await;
    server.kill();
    until("its token is cancelled", async || {
        log.cancelled.load(Ordering::SeqCst) == 1
    })
    .await;
    server.resume();
    until("it runs again", async || log.starts_of(id) == 2).await;
    let starts = log.starts.lock().unwrap().clone();
    assert_eq!(starts, [(id, 1), (id, 1)], "the attempt is not counted");
    worker.abort.cancel();
    worker.ended().await;
    fixture.end_leaving(held(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_queue_heals_after_a_restart_without_data() {
    let mut server = Server::start(false);
    let fixture = Fixture::at(&server.url()).await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    let worker = fixture.start(2);
    queue.enqueue(&task(Act::Succeed)).await.unwrap();
    until_done(log, 1).await;
    let running = queue.enqueue(&task(Act::Sleep(600))).await.unwrap();
    until("it runs", async || log.starts_of(running) == 1).await;
    server.kill();
    server.resume();
    // What was running goes on, and new jobs are found although the group is gone.
    let id = queue.enqueue(&task(Act::Succeed)).await.unwrap();
    until("both are done", async || {
        let done = log.done.lock().unwrap();
        done.contains(&running) && done.contains(&id)
    })
    .await;
    assert_settled(queue, 0).await;
    assert_eq!(log.starts.lock().unwrap().len(), 3);
    worker.stop().await;
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_queue_heals_after_flushall() {
    let server = Server::start(false);
    let fixture = Fixture::at(&server.url()).await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    let workers = [fixture.start(2), fixture.start(2)];
    queue.enqueue(&task(Act::Succeed)).await.unwrap();
    until_done(log, 1).await;
    let client = queue::redis::Client::open(server.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let () = queue::redis::cmd("FLUSHALL")
        .query_async(&mut connection)
        .await
        .unwrap();
    let () = queue::redis::cmd("SCRIPT")
        .arg("FLUSH")
        .query_async(&mut connection)
        .await
        .unwrap();
    let ids = queue
        .enqueue_many(&vec![task(Act::FailTimes(1)); 20])
        .await
        .unwrap();
    until_done(log, 21).await;
    assert_settled(queue, 0).await;
    for id in ids {
        assert_eq!(log.starts_of(id), 2);
    }
    for worker in workers {
        worker.stop().await;
    }
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_worker_gives_its_jobs_up_when_redis_loses_its_data() {
    let server = Server::start(false);
    let fixture = Fixture::at(&server.url()).await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    let workers = [fixture.start(1), fixture.start(1)];
    let hold = Patient { act: Act::Hold };
    // One worker may have fetched both: until it has handed the second back, they wait.
    let ids = [
        queue.enqueue(&hold).await.unwrap(),
        queue.enqueue(&hold).await.unwrap(),
    ];
    until("both run", async || log.running.load(Ordering::SeqCst) == 2).await;
    // From here on they are nowhere but in their workers.
    let mut connection = fixture.connection().await;
    let () = query(&mut connection, &["FLUSHALL"]).await;
    tokio::time::sleep(LEASE * 2).await;
    log.let_go.cancel();
    until_done(log, 2).await;
    assert_settled(queue, 0).await;
    log.assert_each_done_once(&ids);
    for worker in workers {
        worker.stop().await;
    }
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn out_of_memory_is_a_typed_error_and_outcomes_still_land() {
    let server = Server::start(false);
    let fixture = Fixture::at(&server.url()).await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    let mut ids = queue
        .enqueue_many(&vec![task(Act::FailTimes(1)); 50])
        .await
        .unwrap();
    for key in ["a", "b"] {
        let job = task(Act::FailTimes(1));
        ids.push(queue.enqueue_unique(&job, key).await.unwrap().id());
    }
    let doomed = queue.enqueue_unique(&task(Act::Discard), "c").await;
    let doomed = doomed.unwrap().id();
    let client = queue::redis::Client::open(server.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut limit = async |bytes: &str| {
        let () = queue::redis::cmd("CONFIG")
            .arg(&["SET", "maxmemory", bytes])
            .query_async(&mut connection)
            .await
            .unwrap();
    };
    // The worker is there first: to make its consumer takes memory too.
    let worker = fixture.start(4);
    until("it works", async || log.done_count() > 0).await;
    limit("1").await;
    let errors = [
        queue.enqueue(&task(Act::Succeed)).await.unwrap_err(),
        queue.enqueue_many(&[task(Act::Succeed)]).await.unwrap_err(),
        queue
            .enqueue_in(&task(Act::Succeed), Duration::ZERO)
            .await
            .unwrap_err(),
        queue
            .enqueue_unique(&task(Act::Succeed), "d")
            .await
            .unwrap_err(),
    ];
    for error in errors {
        assert!(matches!(error, EnqueueError::OutOfMemory), "{error}");
    }
    until_done(log, ids.len()).await;
    assert_settled(queue, 1).await;
    log.assert_each_done_once(&ids);
    assert_eq!(queue.replay_all("default").await.unwrap(), 1);
    until("it runs again", async || log.starts_of(doomed) == 2).await;
    assert_settled(queue, 1).await;
    limit("0").await;
    worker.stop().await;
    fixture.end().await;
}

/// An owner without a lease looks dead to the others, who would run its job as well.
#[tokio::test(flavor = "multi_thread")]
async fn only_who_has_a_lease_fetches_also_after_a_loss() {
    let server = Server::start(false);
    let address = server.url().into_connection_info().unwrap();
    let mut settings = quick(Settings::new(address, testing::namespace()));
    // Two seconds between beats, and mostly none is due when the data are lost.
    settings.lease = Duration::from_secs(8);
    let fixture = Fixture::over(settings).await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    let worker = fixture.start(2);
    let mut connection = fixture.connection().await;
    let (stream, alive) = (fixture.key("s:0"), fixture.key("alive"));
    let mut ids = Vec::new();
    for round in 1..=3 {
        let id = queue.enqueue(&task(Act::Sleep(300))).await.unwrap();
        let (mut owner, mut lease): (Option<String>, Option<f64>) = (None, None);
        until("it is fetched", async || {
            let look = queue::redis::Script::new(
                "local seen = redis.pcall('XPENDING', KEYS[1], 'g', '-', '+', 1)
                 if seen.err or #seen == 0 then return {false, false} end
                 return {seen[1][2], redis.call('ZSCORE', KEYS[2], seen[1][2])}",
            );
            let mut look = look.key(&stream);
            let look = look.key(&alive);
            (owner, lease) = look.invoke_async(&mut connection).await.unwrap();
            owner.is_some()
        })
        .await;
        assert!(lease.is_some(), "{owner:?} has no lease, in round {round}");
        until_done(log, round).await;
        ids.push(id);
        log.assert_each_done_once(&ids);
        assert_settled(queue, 0).await;
        let _: () = queue::redis::cmd("FLUSHALL")
            .query_async(&mut connection)
            .await
            .unwrap();
    }
    worker.stop().await;
    fixture.end().await;
}

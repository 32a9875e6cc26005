//! The Redis user that the README gives.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use queue::{
    Awaited, Batch, Cancelled, Chain, Envelope, JobId, KeyLimit, Options, Queue, QueueSettings,
    Rate, Registry, Relayed, Run, Schedule, Settings, UniqueMode,
    inspect::{Deletion, State},
    limit::{Limit, Limiter},
    redis::{IntoConnectionInfo, Value},
    testing,
};

use crate::{harness::*, server::Server};

#[tokio::test(flavor = "multi_thread")]
async fn the_users_rights_are_enough_for_all_that_the_queue_does() {
    let server = Server::start(false);
    let admin = server.url().into_connection_info().unwrap();
    let fixture = Fixture::over(quick(Settings::new(admin, "slipway"))).await;
    let mut redis = fixture.connection().await;
    let readme = include_str!("../../README.md");
    let line = readme
        .lines()
        .find(|line| line.starts_with("user slipway "));
    let line = line.unwrap().replace(">PASSWORD", ">x");
    let mut words = vec!["ACL", "SETUSER"];
    words.extend(line.split(' ').skip(1));
    let () = query(&mut redis, &words).await;

    let url = server.url().replace("//", "//slipway:x@");
    let mut settings = fixture.settings().clone();
    settings.redis = url.into_connection_info().unwrap();
    let queue = Queue::connect(settings.clone()).await.unwrap();
    queue.enqueue(&task(Act::FailTimes(1))).await.unwrap();
    let ran = testing::run_until_empty(&queue, registry(), Arc::default()).await;
    ran.unwrap().assert_all_done();
    assert!(testing::enqueued::<Task>(&queue).await.is_empty());
    let log = &fixture.log;
    let later = Options {
        run: Run::In(Duration::from_millis(1)),
        unique: Some("b".to_owned()),
        ..Options::default()
    };
    queue.ping().await.unwrap();
    let limit = Limit {
        requests: 1,
        per: Duration::from_secs(60),
        burst: 1,
    };
    for allowed in [true, false] {
        let taken = Limiter::new(&queue).take(&[("a", limit)]).await.unwrap();
        assert_eq!(taken.allowed, allowed);
    }
    through_gates(&queue).await;
    queue
        .enqueue_many(&[
            task(Act::FailTimes(1)),
            task(Act::Discard),
            task(Act::Sleep(5000)),
        ])
        .await
        .unwrap();
    let retried = task(Act::FailTimes(1));
    queue.enqueue_unique(&retried, "a").await.unwrap();
    queue.enqueue_unique(&retried, "a").await.unwrap();
    queue.enqueue_with(&retried, &later).await.unwrap();
    queue.enqueue_at(&retried, SystemTime::now()).await.unwrap();
    let envelope = Envelope::new(&task(Act::Discard)).unwrap().once();
    let relayed = Relayed {
        envelope: envelope.encode(),
        id: envelope.id,
        queue: envelope.queue,
        run_at: Some(SystemTime::now()),
        again_after: Duration::ZERO,
    };
    queue.relay(&[relayed]).await.unwrap();
    let chain = Chain::of(&task(Act::Succeed)).unwrap();
    let chain = chain.then(&task(Act::Tell(7))).unwrap();
    let now = Options::default();
    let mut batch = Batch::followed_by(&task(Act::Succeed)).unwrap();
    batch.add(&task(Act::Succeed)).unwrap();
    let batch = queue.enqueue_batch(batch).await.unwrap();
    let newest = Options {
        unique: Some("e".to_owned()),
        mode: UniqueMode::KeepLast,
        ..Options::default()
    };
    for _ in 0..2 {
        queue
            .enqueue_with(&task(Act::Succeed), &newest)
            .await
            .unwrap();
    }
    let chained = queue.enqueue_chain(chain, &now).await.unwrap();
    queue
        .enqueue_unique(&Quick { act: Act::Succeed }, "a")
        .await
        .unwrap();

    let patience = Duration::from_millis(10);
    let nightly = Schedule::cron("nightly", "0 6 * * *");
    let registry = Registry::new()
        .register::<Task, _, _>(run_task)
        .schedule(nightly, |_| task(Act::Succeed));
    let stranger = start_with(&queue, registry, log, 4, patience);
    until("the schedule is known", async || {
        !queue.schedules("default").await.unwrap().is_empty()
    })
    .await;
    queue.run_schedule("default", "nightly").await.unwrap();
    until("all but two have ended", async || {
        let counts = queue.counts("default").await.unwrap();
        (log.done_count(), counts.dead, counts.parked) == (10, 2, 1)
    })
    .await;
    stranger.stop().await;
    queue
        .enqueue_unique(&Quick { act: Act::Succeed }, "a")
        .await
        .unwrap();
    assert_eq!(queue.parked("default", 9).await.unwrap().len(), 1);
    look(&queue).await;
    assert_eq!(queue.replay_all("default").await.unwrap(), 2);
    settings.tuning.dead_max_len = 1;
    let queue = Queue::connect(settings.clone()).await.unwrap();
    let mut bounded = settings.clone();
    bounded.limits.insert("default".to_owned(), 1000);
    let producer = Queue::connect(bounded).await.unwrap();
    producer.enqueue(&task(Act::Succeed)).await.unwrap();
    producer.enqueue_unique(&retried, "c").await.unwrap();
    let now = SystemTime::now();
    producer.enqueue_at(&task(Act::Succeed), now).await.unwrap();
    for later in [None, Some(Duration::from_secs(60))] {
        let done = task(Act::Succeed);
        let id = match later {
            Some(later) => queue.enqueue_in(&done, later).await.unwrap(),
            None => queue.enqueue_unique(&done, "d").await.unwrap().id(),
        };
        let cancelled = queue.cancel("default", id).await.unwrap();
        assert_eq!(cancelled, Cancelled::Removed);
    }
    settings.partitions.insert("spread".to_owned(), 2);
    let spread = Queue::connect(settings.clone()).await.unwrap();
    for _ in 0..4 {
        let mut envelope = Envelope::new(&task(Act::Succeed)).unwrap();
        "spread".clone_into(&mut envelope.queue);
        spread.enqueue_envelope(&envelope).await.unwrap();
    }
    assert!(spread.strays("spread").await.unwrap().is_empty());
    let page = spread.jobs("spread", State::Ready, None, 9).await.unwrap();
    assert_eq!(page.jobs.len(), 4);
    for job in page.jobs {
        let cancelled = spread.cancel("spread", job.id.unwrap()).await.unwrap();
        assert_eq!(cancelled, Cancelled::Removed);
    }
    let unknown = queue.cancel("default", JobId::new()).await.unwrap();
    assert_eq!(unknown, Cancelled::Gone);
    queue.pause("default").await.unwrap();
    assert!(queue.is_paused("default").await.unwrap());
    let worker = start(&queue, log, 4);
    queue.resume("default").await.unwrap();
    until_done(log, 14).await;
    worker.abort.cancel();
    worker.ended().await;
    let left: Awaited<u64> = queue
        .wait_result("default", chained[1], Duration::ZERO)
        .await
        .unwrap();
    assert_eq!(left, Awaited::Done(7));
    let _: Option<u64> = queue.progress("default", chained[1]).await.unwrap();
    let gone = queue.wait_result("default", JobId::new(), Duration::ZERO);
    assert_eq!(gone.await.unwrap(), Awaited::<u64>::Absent);
    let batch = queue.batch("default", batch).await.unwrap();
    assert!(batch.unwrap().is_over());
    let rates = queue.rates("default").await.unwrap();
    assert_eq!(rates.iter().map(|minute| minute.done).sum::<u64>(), 19);
    let refused: Vec<Value> = query(&mut redis, &["ACL", "LOG"]).await;
    assert!(refused.is_empty(), "{refused:#?}");
    fixture.end_leaving(held(1)).await;
}

/// Jobs that need slots, through a gate.
async fn through_gates(queue: &Queue) {
    let options = Options {
        slot: Some(KeyLimit::one("a")),
        ..Options::default()
    };
    for _ in 0..4 {
        let job = task(Act::FailTimes(1));
        queue.enqueue_with(&job, &options).await.unwrap();
    }
    let served = QueueSettings {
        most_at_once: Some(3),
        rate: Some(Rate::per_second(1000)),
        ..QueueSettings::from("default")
    };
    let log = Arc::default();
    let worker = start_serving(queue, &log, served, 4);
    until_done(&log, 4).await;
    assert_settled(queue, 0).await;
    // An empty queue is waited at.
    tokio::time::sleep(Duration::from_millis(100)).await;
    worker.stop().await;
}

/// All that `queue::inspect` does.
async fn look(queue: &Queue) {
    let hour = Duration::from_secs(3600);
    for _ in 0..2 {
        queue.enqueue_in(&task(Act::Succeed), hour).await.unwrap();
    }
    queue.overview("default").await.unwrap();
    queue.schedules("default").await.unwrap();
    for state in State::ALL {
        let page = queue.jobs("default", state, None, 1).await.unwrap();
        let after = page.next.as_ref();
        queue.jobs("default", state, after, 1).await.unwrap();
    }
    let page = queue
        .jobs("default", State::Delayed, None, 9)
        .await
        .unwrap();
    for job in page.jobs {
        let deleted = queue.delete("default", job.id.unwrap()).await.unwrap();
        assert_eq!(deleted, Deletion::Deleted);
    }
    queue.load("default").await.unwrap();
    queue.find("default", JobId::new()).await.unwrap();
}

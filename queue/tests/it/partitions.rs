//! Queues with several partitions: what is spread, and what holds for the queue as a whole.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
    time::{Duration, SystemTime},
};

use queue::{
    Cancelled, Counts, EnqueueError, Enqueued, JobId, Queue, QueueSettings, Registry, Relayed,
    Schedule, Settings, Worker, WorkerSettings,
    inspect::{Cursor, Deletion, State},
    testing,
};
use tokio_util::sync::CancellationToken;

use crate::harness::*;

const PARTITIONS: u16 = 4;
const HOUR: Duration = Duration::from_secs(3600);

fn names() -> [String; 4] {
    ["default", "default:1", "default:2", "default:3"].map(ToOwned::to_owned)
}

/// The first alone has another name, because its own means all of them.
fn alone(name: &str) -> &str {
    if name == "default" { "default:0" } else { name }
}

async fn fixture() -> Fixture {
    Fixture::tuned(|settings| {
        settings.partitions.insert("default".to_owned(), PARTITIONS);
    })
    .await
}

async fn with_partitions(fixture: &Fixture, partitions: u16) -> Queue {
    let mut settings: Settings = fixture.settings().clone();
    settings.partitions.insert("default".to_owned(), partitions);
    Queue::connect(settings).await.unwrap()
}

fn relayed() -> Relayed {
    let envelope = queue::Envelope::new(&task(Act::Succeed)).unwrap();
    Relayed {
        envelope: envelope.encode(),
        id: envelope.id,
        queue: envelope.queue,
        run_at: None,
        again_after: HOUR,
    }
}

fn spawnable<F: Future + Send>(future: F) -> F {
    future
}

/// Counts of each partition.
async fn counts(queue: &Queue) -> Vec<Counts> {
    let mut all = Vec::new();
    for name in names() {
        all.push(queue.counts(alone(&name)).await.unwrap());
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_of_all_ways_are_spread_and_run_once() {
    let fixture = fixture().await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    let mut ids: Vec<JobId> = Vec::new();
    for _ in 0..40 {
        ids.push(queue.enqueue(&task(Act::Succeed)).await.unwrap());
    }
    let ready: Vec<u64> = counts(queue).await.iter().map(|one| one.ready).collect();
    assert!(ready.iter().all(|jobs| *jobs > 0), "{ready:?}");
    let many = vec![task(Act::FailTimes(1)); 8];
    ids.extend(queue.enqueue_many(&many).await.unwrap());
    let after = counts(queue).await;
    let more: Vec<u64> = (after.iter().zip(&ready))
        .map(|(one, before)| one.ready - before)
        .collect();
    assert_eq!(more, [2; 4], "a call with many gives each its share");
    let rows: Vec<Relayed> = (0..20).map(|_| relayed()).collect();
    queue.relay(&rows).await.unwrap();
    queue.relay(&rows).await.unwrap();
    ids.extend(rows.iter().map(|row| row.id));
    for key in 0..12 {
        let key = key.to_string();
        let job = task(Act::Succeed);
        let id = queue.enqueue_unique(&job, key.as_str()).await.unwrap().id();
        let again = queue.enqueue_unique(&job, key.as_str()).await.unwrap();
        assert_eq!(again, Enqueued::Duplicate(id));
        ids.push(id);
        let soon = SystemTime::now() + Duration::from_millis(300);
        ids.push(queue.enqueue_at(&job, soon).await.unwrap());
    }
    let all = queue.counts("default").await.unwrap();
    assert_eq!((all.ready, all.delayed), (80, 12));
    let delayed: Vec<u64> = counts(queue).await.iter().map(|one| one.delayed).collect();
    assert_eq!(delayed.iter().sum::<u64>(), 12);
    assert!(delayed.iter().filter(|jobs| **jobs > 0).count() > 1);

    let shutdown = CancellationToken::new();
    let settings = WorkerSettings {
        queues: vec![QueueSettings::limited("default", 3)],
        ..WorkerSettings::default()
    };
    let worker = Worker::new(queue.clone(), registry(), Arc::clone(log), settings);
    let worker = tokio::spawn(worker.run(shutdown.clone(), CancellationToken::new()));
    until_done(log, ids.len()).await;
    log.assert_each_done_once(&ids);
    assert_settled(queue, 0).await;
    let most = log.most_at_once.load(std::sync::atomic::Ordering::SeqCst);
    assert!(most <= 3, "{most} at once: the limit is the queue's");
    let consumers = queue.consumers("default").await.unwrap();
    assert_eq!(consumers.len(), 4, "a name in each partition");
    let rates = queue.rates("default").await.unwrap();
    until("all are counted", async || {
        let rates = queue.rates("default").await.unwrap();
        rates.iter().map(|minute| minute.done).sum::<u64>() == ids.len() as u64
    })
    .await;
    assert_eq!(rates.len(), 61);
    shutdown.cancel();
    worker.await.unwrap().unwrap();
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_and_calls_by_id_go_through_all_partitions() {
    let fixture = fixture().await;
    let queue = &fixture.queue;
    let mut ids = HashSet::new();
    for _ in 0..30 {
        ids.insert(queue.enqueue_in(&task(Act::Succeed), HOUR).await.unwrap());
    }
    for limit in [1, 7, 30, 100] {
        let mut seen = HashSet::new();
        let mut places = BTreeSet::new();
        let mut after: Option<Cursor> = None;
        loop {
            let page = queue.jobs("default", State::Delayed, after.as_ref(), limit);
            // Services await it in tasks.
            let page = spawnable(page).await.unwrap();
            assert!(page.jobs.len() <= limit);
            for job in page.jobs {
                places.insert(job.queue);
                assert!(seen.insert(job.id.unwrap()), "twice");
            }
            match page.next {
                Some(next) => after = Some(next.to_string().parse().unwrap()),
                None => break,
            }
        }
        assert_eq!(seen, ids, "pages of {limit}");
        assert_eq!(places, names().into());
    }
    let mut ids = ids.into_iter();
    for id in ids.by_ref().take(15) {
        let found = queue.find("default", id).await.unwrap().found().unwrap();
        let there = queue.find(alone(&found.queue), id).await.unwrap();
        assert_eq!(there.found().map(|job| job.place), Some(found.place));
        let deleted = queue.delete("default", id).await.unwrap();
        assert_eq!(deleted, Deletion::Deleted);
        let again = queue.delete("default", id).await.unwrap();
        assert_eq!(again, Deletion::Gone);
    }
    for id in ids {
        let cancelled = queue.cancel("default", id).await.unwrap();
        assert_eq!(cancelled, Cancelled::Removed);
        let again = queue.cancel("default", id).await.unwrap();
        assert_eq!(again, Cancelled::Gone);
    }
    let counts = queue.counts("default").await.unwrap();
    assert_eq!((counts.delayed, counts.cancelled), (0, 15));
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_holds_all_partitions_and_load_sums_them() {
    let fixture = fixture().await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    queue.pause("default").await.unwrap();
    assert!(queue.is_paused("default").await.unwrap());
    queue.resume("default:2").await.unwrap();
    assert!(!queue.is_paused("default").await.unwrap());
    queue.pause("default:2").await.unwrap();
    let jobs = vec![task(Act::Succeed); 40];
    let ids = queue.enqueue_many(&jobs).await.unwrap();
    let worker = fixture.start(4);
    until("the worker is there", async || {
        queue.consumers("default").await.unwrap().len() == 4
    })
    .await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(log.done_count(), 0);
    assert_eq!(queue.load("default").await.unwrap().waiting, 40);
    let overview = queue.overview("default").await.unwrap();
    assert!(overview.paused && overview.oldest.is_some());
    queue.resume("default").await.unwrap();
    until_done(log, 40).await;
    log.assert_each_done_once(&ids);
    assert_settled(queue, 0).await;
    worker.stop().await;
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_of_all_partitions_are_told_and_replayed() {
    let fixture = fixture().await;
    let queue = &fixture.queue;
    let jobs = vec![task(Act::Discard); 12];
    queue.enqueue_many(&jobs).await.unwrap();
    let worker = fixture.start(4);
    let all_dead = async || queue.counts("default").await.unwrap().dead == 12;
    until("all are dead", all_dead).await;
    let letters = queue.dead_letters("default", 100).await.unwrap();
    assert!(letters.is_sorted_by(|one, next| one.id >= next.id));
    let places: BTreeSet<String> = letters.iter().map(|letter| letter.queue.clone()).collect();
    assert_eq!(places, names().into());
    let newest = queue.dead_letters("default", 5).await.unwrap();
    assert_eq!(newest, letters[..5]);
    for letter in &letters {
        let replayed = queue.replay(alone(&letter.queue), letter.id).await.unwrap();
        assert!(matches!(replayed, queue::Replay::Replayed(_)));
    }
    until("all are dead again", all_dead).await;
    assert_eq!(queue.replay_all("default").await.unwrap(), 12);
    until("all are dead again", all_dead).await;
    worker.stop().await;
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_partition_has_its_share_of_a_limit() {
    let fixture = Fixture::tuned(|settings| {
        settings.partitions.insert("default".to_owned(), PARTITIONS);
        settings.limits.insert("default".to_owned(), 10);
    })
    .await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    let mut ids = Vec::new();
    for _ in 0..200 {
        match queue.enqueue(&task(Act::Succeed)).await {
            Ok(id) => ids.push(id),
            Err(EnqueueError::QueueFull { limit: 10, .. }) => {}
            Err(other) => panic!("{other}"),
        }
    }
    // A quarter of ten, rounded up.
    let ready: Vec<u64> = counts(queue).await.iter().map(|one| one.ready).collect();
    assert_eq!(ready, [3; 4]);
    let many = vec![task(Act::Succeed); 9];
    let full = queue.enqueue_many(&many).await.unwrap_err();
    assert!(matches!(&full, EnqueueError::QueueFull { taken, .. } if taken.is_empty()));
    let full = queue.relay(&[relayed()]).await.unwrap_err();
    assert!(
        matches!(&full, EnqueueError::QueueFull { queue, limit: 10, .. } if queue == "default")
    );
    let worker = fixture.start(4);
    until_done(log, 12).await;
    assert_settled(queue, 0).await;
    ids.extend(queue.enqueue_many(&many).await.unwrap());
    until_done(log, 21).await;
    log.assert_each_done_once(&ids);
    assert_settled(queue, 0).await;
    worker.stop().await;
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_fires_in_one_partition() {
    let fixture = fixture().await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    let second = Schedule::every("second", Duration::from_secs(1));
    let registry = Registry::new()
        .register::<Task, _, _>(run_task)
        .schedule(second, |_| task(Act::Succeed));
    let worker = start_with(queue, registry, log, 4, Duration::from_secs(5));
    until_done(log, 2).await;
    let asked = queue.run_schedule("default", "second").await.unwrap();
    until("it has run", async || {
        log.done.lock().unwrap().contains(&asked)
    })
    .await;
    assert_eq!(queue.schedules("default").await.unwrap().len(), 1);
    worker.stop().await;
    let starts = log.starts.lock().unwrap().clone();
    let jobs: HashSet<JobId> = starts.iter().map(|(id, _)| *id).collect();
    assert_eq!(jobs.len(), starts.len(), "one job for each slot");
    // One slot may have been fired while the worker ended.
    let worker = fixture.start(1);
    assert_settled(queue, 0).await;
    worker.stop().await;
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_test_kit_sees_all_partitions() {
    let fixture = fixture().await;
    let queue = &fixture.queue;
    let mut ids = HashSet::new();
    for number in 0..20 {
        let act = Act::FailTimes(1);
        let job = Task { number, act };
        ids.insert(match number % 2 {
            0 => queue.enqueue(&job).await.unwrap(),
            _ => queue.enqueue_in(&job, HOUR).await.unwrap(),
        });
    }
    let waiting = testing::enqueued::<Task>(queue).await;
    assert_eq!(waiting.len(), 20);
    assert!(waiting.is_sorted_by_key(|job| job.run_at));
    testing::assert_enqueued::<Task>(queue, |task| task.number == 13).await;
    let ran = testing::run_until_empty(queue, registry(), Arc::default()).await;
    let ran = ran.unwrap();
    ran.assert_all_done();
    assert!(ids.iter().all(|id| ran.job(*id).is_some()));
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_partitions_are_safe_and_fewer_are_told() {
    let fixture = fixture().await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    let jobs = vec![task(Act::Succeed); 40];
    let mut ids = queue.enqueue_many(&jobs).await.unwrap();
    assert!(queue.strays("default").await.unwrap().is_empty());

    // Fewer: what is above is seen, and by nobody run.
    let fewer = with_partitions(&fixture, 2).await;
    let strays = fewer.strays("default").await.unwrap();
    let seen: Vec<_> = strays.iter().map(|one| one.partition.as_str()).collect();
    assert_eq!(seen, ["default:2", "default:3"]);
    assert!(
        strays
            .iter()
            .all(|one| one.counts.ready == 10 && !one.served)
    );
    let short = start(&fewer, log, 4);
    until_done(log, 20).await;
    assert_eq!(fewer.counts("default:3").await.unwrap().ready, 10);

    // More: workers first, then producers; the old ones go on meanwhile.
    let more = with_partitions(&fixture, 6).await;
    let worker = start(&more, log, 4);
    until_done(log, 40).await;
    until("they are served", async || {
        queue.consumers("default:3").await.unwrap().len() == 1
    })
    .await;
    for producer in [queue, &more] {
        ids.extend(producer.enqueue_many(&jobs).await.unwrap());
        for _ in 0..40 {
            ids.push(producer.enqueue(&task(Act::Succeed)).await.unwrap());
        }
    }
    until_done(log, ids.len()).await;
    log.assert_each_done_once(&ids);
    for queue in [queue, &fewer, &more] {
        assert_settled(queue, 0).await;
    }
    assert!(fewer.strays("default").await.unwrap().is_empty());
    short.stop().await;
    worker.stop().await;
    fixture.end().await;
}

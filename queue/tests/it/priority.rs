//! Jobs of several priorities in one queue.

use std::time::{Duration, SystemTime};

use queue::{
    Cancelled, Counts, EnqueueError, Envelope, JobId, Options, Priority, Run,
    inspect::{Deletion, State},
};

use crate::harness::*;

use Priority::{High, Low, Normal};

fn with(priority: Priority) -> Options {
    Options {
        priority: Some(priority),
        ..Options::default()
    }
}

/// Enqueues as many jobs of this priority; their ids.
async fn fill(fixture: &Fixture, priority: Priority, jobs: usize) -> Vec<JobId> {
    let mut ids = Vec::new();
    for _ in 0..jobs {
        let job = task(Act::Sleep(4));
        let enqueued = fixture.queue.enqueue_with(&job, &with(priority)).await;
        ids.push(enqueued.unwrap().id());
    }
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_starts_by_its_shares() {
    let fixture = Fixture::new().await;
    let low = fill(&fixture, Low, 40).await;
    let normal = fill(&fixture, Normal, 40).await;
    let high = fill(&fixture, High, 40).await;
    let worker = fixture.start(1);
    until_done(&fixture.log, 120).await;
    worker.stop().await;
    let starts = fixture.log.starts.lock().unwrap().clone();
    let first: Vec<_> = starts[..56].iter().map(|(id, _)| *id).collect();
    let count = |ids: &[JobId]| first.iter().filter(|id| ids.contains(id)).count();
    let [high, normal, low] = [count(&high), count(&normal), count(&low)];
    // Of 56 they would have 32, 16 and 8, if Redis answered in no time.
    assert!(
        high > 24 && (9..=20).contains(&normal),
        "{high}, {normal}, {low}"
    );
    assert!((4..=12).contains(&low), "{high}, {normal}, {low}");
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_high_priority_does_not_wait_for_a_backlog() {
    let fixture = Fixture::new().await;
    for _ in 0..200 {
        let job = task(Act::Sleep(10));
        fixture.queue.enqueue(&job).await.unwrap();
    }
    let worker = fixture.start(1);
    until("it is at work", async || fixture.log.done_count() >= 3).await;
    let high = fill(&fixture, High, 1).await[0];
    until("it has run", async || {
        fixture.log.done.lock().unwrap().contains(&high)
    })
    .await;
    let before = fixture.log.done_count();
    assert!(before < 100, "{before} of the backlog came first");
    until_done(&fixture.log, 201).await;
    worker.stop().await;
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_priority_stays_on_every_way() {
    let fixture = Fixture::new().await;
    let retried = task(Act::FailTimes(1));
    let retried = fixture.queue.enqueue_with(&retried, &with(High)).await;
    let delayed = Options {
        run: Run::In(Duration::from_millis(50)),
        ..with(Low)
    };
    let delayed = fixture
        .queue
        .enqueue_with(&task(Act::Succeed), &delayed)
        .await;
    let unique = Options {
        unique: Some("a".to_owned()),
        ..with(High)
    };
    let unique = fixture
        .queue
        .enqueue_with(&task(Act::Succeed), &unique)
        .await;
    let dead = fixture
        .queue
        .enqueue_with(&task(Act::Discard), &with(Low))
        .await;
    for enqueued in [&retried, &delayed, &unique, &dead] {
        assert!(enqueued.is_ok(), "{enqueued:?}");
    }
    let worker = fixture.start(2);
    until("three are done, one is dead", async || {
        let dead = fixture.queue.counts("default").await.unwrap().dead;
        fixture.log.done_count() == 3 && dead == 1
    })
    .await;
    worker.stop().await;
    fixture.queue.replay_all("default").await.unwrap();
    let page = fixture.queue.jobs("default", State::Ready, None, 10).await;
    let job = Envelope::decode(&page.unwrap().jobs[0].envelope).unwrap();
    assert_eq!(job.priority, Low, "a replayed letter");
    let stream = fixture.key("s:2");
    let length: u64 = query(&mut fixture.connection().await, &["XLEN", &stream]).await;
    assert_eq!(length, 1, "in its stream");
    let cancelled = fixture.queue.cancel("default", job.id).await.unwrap();
    assert_eq!(cancelled, Cancelled::Removed);
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_the_queue_is_told_by_priority() {
    let fixture = Fixture::new().await;
    let low = fill(&fixture, Low, 3).await;
    let normal = fill(&fixture, Normal, 3).await;
    let high = fill(&fixture, High, 3).await;
    let all: Vec<_> = [high, normal, low.clone()].concat();
    let mut told = Vec::new();
    let mut after = None;
    loop {
        let page = fixture
            .queue
            .jobs("default", State::Ready, after.as_ref(), 2);
        let page = page.await.unwrap();
        told.extend(page.jobs.into_iter().filter_map(|job| job.id));
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    assert_eq!(told, all);
    let found = fixture.queue.find("default", low[2]).await.unwrap();
    assert_eq!(found.found().and_then(|job| job.id), Some(low[2]));
    let overview = fixture.queue.overview("default").await.unwrap();
    assert_eq!(overview.counts.ready, 9);
    assert!(overview.oldest.is_some());
    let left = Counts {
        ready: 9,
        ..Counts::default()
    };
    fixture.end_leaving(left).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_counts_all_priorities() {
    let fixture = Fixture::tuned(|settings| {
        settings.limits.insert("default".to_owned(), 3);
    })
    .await;
    for priority in [High, Normal, Low] {
        fill(&fixture, priority, 1).await;
    }
    for run in [
        Run::Now,
        Run::At(SystemTime::now() + Duration::from_secs(60)),
    ] {
        let options = Options { run, ..with(High) };
        let job = task(Act::Succeed);
        let refused = fixture.queue.enqueue_with(&job, &options).await;
        assert!(
            matches!(refused, Err(EnqueueError::QueueFull { .. })),
            "{refused:?}"
        );
    }
    let left = Counts {
        ready: 3,
        ..Counts::default()
    };
    fixture.end_leaving(left).await;
}

/// A job in an entry with this id, in this stream.
async fn put(fixture: &Fixture, stream: &str, id: &str, job: &Envelope) {
    let mut cmd = queue::redis::cmd("XADD");
    cmd.arg(fixture.key(stream)).arg(id);
    cmd.arg("e").arg(job.encode());
    let mut connection = fixture.connection().await;
    let _: String = cmd.query_async(&mut connection).await.unwrap();
}

fn high() -> Envelope {
    Envelope {
        priority: High,
        ..Envelope::new(&task(Act::Succeed)).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_an_older_release_moved_is_found_in_its_stream() {
    // That release moves all delayed and parked jobs into its only stream.
    let fixture = Fixture::new().await;
    let queue = &fixture.queue;
    let (deleted, cancelled, other) = (high(), high(), high());
    put(&fixture, "s:0", "5-1", &deleted).await;
    put(&fixture, "s:0", "5-2", &cancelled).await;
    put(&fixture, "s:1", "5-1", &other).await;
    let answer = queue.delete("default", deleted.id).await.unwrap();
    assert_eq!(answer, Deletion::Deleted);
    let answer = queue.cancel("default", cancelled.id).await.unwrap();
    assert_eq!(answer, Cancelled::Removed);
    let worker = fixture.start(1);
    until_done(&fixture.log, 1).await;
    worker.stop().await;
    fixture.log.assert_each_done_once(&[other.id]);
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_parked_once_for_each_stream() {
    let fixture = Fixture::new().await;
    let jobs = [high(), high(), high()];
    for (stream, job) in ["s:0", "s:1", "s:2"].into_iter().zip(&jobs) {
        put(&fixture, stream, "5-1", job).await;
    }
    let old = queue::testing::release_before(fixture.settings().clone());
    let old = queue::Queue::connect(old).await.unwrap();
    let worker = start(&old, &fixture.log, 1);
    until("all are parked", async || {
        fixture.queue.counts("default").await.unwrap().parked == 3
    })
    .await;
    worker.stop().await;
    let worker = fixture.start(1);
    until_done(&fixture.log, 3).await;
    worker.stop().await;
    fixture.log.assert_each_done_once(&jobs.map(|job| job.id));
    fixture.end().await;
}

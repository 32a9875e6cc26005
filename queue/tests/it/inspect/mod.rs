//! What `queue::inspect` tells, while a queue is at work and at rest.

mod delete;
mod find;
mod rates;

use std::time::{Duration, SystemTime};

use queue::{
    Error, JobId, Queue, Registry, Unknown,
    inspect::{Cursor, Located, MAX_PAGE, Overview, Place, State},
};

use crate::harness::*;

/// All jobs in a state, by pages of so many.
const HOUR: Duration = Duration::from_secs(3600);

async fn all(queue: &Queue, state: State, limit: usize) -> Vec<Located> {
    let mut jobs = Vec::new();
    let mut after: Option<Cursor> = None;
    loop {
        let page = queue.jobs("default", state, after.as_ref(), limit).await;
        let page = page.unwrap();
        assert!(page.jobs.len() <= limit);
        jobs.extend(page.jobs);
        match page.next {
            // As it comes by a command line.
            Some(next) => after = Some(next.to_string().parse().unwrap()),
            None => return jobs,
        }
    }
}

fn ids(jobs: &[Located]) -> Vec<JobId> {
    jobs.iter().filter_map(|job| job.id).collect()
}

/// Leaves nothing in the queue.
pub(super) async fn empty(fixture: Fixture) {
    for state in State::ALL {
        for job in all(&fixture.queue, state, MAX_PAGE).await {
            let id = job.id.unwrap();
            fixture.queue.delete("default", id).await.unwrap();
        }
    }
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_nobody_has_used_is_empty() {
    let fixture = Fixture::new().await;
    let queue = &fixture.queue;
    assert_eq!(
        queue.overview("default").await.unwrap(),
        Overview::default()
    );
    for state in State::ALL {
        assert_eq!(all(queue, state, 10).await, []);
    }
    assert_eq!(queue.schedules("default").await.unwrap(), []);
    assert_eq!(
        queue
            .held_by("default", "nobody", None, 9)
            .await
            .unwrap()
            .jobs,
        []
    );
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_overview_tells_who_waits_and_who_works() {
    let fixture = Fixture::new().await;
    let queue = &fixture.queue;
    let running = queue.enqueue(&task(Act::Hang)).await.unwrap();
    let worker = fixture.start(1);
    until("it runs", async || fixture.log.starts_of(running) == 1).await;
    // More than the worker fetches ahead.
    let waiting = vec![task(Act::Succeed); 50];
    queue.enqueue_many(&waiting).await.unwrap();
    tokio::time::sleep(Duration::from_millis(40)).await;

    let seen = queue.overview("default").await.unwrap();
    assert_eq!(seen.counts.ready + seen.counts.in_hand, 51);
    assert!(
        seen.oldest.unwrap() >= Duration::from_millis(30),
        "{seen:?}"
    );
    let [consumer] = seen.consumers.as_slice() else {
        panic!("{seen:?}");
    };
    assert_eq!(consumer.in_hand, seen.counts.in_hand);
    assert!(consumer.lease.unwrap() <= LEASE);
    let held = queue
        .held_by("default", &consumer.name, None, 1)
        .await
        .unwrap();
    assert_eq!(ids(&held.jobs), [running]);
    let Place::InHand {
        consumer: Some(by),
        deliveries: 1,
        ..
    } = &held.jobs[0].place
    else {
        panic!("{held:?}");
    };
    assert_eq!(*by, consumer.name);

    // Handed back, they wait again, the first of them for the longest time.
    worker.abort.cancel();
    worker.ended().await;
    let seen = queue.overview("default").await.unwrap();
    assert_eq!(seen.consumers, []);
    assert!(
        seen.oldest.unwrap() >= Duration::from_millis(40),
        "{seen:?}"
    );
    let back = all(queue, State::InHand, 3).await;
    assert_eq!(back[0].id, Some(running));
    assert!(matches!(
        back[0].place,
        Place::InHand { consumer: None, .. }
    ));
    assert_eq!(back.len() + all(queue, State::Ready, 100).await.len(), 51);
    empty(fixture).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_was_killed_is_told_apart() {
    let fixture = Fixture::new().await;
    let queue = &fixture.queue;
    let mut redis = fixture.connection().await;
    let id = queue.enqueue(&task(Act::Succeed)).await.unwrap();
    let stream = fixture.key("s:0");
    let group = ["XGROUP", "CREATE", &stream, "g", "0"];
    let () = query(&mut redis, &group).await;
    let fetch = [
        "XREADGROUP",
        "GROUP",
        "g",
        "killed",
        "STREAMS",
        &stream,
        ">",
    ];
    let _: queue::redis::Value = query(&mut redis, &fetch).await;
    for ends in [None, Some("1")] {
        if let Some(ends) = ends {
            let alive = fixture.key("alive");
            let _: u64 = query(&mut redis, &["ZADD", &alive, ends, "killed"]).await;
        }
        let consumers = queue.consumers("default").await.unwrap();
        assert_eq!(consumers.len(), 1);
        assert_eq!((consumers[0].lease, consumers[0].in_hand), (None, 1));
    }
    // Only another worker would take it over, so one is needed.
    let load = queue.load("default").await.unwrap();
    assert_eq!((load.waiting, load.workers(HOUR, 16)), (1, 1));
    let worker = fixture.start(1);
    until_done(&fixture.log, 1).await;
    until_alone(&fixture).await;
    worker.stop().await;
    fixture.log.assert_each_done_once(&[id]);
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_ready_jobs_are_in_order_and_whole() {
    let fixture = Fixture::new().await;
    let queue = &fixture.queue;
    let many = vec![task(Act::Succeed); 250];
    let enqueued = queue.enqueue_many(&many).await.unwrap();
    assert_eq!(ids(&all(queue, State::Ready, 7).await), enqueued);
    let page = queue
        .jobs("default", State::Ready, None, 1000)
        .await
        .unwrap();
    assert_eq!(page.jobs.len(), MAX_PAGE);
    // What has been fetched between two pages is no part of the second.
    let worker = fixture.start(4);
    assert_settled(queue, 0).await;
    worker.stop().await;
    let rest = queue
        .jobs("default", State::Ready, page.next.as_ref(), 10)
        .await;
    assert_eq!(rest.unwrap().jobs, []);
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_delayed_jobs_go_on_where_one_is_gone() {
    let fixture = Fixture::new().await;
    let queue = &fixture.queue;
    let (soon, later) = (Duration::from_secs(600), Duration::from_secs(900));
    let at = SystemTime::now() + soon;
    let mut last = queue.enqueue_in(&task(Act::Succeed), later).await.unwrap();
    // All at one moment: their order is that of their ids.
    let mut enqueued = Vec::new();
    for _ in 0..20 {
        enqueued.push(queue.enqueue_at(&task(Act::Succeed), at).await.unwrap());
    }
    enqueued.sort_unstable();
    enqueued.push(last);
    let found = all(queue, State::Delayed, 4).await;
    assert_eq!(ids(&found), enqueued);
    let Place::Delayed { due_ms } = found[0].place else {
        panic!("{found:?}");
    };
    let at_ms = at
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_millis();
    assert_eq!(u128::from(due_ms), at_ms);

    let page = queue
        .jobs("default", State::Delayed, None, 5)
        .await
        .unwrap();
    last = page.jobs[4].id.unwrap();
    queue.delete("default", last).await.unwrap();
    let rest = queue
        .jobs("default", State::Delayed, page.next.as_ref(), 100)
        .await;
    let rest = ids(&rest.unwrap().jobs);
    // Nothing is passed over; those of the same moment may come again.
    assert!(enqueued[5..].iter().all(|id| rest.contains(id)));
    empty(fixture).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parked_jobs_and_dead_letters_come_with_their_reasons() {
    let fixture = Fixture::new().await;
    let queue = &fixture.queue;
    let registry = Registry::new().register::<Quick, _, _>(run_quick);
    let stranger = start_with(queue, registry, &fixture.log, 2, LEASE);
    let mut parked = queue
        .enqueue_many(&vec![task(Act::Succeed); 5])
        .await
        .unwrap();
    let mut dead = Vec::new();
    for number in 1..=5 {
        let act = Act::Discard;
        dead.insert(0, queue.enqueue(&Quick { act }).await.unwrap());
        until("it is dead", async || {
            queue.counts("default").await.unwrap().dead == number
        })
        .await;
    }
    until("all are parked", async || {
        queue.counts("default").await.unwrap().parked == 5
    })
    .await;
    stranger.stop().await;
    parked.sort_unstable();
    let found = all(queue, State::Parked, 2).await;
    assert_eq!(ids(&found), parked);
    let reason = Unknown::Kind {
        name: "task".to_owned(),
        version: 1,
    };
    assert_eq!(found[0].place, Place::Parked { reason });
    let found = all(queue, State::Dead, 2).await;
    assert_eq!(ids(&found), dead, "newest first");
    let Place::Dead {
        why,
        error,
        attempts: 1,
        ..
    } = &found[0].place
    else {
        panic!("{found:?}");
    };
    assert_eq!(
        (why.as_str(), error.as_str()),
        ("discarded", "told to discard")
    );
    empty(fixture).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_of_another_state_is_refused() {
    let fixture = Fixture::new().await;
    for (cursor, states) in [
        ("5-1", &[State::Delayed, State::Parked][..]),
        (
            "5/0192",
            &[State::Ready, State::InHand, State::Parked, State::Dead],
        ),
        (
            "task 1 0192",
            &[State::Ready, State::InHand, State::Delayed, State::Dead],
        ),
    ] {
        let cursor: Cursor = cursor.parse().unwrap();
        for state in states {
            let page = fixture
                .queue
                .jobs("default", *state, Some(&cursor), 5)
                .await;
            assert!(matches!(page, Err(Error::Cursor(_))), "{cursor}: {page:?}");
        }
    }
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn schedules_tell_their_rule_and_next_slot() {
    let fixture = Fixture::new().await;
    let schedule = queue::Schedule::cron("nightly", "0 6 * * *").zone("Europe/Berlin");
    let registry = registry().schedule(schedule, |_| task(Act::Succeed));
    let worker = start_with(&fixture.queue, registry, &fixture.log, 1, LEASE);
    let mut found = Vec::new();
    until("it is told", async || {
        found = fixture.queue.schedules("default").await.unwrap();
        !found.is_empty()
    })
    .await;
    worker.stop().await;
    assert_eq!(found[0].name, "nightly");
    assert_eq!(found[0].rule, "cron 0 6 * * * Europe/Berlin");
    assert!(found[0].next_ms > found[0].seen_ms);
    assert_eq!(found[0].next_ms % 3_600_000, 0);
    fixture.end().await;
}

//! Payloads that are compressed and encrypted on their way.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use queue::{
    Cancelled, Enqueued, Envelope, Job, JobContext, JobError, JobId, Keyring, MissingKey, Options,
    Packer, Queue, Registry, Relayed, Replay, Run, Schedule, Settings, Unknown, Worker,
    WorkerSettings,
    inspect::{Deletion, Place, Search, State},
    testing::{Outcome, assert_enqueued, perform_envelope, run_until_empty},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

mod refusals;

use crate::harness::*;

/// What must not be seen in Redis.
const SECRET: &str = "ada@example.org";

/// Version 2; version 1 had another name for its field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Letter {
    to: String,
    fails: u16,
}

impl Job for Letter {
    const NAME: &'static str = "letter";
    const VERSION: u16 = 2;
    const OLDEST_VERSION: u16 = 1;
    const MAX_ATTEMPTS: u16 = 2;

    fn backoff(_attempt: u16) -> Duration {
        Duration::from_millis(10)
    }

    fn upcast(
        _from: u16,
        mut payload: Value,
    ) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
        payload["to"] = payload["whom"].take();
        Ok(payload)
    }
}

type Sent = Arc<Mutex<Vec<(JobId, u16, String)>>>;

async fn send(job: Letter, cx: JobContext<Sent>) -> Result<(), JobError> {
    let mut sent = cx.app.lock().unwrap();
    sent.push((cx.id, cx.attempt, job.to));
    if cx.attempt <= job.fails {
        return Err(JobError::retry("told to fail"));
    }
    Ok(())
}

fn letter(fails: u16) -> Letter {
    Letter {
        to: SECRET.repeat(20),
        fails,
    }
}

fn registry() -> Registry<Sent> {
    Registry::new().register::<Letter, _, _>(send)
}

/// Keys of these ids, of which this one encrypts.
fn keys(current: Option<u32>, ids: &[u32]) -> Packer {
    let secrets: Vec<_> = ids.iter().map(|id| (*id, [*id as u8; 32])).collect();
    Packer {
        compress_above: Some(200),
        keys: Keyring::new(current, secrets.iter().map(|(id, secret)| (*id, secret))).unwrap(),
    }
}

/// The same queue for a process with other keys.
async fn with_keys(fixture: &Fixture, packing: Packer) -> Queue {
    let mut settings = fixture.settings().clone();
    settings.packing = packing;
    Queue::connect(settings).await.unwrap()
}

async fn encrypting() -> Fixture {
    Fixture::tuned(|settings| settings.packing = keys(Some(7), &[7])).await
}

struct Working {
    shutdown: CancellationToken,
    handle: tokio::task::JoinHandle<Result<(), queue::WorkerError>>,
}

impl Working {
    fn start(queue: &Queue, registry: Registry<Sent>, sent: &Sent) -> Self {
        let (shutdown, abort) = (CancellationToken::new(), CancellationToken::new());
        let settings = WorkerSettings::default();
        let worker = Worker::new(queue.clone(), registry, Arc::clone(sent), settings);
        Self {
            handle: tokio::spawn(worker.run(shutdown.clone(), abort)),
            shutdown,
        }
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.handle.await.unwrap().unwrap();
    }
}

/// Envelopes as they are in Redis, in this state.
async fn stored(queue: &Queue, state: State) -> Vec<Vec<u8>> {
    let page = queue.jobs("default", state, None, 100).await.unwrap();
    page.jobs.into_iter().map(|job| job.envelope).collect()
}

fn assert_sealed(envelopes: &[Vec<u8>], jobs: usize) {
    assert_eq!(envelopes.len(), jobs);
    for bytes in envelopes {
        let seen = bytes
            .windows(SECRET.len())
            .any(|window| window == SECRET.as_bytes());
        let packing = Envelope::decode(bytes).unwrap().packing.unwrap();
        assert!(!seen && packing.key == Some(7) && packing.compressed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_into_the_queue_packs_and_handlers_see_json() {
    every_way_packs(|_| {}).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn so_does_every_way_into_a_queue_with_a_limit_and_partitions() {
    every_way_packs(|settings| {
        settings.limits.insert("default".to_owned(), 1000);
        settings.partitions.insert("default".to_owned(), 2);
    })
    .await;
}

async fn every_way_packs(tune: impl FnOnce(&mut Settings)) {
    let encrypting = |settings: &mut Settings| {
        settings.packing = keys(Some(7), &[7]);
        tune(settings);
    };
    let fixture = Fixture::tuned(encrypting).await;
    let queue = &fixture.queue;
    let now = SystemTime::now();
    let hour = Duration::from_secs(3600);
    queue.enqueue(&letter(0)).await.unwrap();
    queue.enqueue_many(&[letter(0), letter(0)]).await.unwrap();
    queue.enqueue_unique(&letter(0), "a").await.unwrap();
    let mut older = Envelope::new(&letter(0)).unwrap();
    (older.version, older.payload) = (
        1,
        serde_json::to_vec(&serde_json::json!({ "whom": SECRET.repeat(20), "fails": 0 })).unwrap(),
    );
    queue.enqueue_envelope(&older).await.unwrap();
    let mut packed = Envelope::new(&letter(0)).unwrap();
    queue.packer().pack(&mut packed);
    queue.enqueue_envelope(&packed).await.unwrap();
    let relayed = Envelope::new(&letter(0)).unwrap();
    for run_at in [None, Some(now + hour)] {
        let mut job = relayed.clone();
        job.id = JobId::new();
        let job = Relayed {
            envelope: job.encode(),
            id: job.id,
            queue: job.queue,
            run_at,
            again_after: Duration::ZERO,
        };
        queue.relay(&[job]).await.unwrap();
    }
    assert_sealed(&stored(queue, State::Ready).await, 7);

    queue.enqueue_in(&letter(0), hour).await.unwrap();
    queue.enqueue_at(&letter(0), now + hour).await.unwrap();
    let later = Options {
        run: Run::In(hour),
        unique: Some("b".to_owned()),
        ..Options::default()
    };
    queue.enqueue_with(&letter(0), &later).await.unwrap();
    assert_sealed(&stored(queue, State::Delayed).await, 4);

    let waiting = assert_enqueued::<Letter>(queue, |job| job.to.contains(SECRET)).await;
    let outcome = perform_envelope(&registry(), Sent::default(), &waiting.envelope).await;
    assert_eq!(outcome, Outcome::Done);
    let outcome = perform_envelope(&registry(), Sent::default(), &packed).await;
    assert_eq!(outcome, Outcome::Parked, "it has no key");

    let sent = Sent::default();
    let report = run_until_empty(queue, registry(), Arc::clone(&sent)).await;
    report.unwrap().assert_all_done();
    let sent = sent.lock().unwrap().clone();
    assert_eq!(sent.len(), 11);
    assert!(sent.iter().all(|(_, _, to)| *to == SECRET.repeat(20)));
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slots_of_schedules_are_packed() {
    let fixture = encrypting().await;
    let queue = &fixture.queue;
    queue.pause("default").await.unwrap();
    let schedule = Schedule::every("post", Duration::from_secs(1));
    let scheduled = registry().schedule(schedule, |_| letter(0));
    let sent = Sent::default();
    let worker = Working::start(queue, scheduled, &sent);
    until("a slot has come", async || {
        queue.counts("default").await.unwrap().ready > 0
    })
    .await;
    let asked = queue.run_schedule("default", "post").await.unwrap();
    until("and the one that was asked for", async || {
        let ready = stored(queue, State::Ready).await;
        let mut ready = ready.iter().map(|bytes| Envelope::decode(bytes).unwrap());
        ready.any(|job| job.id == asked)
    })
    .await;
    worker.stop().await;
    let ready = stored(queue, State::Ready).await;
    assert_sealed(&ready, ready.len());
    queue.resume("default").await.unwrap();
    run_until_empty(queue, registry(), Arc::clone(&sent))
        .await
        .unwrap()
        .assert_all_done();
    let mut connection = fixture.connection().await;
    for key in ["cron", "cronspec"] {
        let _: u64 = query(&mut connection, &["DEL", &fixture.key(key)]).await;
    }
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_changed_without_a_stop() {
    let fixture = encrypting().await;
    let (old, sent) = (&fixture.queue, Sent::default());
    // A producer is ahead of this worker, which was to get the new key first.
    let ahead = with_keys(&fixture, keys(Some(8), &[7, 8])).await;
    let behind = Working::start(old, registry(), &sent);
    let mine = old.enqueue(&letter(0)).await.unwrap();
    let newer = ahead.enqueue(&letter(1)).await.unwrap();
    let unique = ahead.enqueue_unique(&letter(0), "a").await.unwrap().id();
    until(
        "what it cannot read is parked, the rest is done",
        async || {
            let counts = old.counts("default").await.unwrap();
            (counts.parked, counts.ready, counts.in_hand) == (2, 0, 0)
        },
    )
    .await;
    behind.stop().await;
    assert_eq!(sent.lock().unwrap().len(), 1);
    let parked = old.parked("default", 9).await.unwrap();
    let reason = Unknown::Key { id: 8 };
    assert!(parked.iter().all(|job| job.reason == reason), "{parked:?}");
    assert_eq!(reason.to_string(), "no key 8 for its payload");
    let Search::Found(found) = old.find("default", newer).await.unwrap() else {
        panic!("a parked job is found by its id");
    };
    assert_eq!(found.place, Place::Parked { reason });
    assert_eq!(
        ahead.enqueue_unique(&letter(0), "a").await.unwrap().id(),
        unique,
        "it holds its key while it is parked"
    );

    // With both keys, of which the new one encrypts; also the retry is of the old bytes.
    let report = run_until_empty(&ahead, registry(), Arc::clone(&sent)).await;
    report.unwrap().assert_all_done();
    let ids: Vec<_> = sent.lock().unwrap().iter().map(|one| one.0).collect();
    assert!([mine, newer, unique].iter().all(|id| ids.contains(id)));
    assert_eq!(ids.len(), 4, "one of them failed once");
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_key_can_be_cancelled_and_deleted() {
    let fixture = encrypting().await;
    let queue = &fixture.queue;
    let without = with_keys(&fixture, Packer::default()).await;
    let cancelled = queue.enqueue_unique(&letter(0), "a").await.unwrap().id();
    let deleted = queue.enqueue_unique(&letter(0), "b").await.unwrap().id();
    let worker = Working::start(&without, registry(), &Sent::default());
    until("both are parked", async || {
        queue.counts("default").await.unwrap().parked == 2
    })
    .await;
    worker.stop().await;
    let answer = without.cancel("default", cancelled).await.unwrap();
    assert_eq!(answer, Cancelled::Removed);
    let answer = without.delete("default", deleted).await.unwrap();
    assert_eq!(answer, Deletion::Deleted);
    assert_eq!(queue.counts("default").await.unwrap().parked, 0);
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn retries_letters_and_replays_keep_the_bytes() {
    let fixture = encrypting().await;
    let (queue, sent) = (&fixture.queue, Sent::default());
    let id = queue.enqueue(&letter(2)).await.unwrap();
    let first = Envelope::decode(&stored(queue, State::Ready).await[0]).unwrap();
    // Whoever moves letters needs no key.
    let without = with_keys(&fixture, Packer::default()).await;
    for round in 1..=2 {
        let worker = Working::start(queue, registry(), &sent);
        assert_settled(queue, 1).await;
        worker.stop().await;
        let letters = without.dead_letters("default", 1).await.unwrap();
        assert_eq!(letters[0].why, "attempts");
        let mut last = Envelope::decode(&letters[0].envelope).unwrap();
        assert_eq!(last.attempt, 2);
        last.attempt = 1;
        assert_eq!(last, first, "round {round}");
        let replay = without.replay("default", letters[0].id).await.unwrap();
        assert_eq!(replay, Replay::Replayed(id));
    }
    let attempts: Vec<_> = sent.lock().unwrap().iter().map(|one| one.1).collect();
    assert_eq!(attempts, [1, 2, 1, 2]);
    assert_eq!(
        queue.delete("default", id).await.unwrap(),
        Deletion::Deleted
    );
    fixture.end().await;
}

#[test]
fn a_current_key_must_be_there() {
    let refused = Keyring::new(Some(9), [(7, &[7; 32]), (8, &[8; 32])]).unwrap_err();
    assert_eq!(refused, MissingKey(9));
    let text = "key 9 is to encrypt, and is none of the keys";
    assert_eq!(refused.to_string(), text);
    Keyring::new(None, [(7, &[7; 32])]).unwrap();
}

//! Workers that end without a word.

use std::{
    process::{Child, Command, Stdio},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use queue::{Batch, Chain, Options, Priority, Queue, QueueSettings, Settings, UniqueMode};

use crate::harness::*;

const CHILD_NAMESPACE: &str = "QUEUE_TEST_CHILD_NAMESPACE";
/// Most jobs at once of all workers, if there is a limit.
const CHILD_AT_ONCE: &str = "QUEUE_TEST_CHILD_AT_ONCE";

/// The worker process that the tests kill: this test binary, run again.
///
/// Without the variable it is an empty test.
#[tokio::test(flavor = "multi_thread")]
async fn child_worker() {
    #[expect(clippy::disallowed_methods, reason = "set by the tests below")]
    let Ok(namespace) = std::env::var(CHILD_NAMESPACE) else {
        return;
    };
    let mut settings = quick(queue::testing::settings());
    settings.namespace = namespace;
    let queue = Queue::connect(settings).await.unwrap();
    #[expect(clippy::disallowed_methods, reason = "set by the tests below")]
    let at_once = std::env::var(CHILD_AT_ONCE).unwrap_or_default();
    let served = QueueSettings {
        most_at_once: at_once.parse().ok(),
        ..QueueSettings::from("default")
    };
    let worker = start_serving(&queue, &Arc::new(Log::default()), served, 4);
    worker.ended().await;
}

pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn start(settings: &Settings) -> Self {
        Self::start_gated(settings, None)
    }

    pub(crate) fn start_gated(settings: &Settings, at_once: Option<u64>) -> Self {
        let at_once = at_once.map_or_else(String::new, |most| most.to_string());
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crash::child_worker", "--nocapture"])
            .env(CHILD_NAMESPACE, &settings.namespace)
            .env(CHILD_AT_ONCE, at_once)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }

    pub(crate) fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn in_hand(queue: &Queue) -> u64 {
    queue.counts("default").await.unwrap().in_hand
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_workers_jobs_run_again_within_lease_and_scan() {
    let fixture = Fixture::new().await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    let mut process = Process::start(fixture.settings());
    // Longer than the child will live: whoever comes next finds them short.
    let mut ids = Vec::new();
    for priority in [None, Some(Priority::High), Some(Priority::Low), None] {
        let options = Options {
            priority,
            ..Options::default()
        };
        let job = task(Act::Sleep(1500));
        let enqueued = queue.enqueue_with(&job, &options).await;
        ids.push(enqueued.unwrap().id());
    }
    until("the child has them", async || in_hand(queue).await == 4).await;
    let worker = fixture.start(4);
    tokio::time::sleep(Duration::from_millis(300)).await;
    process.kill();
    let killed = Instant::now();
    until("they run here", async || {
        log.running.load(Ordering::SeqCst) == 4
    })
    .await;
    let took = killed.elapsed();
    // Half a lease of grace comes on top, because the queue is young.
    let limit = LEASE + LEASE / 2 + fixture.settings().tuning.scan + Duration::from_secs(1);
    assert!(took < limit, "took {took:?}");
    until_done(log, 4).await;
    assert_settled(queue, 0).await;
    log.assert_each_done_once(&ids);
    worker.stop().await;
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_goes_on_after_the_worker_of_a_link_was_killed() {
    let fixture = Fixture::new().await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    let mut process = Process::start(fixture.settings());
    let first = task(Act::Sleep(1500));
    let chain = Chain::of(&first).unwrap().then(&task(Act::Succeed));
    let now = Options::default();
    let ids = queue.enqueue_chain(chain.unwrap(), &now).await.unwrap();
    until("the child has it", async || in_hand(queue).await == 1).await;
    process.kill();
    let worker = fixture.start(4);
    until_done(log, 2).await;
    assert_settled(queue, 0).await;
    log.assert_each_done_once(&ids);
    worker.stop().await;
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_followed_once_though_the_worker_of_its_members_was_killed() {
    let fixture = Fixture::new().await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    let mut process = Process::start(fixture.settings());
    let mut batch = Batch::followed_by(&task(Act::Succeed)).unwrap();
    let mut ids = Vec::new();
    for ms in [1500, 1600] {
        ids.push(batch.add(&task(Act::Sleep(ms))).unwrap());
    }
    ids.push(batch.follower());
    let batch = queue.enqueue_batch(batch).await.unwrap();
    until("the child has them", async || in_hand(queue).await == 2).await;
    process.kill();
    let worker = fixture.start(4);
    until_done(log, 3).await;
    assert_settled(queue, 0).await;
    log.assert_each_done_once(&ids);
    let state = queue.batch("default", batch).await.unwrap();
    assert_eq!(state.map(|state| (state.done, state.left())), Some((2, 0)));
    worker.stop().await;
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_kept_for_a_job_runs_though_the_worker_of_that_was_killed() {
    let fixture = Fixture::new().await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    let mut process = Process::start(fixture.settings());
    let newest = Options {
        unique: Some("a".to_owned()),
        mode: UniqueMode::KeepLast,
        ..Options::default()
    };
    let holder = task(Act::Sleep(1500));
    let holder = queue.enqueue_with(&holder, &newest).await.unwrap().id();
    until("the child has it", async || in_hand(queue).await == 1).await;
    let kept = task(Act::Succeed);
    let kept = queue.enqueue_with(&kept, &newest).await.unwrap().id();
    process.kill();
    let worker = fixture.start(4);
    until_done(log, 2).await;
    assert_settled(queue, 0).await;
    assert_eq!(*log.done.lock().unwrap(), [holder, kept]);
    worker.stop().await;
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_runtime_loses_nothing() {
    let fixture = Fixture::new().await;
    let queue = &fixture.queue;
    let ids = queue.enqueue_many(&vec![task(Act::Hang); 3]).await.unwrap();
    let doomed = fixture.settings().clone();
    let gone = Arc::new(Log::default());
    let theirs = Arc::clone(&gone);
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let queue = Queue::connect(doomed).await.unwrap();
            let worker = start(&queue, &theirs, 3);
            until("all hang", async || {
                theirs.running.load(Ordering::SeqCst) == 3
            })
            .await;
            std::mem::forget(worker);
        });
        runtime.shutdown_timeout(Duration::from_millis(10));
    });
    thread.join().unwrap();
    let log = &fixture.log;
    let worker = fixture.start(3);
    // They hang again; the point is that they start, and are handed back at the end.
    until("they run again", async || {
        log.running.load(Ordering::SeqCst) == 3
    })
    .await;
    for id in &ids {
        assert_eq!(log.starts_of(*id), 1);
    }
    until_alone(&fixture).await;
    worker.abort.cancel();
    worker.ended().await;
    fixture.end_leaving(held(3)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_kills_its_worker_is_set_aside_and_its_neighbours_finish() {
    let fixture = Fixture::new().await;
    let queue = &fixture.queue;
    let poison = queue.enqueue(&task(Act::Abort)).await.unwrap();
    let neighbours = queue
        .enqueue_many(&vec![task(Act::Sleep(50)); 10])
        .await
        .unwrap();
    let mut processes = vec![
        Process::start(fixture.settings()),
        Process::start(fixture.settings()),
    ];
    let mut starts = 0;
    until("the poison is dead and the rest is done", async || {
        for process in &mut processes {
            if process.0.try_wait().unwrap().is_some() {
                starts += 1;
                *process = Process::start(fixture.settings());
            }
        }
        let counts = queue.counts("default").await.unwrap();
        (counts.dead, counts.ready + counts.in_hand + counts.delayed) == (1, 0)
    })
    .await;
    let letters = queue.dead_letters("default", 10).await.unwrap();
    assert_eq!(letters[0].why, "crash");
    assert_eq!(letters[0].attempts, fixture.settings().tuning.poison_after);
    assert_eq!(
        starts,
        fixture.settings().tuning.poison_after,
        "as many workers died as it started"
    );
    let envelope = queue::Envelope::decode(&letters[0].envelope).unwrap();
    assert_eq!(envelope.id, poison);
    assert!(!neighbours.contains(&envelope.id));
    for mut process in processes {
        process.kill();
    }
    let worker = fixture.start(1);
    until_alone(&fixture).await;
    worker.stop().await;
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_whose_delivery_was_lost_are_taken_up() {
    let fixture = Fixture::new().await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    let worker = fixture.start(2);
    let first = queue.enqueue(&task(Act::Succeed)).await.unwrap();
    until_done(log, 1).await;
    // What a lost answer leaves behind: entries that the worker owns and does not
    // know of. They are fetched here under its name.
    let mut connection = fixture.connection().await;
    let alive = fixture.key("alive");
    let consumers: Vec<String> = query(&mut connection, &["ZRANGE", &alive, "0", "-1"]).await;
    assert_eq!(consumers.len(), 1);
    let mut ids = vec![first];
    let mut pipeline = queue::redis::pipe();
    pipeline.atomic();
    for _ in 0..3 {
        let envelope = queue::Envelope::new(&task(Act::Succeed)).unwrap();
        ids.push(envelope.id);
        pipeline
            .cmd("XADD")
            .arg(fixture.key("s:0"))
            .arg("*")
            .arg("e")
            .arg(envelope.encode())
            .ignore();
    }
    pipeline.cmd("XREADGROUP").arg(&[
        "GROUP",
        "g",
        &consumers[0],
        "STREAMS",
        &fixture.key("s:0"),
        ">",
    ]);
    let _: queue::redis::Value = pipeline.query_async(&mut connection).await.unwrap();
    until_done(log, 4).await;
    assert_settled(queue, 0).await;
    log.assert_each_done_once(&ids);
    worker.stop().await;
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_taken_for_dead_takes_a_new_name() {
    let fixture = Fixture::new().await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    let worker = fixture.start(2);
    let id = queue.enqueue(&task(Act::Hang)).await.unwrap();
    until("it hangs", async || log.starts_of(id) == 1).await;
    // What reclaim does first, when a worker was frozen for longer than its lease.
    let mut connection = fixture.connection().await;
    let alive = fixture.key("alive");
    let range = ["ZRANGE", &alive, "0", "-1"];
    let old: Vec<String> = query(&mut connection, &range).await;
    let () = query(&mut connection, &["DEL", &alive]).await;
    until("the job was given up and starts anew", async || {
        log.starts_of(id) == 2 && log.running.load(Ordering::SeqCst) == 1
    })
    .await;
    let new: Vec<String> = query(&mut connection, &range).await;
    assert_eq!(new.len(), 1);
    assert_ne!(old, new);
    until_alone(&fixture).await;
    worker.abort.cancel();
    worker.ended().await;
    fixture.end_leaving(held(1)).await;
}

//! Attempts that end, and what becomes of the key.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_waits_for_its_next_attempt_holds_its_key() {
    let mut bench = Bench::new().await;
    let id = bench.new_job(Act::FailTimes(1), "a").await;
    // As if the lock had expired, or Redis had lost it: the retry takes it again.
    let lock = bench.locks().await.remove(0);
    let _: u64 = query(&mut bench.redis, &["DEL", &lock]).await;
    let worker = start_slow_retries(&bench);
    until("it waits", async || {
        bench.queue.counts("default").await.unwrap().delayed == 1
    })
    .await;
    worker.stop().await;
    let ttl = bench.lock_ttl().await;
    assert!(ttl > ms(DAY), "the wait of the retry comes on top: {ttl}");
    assert_eq!(
        bench.unique(Act::Succeed, "a").await,
        Enqueued::Duplicate(id)
    );
    let delayed = bench.key("delayed");
    let _: u64 = query(&mut bench.redis, &["ZADD", &delayed, "1", &id.to_string()]).await;
    let worker = start(&bench.queue, &bench.log, 1);
    until_done(&bench.log, 1).await;
    worker.stop().await;
    bench.end(0).await;
}

/// The task whose second attempt comes an hour later.
#[derive(serde::Serialize, serde::Deserialize)]
struct Slow(Task);

impl Job for Slow {
    const NAME: &'static str = Task::NAME;

    fn backoff(_attempt: u16) -> Duration {
        Duration::from_secs(3600)
    }
}

fn start_slow_retries(bench: &Bench) -> Running {
    let registry = Registry::new()
        .register::<Slow, _, _>(async |_, _| Err(queue::JobError::retry("told to fail")));
    let patience = Duration::from_secs(5);
    start_with(&bench.queue, registry, &bench.log, 1, patience)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_job_frees_its_key() {
    let mut bench = Bench::new().await;
    let worker = start(&bench.queue, &bench.log, 2);
    let mut dead = 0;
    for act in [Act::Discard, Act::FailTimes(99)] {
        bench.new_job(act, "a").await;
        dead += 1;
        assert_settled(&bench.queue, dead).await;
        assert_eq!(bench.locks().await, Vec::<String>::new());
    }
    worker.stop().await;
    bench.end(dead).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_killed_its_workers_frees_its_key() {
    let bench = Bench::new().await;
    let mut redis = bench.redis.clone();
    bench.new_job(Act::Succeed, "a").await;
    // As if it had been fetched by one worker after the other, and all had vanished.
    let stream = bench.key("s:0");
    let () = query(&mut redis, &["XGROUP", "CREATE", &stream, "g", "0"]).await;
    let read = ["XREADGROUP", "GROUP", "g", "~", "STREAMS", &stream, ">"];
    let _: queue::redis::Value = query(&mut redis, &read).await;
    let entries: queue::redis::streams::StreamRangeReply =
        query(&mut redis, &["XRANGE", &stream, "-", "+"]).await;
    let id = &entries.ids[0].id;
    let claim = [
        "XCLAIM",
        &stream,
        "g",
        "~",
        "0",
        id,
        "RETRYCOUNT",
        "5",
        "JUSTID",
    ];
    let _: queue::redis::Value = query(&mut redis, &claim).await;
    let worker = start(&bench.queue, &bench.log, 2);
    assert_settled(&bench.queue, 1).await;
    let letters = bench.queue.dead_letters("default", 1).await.unwrap();
    assert_eq!(letters[0].why, "crash");
    worker.stop().await;
    bench.end(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_success_leaves_the_key_to_the_attempt_that_waits() {
    let mut bench = Bench::new().await;
    let id = bench.new_job(Act::FailTimes(1), "a").await;
    let stream = bench.key("s:0");
    let entries: queue::redis::streams::StreamRangeReply =
        query(&mut bench.redis, &["XRANGE", &stream, "-", "+"]).await;
    let worker = start_slow_retries(&bench);
    until("it waits", async || {
        bench.queue.counts("default").await.unwrap().delayed == 1
    })
    .await;
    worker.stop().await;
    // A worker that was thought dead has done the first attempt after all.
    let finish = Script::new(include_str!("../../../src/lua/finish.lua"));
    let lock = bench.locks().await.remove(0);
    let gone: u64 = finish
        .key(&stream)
        .key(&lock)
        .arg(&entries.ids[0].id)
        .arg(id.to_string())
        .invoke_async(&mut bench.redis)
        .await
        .unwrap();
    assert_eq!(gone, 0);
    assert_eq!(
        bench.unique(Act::Succeed, "a").await,
        Enqueued::Duplicate(id)
    );
    let delayed = bench.key("delayed");
    let _: u64 = query(&mut bench.redis, &["ZADD", &delayed, "1", &id.to_string()]).await;
    let worker = start(&bench.queue, &bench.log, 1);
    until_done(&bench.log, 1).await;
    worker.stop().await;
    bench.end(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_leaves_the_key_alone_that_another_one_holds() {
    let mut bench = Bench::new().await;
    let id = bench.new_job(Act::Sleep(100), "a").await;
    let lock = bench.locks().await.remove(0);
    // Its lock has expired, and another job has taken the key.
    let other = JobId::new().to_string();
    let () = query(&mut bench.redis, &["SET", &lock, &other]).await;
    let worker = start(&bench.queue, &bench.log, 1);
    until_done(&bench.log, 1).await;
    let fails = Envelope {
        payload: serde_json::to_vec(&task(Act::FailTimes(99))).unwrap(),
        ..envelope_of(&lock)
    };
    assert_settled(&bench.queue, 0).await;
    let holder: String = query(&mut bench.redis, &["GETDEL", &lock]).await;
    assert_eq!(holder, other, "done has not freed it");
    bench.queue.enqueue_envelope(&fails).await.unwrap();
    let () = query(&mut bench.redis, &["SET", &lock, &other]).await;
    assert_settled(&bench.queue, 1).await;
    worker.stop().await;
    let holder: String = query(&mut bench.redis, &["GETDEL", &lock]).await;
    assert_eq!(
        holder, other,
        "neither retry nor dead have taken or freed it"
    );
    bench.log.assert_each_done_once(&[id]);
    bench.end(1).await;
}

/// An envelope of a unique job whose lock has this name.
fn envelope_of(lock: &str) -> Envelope {
    let hash = u128::from_str_radix(lock.rsplit(':').next().unwrap(), 16).unwrap();
    Envelope {
        unique: Some(hash.to_be_bytes()),
        ..Envelope::new(&task(Act::Succeed)).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_jobs_end_together_and_a_strange_lock_is_in_nobodys_way() {
    let mut bench = Bench::new().await;
    bench.new_job(Act::Succeed, "strange").await;
    let lock = bench.locks().await.remove(0);
    let _: u64 = query(&mut bench.redis, &["DEL", &lock]).await;
    let _: u64 = query(&mut bench.redis, &["LPUSH", &lock, "no text"]).await;
    for key in 0..300 {
        bench.new_job(Act::Succeed, &key.to_string()).await;
    }
    let worker = start(&bench.queue, &bench.log, 16);
    until_done(&bench.log, 301).await;
    assert_settled(&bench.queue, 0).await;
    worker.stop().await;
    assert_eq!(bench.locks().await, std::slice::from_ref(&lock));
    let _: u64 = query(&mut bench.redis, &["DEL", &lock]).await;
    bench.end(0).await;
}

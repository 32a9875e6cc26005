//! Schedules while Redis fails.

use std::{collections::HashSet, time::Duration};

use queue::{CatchUp, Counts, JobId, Schedule};

use super::Tower;
use crate::{harness::*, server::Server};

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_lost_its_data_is_told_again() {
    let mut server = Server::start(false);
    let mut tower = Tower::new(Fixture::at(&server.url()).await).await;
    let second = || Schedule::every("chime", Duration::from_secs(1));
    let workers = [(); 2].map(|()| tower.worker([second()]));
    tower.until_started(2).await;
    server.kill();
    let before = tower.slots().len();
    server.resume();
    tower.until_started(before + 2).await;
    for worker in workers {
        worker.stop().await;
    }
    let mut slots = tower.slots();
    let all = slots.len();
    slots.dedup();
    assert_eq!(slots.len(), all, "no slot fired twice");
    tower.connection = tower.fixture.connection().await;
    tower.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slots_that_come_while_redis_is_away_are_caught_up_with() {
    let mut server = Server::start(true);
    let mut tower = Tower::new(Fixture::at(&server.url()).await).await;
    let policy = CatchUp::All { at_most: 100 };
    let second = || Schedule::every("chime", Duration::from_secs(1)).catch_up(policy);
    let workers = [(); 2].map(|()| tower.worker([second()]));
    tower.until_started(2).await;
    server.kill();
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let before = tower.slots().len();
    server.resume();
    tower.until_started(before + 4).await;
    for worker in workers {
        worker.stop().await;
    }
    tower.assert_no_gap_and_no_double();
    tower.connection = tower.fixture.connection().await;
    tower.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_replies_lose_and_double_no_slot() {
    let server = Server::start(false);
    let tower = Tower::new(Fixture::at(&server.url()).await).await;
    let policy = CatchUp::All { at_most: 100 };
    let second = || Schedule::every("chime", Duration::from_secs(1)).catch_up(policy);
    let workers = [(); 2].map(|()| tower.worker([second()]));
    let mut killer = tower.fixture.connection().await;
    while tower.slots().len() < 4 {
        let kill = ["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"];
        let _: u64 = query(&mut killer, &kill).await;
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
    let then = tower.slots().len();
    tower.until_started(then + 1).await;
    for worker in workers {
        worker.stop().await;
    }
    let mut slots = tower.slots();
    slots.sort_unstable();
    // A job whose outcome was lost may have run again; its slot is one job.
    slots.dedup();
    let span = (slots[slots.len() - 1] - slots[0]) / 1000 + 1;
    assert_eq!(u64::try_from(slots.len()).unwrap(), span, "{slots:?}");
    let started = tower.started.lock().unwrap().clone();
    let ids: HashSet<JobId> = started.iter().map(|(id, _, _)| *id).collect();
    assert_eq!(ids.len(), slots.len(), "one id for each slot");
    tower.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_memory_slots_wait_and_delayed_jobs_do_not() {
    let server = Server::start(false);
    let mut tower = Tower::new(Fixture::at(&server.url()).await).await;
    let policy = CatchUp::All { at_most: 100 };
    let second = Schedule::every("chime", Duration::from_secs(1)).catch_up(policy);
    let worker = tower.worker([second]);
    tower.until_started(1).await;
    let delay = Duration::from_secs(3);
    tower
        .queue
        .enqueue_in(&task(Act::Succeed), delay)
        .await
        .unwrap();
    let full = ["CONFIG", "SET", "maxmemory", "1"];
    let () = query(&mut tower.connection, &full).await;
    let before = tower.slots().len();
    until("the delayed job is moved and done", async || {
        let counts = tower.queue.counts("default").await.unwrap();
        counts.delayed + counts.ready + counts.in_hand == 0
    })
    .await;
    // One may have been on its way.
    assert!(tower.slots().len() <= before + 1, "nothing is fired");
    let () = query(&mut tower.connection, &["CONFIG", "SET", "maxmemory", "0"]).await;
    tower.until_started(before + 2).await;
    worker.stop().await;
    tower.assert_no_gap_and_no_double();
    tower.end().await;
}

/// What a caller does whose answer was lost, and one that was late.
#[tokio::test]
async fn a_repeated_fire_changes_nothing() {
    let mut tower = Tower::new(Fixture::new().await).await;
    tower.set_next("chime", 5000).await;
    let rules = tower.key("cronspec");
    let stored = "7 7 every 5000 ms";
    let _: u64 = query(&mut tower.connection, &["HSET", &rules, "chime", stored]).await;
    let mut scripts = queue::testing::scripts();
    let (_, script) = scripts.find(|(name, _)| *name == "cron.lua").unwrap();
    let (stream, cron) = (tower.key("s:0"), tower.key("cron"));
    let mut fire = async |rule: &str, due: &str, next: &str| -> u64 {
        let call = [
            "EVAL", script, "5", &stream, &stream, &stream, &cron, &rules,
        ];
        let call = [&call[..], &["chime", rule, due, next, due, "envelope"]].concat();
        query(&mut tower.connection, &call).await
    };
    let rule = "every 5000 ms";
    assert_eq!(
        fire("every 6000 ms", "5000", "10000").await,
        0,
        "not in force"
    );
    assert_eq!(fire(rule, "4000", "9000").await, 0, "not due");
    assert_eq!(fire(rule, "5000", "10000").await, 1);
    assert_eq!(fire(rule, "5000", "10000").await, 0, "repeated");
    assert_eq!(tower.next("chime").await, Some(10_000));
    let stream = tower.key("s:0");
    let jobs: u64 = query(&mut tower.connection, &["XLEN", &stream]).await;
    assert_eq!(jobs, 1);
    let left = Counts {
        ready: 1,
        ..Counts::default()
    };
    tower.fixture.end_leaving(left).await;
}

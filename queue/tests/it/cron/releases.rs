//! Workers of several releases, whose schedules differ.

use std::time::{Duration, SystemTime};

use queue::{CatchUp, Schedule};

use super::{AGE, LaterChime, Tower, every_age, ms};
use crate::harness::*;

#[tokio::test(flavor = "multi_thread")]
async fn where_releases_differ_the_worker_that_began_last_is_followed() {
    let fixture = Fixture::tuned(|settings| {
        settings.tuning.schedule_ttl = Duration::from_secs(1);
    })
    .await;
    let mut tower = Tower::new(fixture).await;
    let in_force = async |tower: &mut Tower, rule: &str| {
        let rules = tower.rules().await;
        rules.get("chime").is_some_and(|held| held.contains(rule))
    };
    let old = tower.worker([Schedule::cron("chime", "0 6 1 1 *")]);
    until("the old rule holds", async || {
        in_force(&mut tower, "0 6 1 1").await
    })
    .await;
    let before = tower.next("chime").await.unwrap();
    let new = tower.worker([Schedule::cron("chime", "0 7 1 1 *")]);
    until("the new rule holds", async || {
        in_force(&mut tower, "0 7 1 1").await
    })
    .await;
    assert_eq!(tower.next("chime").await, Some(before + 60 * 60 * 1000));
    // The old worker tells of its own several times.
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(in_force(&mut tower, "0 7 1 1").await);
    // When it is the last one, its rule is better than none.
    new.stop().await;
    until("the old rule holds again", async || {
        in_force(&mut tower, "0 6 1 1").await
    })
    .await;
    assert_eq!(tower.next("chime").await, Some(before));
    old.stop().await;
    tower.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_keeps_the_rule_keeps_the_slot() {
    let mut tower = Tower::new(Fixture::new().await).await;
    let latest = ms(SystemTime::now()) / AGE * AGE;
    tower.after_downtime(every_age("chime"), latest).await;
    let schedule = every_age("chime").catch_up(CatchUp::One);
    let registry = tower
        .kinds()
        .schedule(schedule, |slot| LaterChime { slot: ms(slot) });
    let worker = tower.worker_with(registry);
    tower.until_started(1).await;
    worker.stop().await;
    let started = tower.started.lock().unwrap().clone();
    assert_eq!((started[0].1, started[0].2), (2, latest), "of the new kind");
    assert_eq!(started.len(), 1);
    tower.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_rule_starts_with_its_own_next_slot() {
    let mut tower = Tower::new(Fixture::new().await).await;
    let now = ms(SystemTime::now());
    let one = CatchUp::One;
    tower
        .after_downtime(every_age("chime").catch_up(one), now - 5000)
        .await;
    let worker =
        tower.worker([Schedule::every("chime", Duration::from_millis(2 * AGE)).catch_up(one)]);
    let next = (now / (2 * AGE) + 1) * 2 * AGE;
    until("the slot is another", async || {
        tower.next("chime").await == Some(next)
    })
    .await;
    worker.stop().await;
    assert_eq!(tower.slots(), [0; 0]);
    tower.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn schedules_of_removed_code_disappear() {
    let fixture = Fixture::tuned(|settings| {
        settings.tuning.schedule_ttl = Duration::from_secs(1);
    })
    .await;
    let mut tower = Tower::new(fixture).await;
    let before = tower.worker(["kept", "removed"].map(every_age));
    tower.until_known("kept").await;
    tower.until_known("removed").await;
    before.stop().await;
    let after = tower.worker([every_age("kept")]);
    until("it is removed", async || {
        tower.next("removed").await.is_none()
    })
    .await;
    until("its rule too", async || {
        !tower.rules().await.contains_key("removed")
    })
    .await;
    assert!(tower.next("kept").await.is_some());
    after.stop().await;
    // Also when no schedule is left in the code.
    let without = tower.worker([]);
    let keys = [tower.key("cron"), tower.key("cronspec")];
    until("the last one is removed", async || {
        let left: u64 = query(&mut tower.connection, &["EXISTS", &keys[0], &keys[1]]).await;
        left == 0
    })
    .await;
    without.stop().await;
    tower.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn schedules_whose_workers_come_back_late_are_still_there() {
    let fixture = Fixture::tuned(|settings| {
        settings.tuning.schedule_ttl = Duration::from_secs(4);
    })
    .await;
    let mut tower = Tower::new(fixture).await;
    let mark = ms(SystemTime::now()) + 12_345_678;
    tower.after_downtime(every_age("chime"), mark).await;
    // Nobody was there for half a century.
    let rules = tower.key("cronspec");
    let told = tower.rules().await.remove("chime").unwrap();
    let told = format!("0 0 {}", told.splitn(3, ' ').nth(2).unwrap());
    let _: u64 = query(&mut tower.connection, &["HSET", &rules, "chime", &told]).await;
    let other = tower.worker([every_age("other")]);
    tower.until_known("other").await;
    assert_eq!(tower.rules().await["chime"], told, "not judged at once");
    let back = tower.worker([every_age("chime")]);
    until("it is told of again", async || {
        tower.rules().await["chime"] != told
    })
    .await;
    assert_eq!(tower.next("chime").await, Some(mark));
    for worker in [other, back] {
        worker.stop().await;
    }
    tower.end().await;
}

/// A caller computes the first slot by a time that is past when Redis hears of it.
#[tokio::test]
async fn a_rule_does_not_begin_with_a_slot_that_is_past() {
    let mut tower = Tower::new(Fixture::new().await).await;
    let script = include_str!("../../../src/lua/enroll.lua");
    let (cron, rules) = (tower.key("cron"), tower.key("cronspec"));
    let now = ms(SystemTime::now());
    for (slot, late, known) in [(now - 1, 1, None), (now + AGE, 0, Some(now + AGE))] {
        let slot = slot.to_string();
        let call = ["EVAL", script, "2", &cron, &rules, "7", ""];
        let call = [&call[..], &["chime", "every 5000 ms", &slot]].concat();
        let told: (u64, Vec<String>) = query(&mut tower.connection, &call).await;
        assert_eq!(told, (late, Vec::new()));
        assert_eq!(tower.next("chime").await, known);
        assert_eq!(tower.rules().await.is_empty(), known.is_none());
    }
    tower.fixture.end().await;
}

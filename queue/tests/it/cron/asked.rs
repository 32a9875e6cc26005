//! Schedules that somebody runs now.

use std::{
    collections::HashSet,
    time::{Duration, SystemTime},
};

use queue::{Error, JobId};

use super::{AGE, Tower, every_age, ms};
use crate::harness::*;

impl Tower {
    async fn ask(&self) -> JobId {
        self.queue.run_schedule("default", "chime").await.unwrap()
    }

    fn ids(&self) -> Vec<JobId> {
        let started = self.started.lock().unwrap();
        started.iter().map(|(id, _, _)| *id).collect()
    }

    async fn is_asked(&mut self) -> bool {
        self.next("!chime").await.is_some()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_runs_now_and_its_slots_stay_as_they_are() {
    let mut tower = Tower::new(Fixture::new().await).await;
    let workers = [(); 3].map(|()| tower.worker([every_age("chime")]));
    tower.until_known("chime").await;
    let next = tower.next("chime").await;
    let mut asked = Vec::new();
    for times in 1..=3 {
        let before = ms(SystemTime::now());
        asked.push(tower.ask().await);
        tower.until_started(times).await;
        let slot = tower.slots()[times - 1];
        assert!((before..=before + AGE / 2).contains(&slot), "{slot}");
        until("the request is gone", async || !tower.is_asked().await).await;
    }
    for worker in workers {
        worker.stop().await;
    }
    assert_eq!(tower.ids(), asked, "once each, by racing workers");
    assert_eq!(HashSet::<JobId>::from_iter(asked).len(), 3);
    assert_eq!(tower.next("chime").await, next);
    tower.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_waits_for_a_worker_that_has_the_schedule() {
    let mut tower = Tower::new(Fixture::new().await).await;
    let unknown = tower.queue.run_schedule("default", "chime").await;
    assert!(
        matches!(&unknown, Err(Error::NoSchedule { queue, name })
            if queue == "default" && name == "chime"),
        "{unknown:?}"
    );
    let first = tower.worker([every_age("chime")]);
    tower.until_known("chime").await;
    first.stop().await;
    let id = tower.ask().await;
    assert_eq!(tower.ask().await, id, "one request");
    let told = tower.queue.schedules("default").await.unwrap();
    assert_eq!(told.len(), 1, "a request is no schedule: {told:?}");

    // One that does not know it leaves it.
    let other = tower.worker([every_age("other")]);
    tower.until_known("other").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(tower.is_asked().await);
    let has_it = tower.worker([every_age("chime")]);
    tower.until_started(1).await;
    for worker in [other, has_it] {
        worker.stop().await;
    }
    assert_eq!(tower.ids(), [id]);
    assert!(!tower.is_asked().await);
    tower.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_goes_with_its_schedule() {
    let fixture = Fixture::tuned(|settings| {
        settings.tuning.schedule_ttl = Duration::from_secs(1);
    })
    .await;
    let mut tower = Tower::new(fixture).await;
    let before = tower.worker([every_age("chime")]);
    tower.until_known("chime").await;
    before.stop().await;
    tower.ask().await;
    let after = tower.worker([every_age("kept")]);
    until("both are gone", async || {
        !tower.is_asked().await && tower.next("chime").await.is_none()
    })
    .await;
    // What a release that knows no requests has left behind goes too.
    tower.set_next("!chime", 1000).await;
    until("it is gone", async || !tower.is_asked().await).await;
    after.stop().await;
    assert_eq!(tower.slots(), [0; 0]);
    tower.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_a_job_is_passed_over() {
    let mut tower = Tower::new(Fixture::new().await).await;
    let registry = tower
        .kinds()
        .schedule(every_age("chime"), |_| -> super::Chime {
            panic!("told to")
        });
    let worker = tower.worker_with(registry);
    tower.until_known("chime").await;
    tower.ask().await;
    until("it is passed over", async || !tower.is_asked().await).await;
    worker.stop().await;
    tower.end().await;
}

/// What could make two jobs with one id, or one too many.
#[tokio::test]
async fn a_request_fires_once_and_not_within_its_own_millisecond() {
    let mut tower = Tower::new(Fixture::new().await).await;
    let rules = tower.key("cronspec");
    let spec = ["HSET", &rules, "chime", "7 7 every 5000 ms"];
    let _: u64 = query(&mut tower.connection, &spec).await;
    let mut scripts = queue::testing::scripts();
    let (_, script) = scripts.find(|(name, _)| *name == "fire_asked.lua").unwrap();
    let (stream, cron) = (tower.key("s:0"), tower.key("cron"));
    let later = ms(SystemTime::now()) + AGE;
    let mut fired = Vec::new();
    for (slot, rule, due) in [
        (later, "every 5000 ms", later),
        (1000, "every 6000 ms", 1000),
        (1000, "every 5000 ms", 999),
        (1000, "every 5000 ms", 1000),
        (0, "every 5000 ms", 1000),
    ] {
        match slot {
            // Nobody has asked again.
            0 => assert!(!tower.is_asked().await),
            slot => tower.set_next("!chime", slot).await,
        }
        let due = due.to_string();
        let call = [
            "EVAL", script, "5", &stream, &stream, &stream, &cron, &rules,
        ];
        let call = [&call[..], &["chime", rule, &due, "envelope"]].concat();
        fired.push(query::<u64>(&mut tower.connection, &call).await);
    }
    assert_eq!(fired, [0, 0, 0, 1, 0]);
    let jobs: u64 = query(&mut tower.connection, &["XLEN", &stream]).await;
    assert_eq!(jobs, 1);
    let left = queue::Counts {
        ready: 1,
        ..queue::Counts::default()
    };
    tower.fixture.end_leaving(left).await;
}

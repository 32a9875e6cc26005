//! Redis rolls nothing back when a script fails half way. So each script is
//! stopped after its first write, its second, and so on, and then either nobody
//! comes back or the caller repeats it. Either way a worker must find all that was
//! accepted, and nothing may be left that nobody clears away.

use std::{
    collections::{BTreeMap, BTreeSet},
    panic::AssertUnwindSafe,
    time::Duration,
};

use futures_util::{FutureExt, StreamExt, stream};
use queue::{Envelope, JobId, testing};

mod batches;
mod list;
mod owners;
mod replaces;
mod scenarios;
mod slots;

use self::{list::SCENARIOS, scenarios::prepare};
use crate::{
    broker::{Broker, Stopped},
    harness::*,
};

/// Of those who call the scripts, in ms: no case takes as long.
const LEASE: i64 = 60_000;
/// Cases at once; they wait, mostly.
const AT_ONCE: usize = 32;

/// Runs a scenario up to a write; returns where it stopped, if it did.
async fn stop_after(write: usize, repeat: bool, script: &str, what: &str) -> Option<Stopped> {
    let fixture = Fixture::tuned(|settings| {
        settings.tuning.scan = Duration::from_millis(40);
        settings.tuning.tick = Duration::from_millis(20);
    })
    .await;
    let mut broker = Broker::new(&fixture, LEASE).await;
    let given = prepare(&mut broker, script, what).await;
    let stopped = broker.run_until(&given.call, write).await.err();
    if repeat {
        for call in &given.again {
            broker.run(call).await.unwrap();
        }
        let (slots, specs) = broker.schedules().await;
        assert_eq!(slots, specs, "{script}, {what}: stopped {stopped:?}");
    }
    // Nobody of them comes back, and time passes.
    for name in ["me", "peer"] {
        broker.expire(name).await;
    }
    broker.end_grace().await;
    broker.all_come().await;
    let worker = fixture.start(4);
    settled(&fixture, stopped).await;
    worker.stop().await;

    let mut ended: BTreeMap<JobId, usize> = BTreeMap::new();
    for id in fixture.log.done.lock().unwrap().iter() {
        *ended.entry(*id).or_default() += 1;
    }
    for letter in fixture.queue.dead_letters("default", 1000).await.unwrap() {
        if let Ok(envelope) = Envelope::decode(&letter.envelope) {
            *ended.entry(envelope.id).or_default() += 1;
        }
    }
    let name = || format!("{script}, {what}: stopped {stopped:?}, repeated: {repeat}");
    let mut expected = given.accepted;
    if repeat || stopped.is_none() {
        expected.extend(given.brought);
    }
    for id in &expected {
        let times = ended.get(id).copied().unwrap_or(0);
        assert!(times >= 1, "{}: {id} is lost", name());
        if stopped.is_none() {
            assert_eq!(times, 1, "{}: {id} is doubled", name());
        }
    }
    let clean = AssertUnwindSafe(fixture.end()).catch_unwind().await;
    assert!(clean.is_ok(), "{}: something is left", name());
    stopped
}

/// Waits until the worker has nothing left to do, and the others are forgotten.
async fn settled(fixture: &Fixture, stopped: Option<Stopped>) {
    until(
        &format!("stopped {stopped:?}: all is settled"),
        async || {
            let Ok(counts) = fixture.queue.counts("default").await else {
                return false;
            };
            let jobs =
                counts.ready + counts.in_hand + counts.delayed + counts.parked + counts.blocked;
            let consumers = consumers(fixture).await;
            jobs == 0 && !consumers.contains("me") && !consumers.contains("peer")
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_script_may_stop_after_any_of_its_writes() {
    let runs = stream::iter(SCENARIOS).map(|&(script, what)| async move {
        let mut lines = BTreeSet::new();
        for write in 1.. {
            let gone = stop_after(write, false, script, what);
            let repeated = stop_after(write, true, script, what);
            let (gone, repeated) = tokio::join!(gone, repeated);
            assert_eq!(gone, repeated);
            let Some(Stopped { line }) = gone else { break };
            lines.insert(line);
        }
        (script, lines)
    });
    let runs: Vec<_> = runs.buffer_unordered(AT_ONCE).collect().await;
    let mut stopped: BTreeMap<&str, BTreeSet<usize>> = BTreeMap::new();
    for (script, lines) in runs {
        stopped.entry(script).or_default().extend(lines);
    }
    let fixture = Fixture::new().await;
    let mut broker = Broker::new(&fixture, LEASE).await;
    for (file, _) in testing::scripts() {
        let lines = stopped.remove(file).unwrap_or_default();
        let all = broker.writing_lines(file).await;
        assert_eq!(lines, all, "{file}: lines after which it was stopped");
    }
    assert!(stopped.is_empty(), "no such script: {stopped:?}");
    fixture.end().await;
}

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

use crate::{
    broker::{Broker, Call, Stopped, job, source},
    harness::*,
};

/// Of those who call the scripts, in ms: no case takes as long.
const LEASE: i64 = 60_000;
/// Cases at once; they wait, mostly.
const AT_ONCE: usize = 16;

/// What a script is stopped in: its file, and what it is about to do.
const SCENARIOS: &[(&str, &str)] = &[
    ("beat.lua", "the first of all"),
    ("beat.lua", "one of many"),
    ("dead.lua", "a plain job, and letters to trim"),
    ("dead.lua", "a job of the outbox"),
    ("hand_back.lua", "two entries"),
    ("leave.lua", "with nothing in hand"),
    ("leave.lua", "with an entry in hand"),
    ("reclaim.lua", "entries of a dead worker"),
    ("reclaim.lua", "what was handed back"),
    ("reclaim.lua", "a dead worker without entries"),
    ("reclaim.lua", "one that never fetched"),
    ("relay.lua", "now"),
    ("relay.lua", "later"),
    ("schedule.lua", "later"),
    ("set_aside.lua", "a retry"),
    ("set_aside.lua", "a job to park"),
    ("tick.lua", "two jobs that are due"),
    ("unpark.lua", "two jobs"),
];

/// What there is before the call, and the call.
struct Given {
    call: Call,
    /// Jobs that Redis has accepted before it.
    accepted: Vec<JobId>,
    /// The job that the call itself brings.
    brings: Option<JobId>,
}

impl Given {
    fn new(call: Call) -> Self {
        Self {
            call,
            accepted: Vec::new(),
            brings: None,
        }
    }

    fn accepted(mut self, jobs: &[&Envelope]) -> Self {
        self.accepted = jobs.iter().map(|job| job.id).collect();
        self
    }

    fn brings(mut self, job: &Envelope) -> Self {
        self.brings = Some(job.id);
        self
    }
}

/// Brings about what a scenario asks for; the caller is the worker `me`.
async fn prepare(broker: &mut Broker, script: &str, what: &str) -> Given {
    if (script, what) == ("beat.lua", "the first of all") {
        return Given::new(broker.beat("me", ""));
    }
    // Both live, so nobody is declared dead for want of beats.
    for name in ["me", "peer"] {
        let call = broker.beat(name, "");
        broker.run(&call).await.unwrap();
    }
    broker.end_grace().await;
    let soon = u64::try_from(broker.now().await + 100).unwrap();
    match (script, what) {
        ("beat.lua", _) => {
            let (_, held) = broker.entry_of("me").await;
            Given::new(broker.beat("me", "life")).accepted(&[&held])
        }
        ("dead.lua", "a job of the outbox") => {
            let once = job().once();
            broker.add(&once).await;
            let entry = broker.fetch("me", 1).await.unwrap().remove(0).0;
            Given::new(broker.dead("me", &entry, &once, 1000)).accepted(&[&once])
        }
        ("dead.lua", _) => {
            // A node of the stream has 100 entries, and is trimmed as a whole.
            for _ in 0..120 {
                broker.letter().await;
            }
            let (entry, held) = broker.entry_of("me").await;
            Given::new(broker.dead("me", &entry, &held, 10)).accepted(&[&held])
        }
        ("hand_back.lua", _) => {
            let (first, one) = broker.entry_of("me").await;
            let (second, two) = broker.entry_of("me").await;
            Given::new(broker.hand_back("me", &[first, second])).accepted(&[&one, &two])
        }
        ("leave.lua", "with nothing in hand") => {
            let (entry, _) = broker.entry_of("me").await;
            broker.delete(&entry).await;
            broker.acknowledge(&entry).await;
            Given::new(broker.leave("me"))
        }
        ("leave.lua", _) => {
            let (_, held) = broker.entry_of("me").await;
            Given::new(broker.leave("me")).accepted(&[&held])
        }
        ("reclaim.lua", "entries of a dead worker") => {
            let (_, one) = broker.entry_of("peer").await;
            let (_, two) = broker.entry_of("peer").await;
            broker.expire("peer").await;
            Given::new(broker.reclaim("me", 100, 1)).accepted(&[&one, &two])
        }
        ("reclaim.lua", "what was handed back") => {
            let (entry, back) = broker.entry_of("peer").await;
            let call = broker.hand_back("peer", &[entry]);
            broker.run(&call).await.unwrap();
            Given::new(broker.reclaim("me", 100, 1)).accepted(&[&back])
        }
        ("reclaim.lua", what) => {
            if what == "a dead worker without entries" {
                let (entry, _) = broker.entry_of("peer").await;
                broker.delete(&entry).await;
                broker.acknowledge(&entry).await;
            }
            broker.add(&job()).await;
            broker.fetch("me", 1).await.unwrap();
            broker.expire("peer").await;
            Given::new(broker.reclaim("me", 100, 1))
        }
        ("relay.lua", "now") => {
            let job = job().once();
            Given::new(broker.relay(&job, None)).brings(&job)
        }
        ("relay.lua", _) => {
            let job = job().once();
            Given::new(broker.relay(&job, Some(soon))).brings(&job)
        }
        ("schedule.lua", _) => {
            let job = job();
            Given::new(broker.schedule(&job, "at", soon)).brings(&job)
        }
        ("set_aside.lua", "a retry") => {
            let (entry, held) = broker.entry_of("me").await;
            Given::new(broker.retry("me", &entry, &held, 100)).accepted(&[&held])
        }
        ("set_aside.lua", _) => {
            let (entry, held) = broker.entry_of("me").await;
            Given::new(broker.park("me", &entry, &held)).accepted(&[&held])
        }
        ("tick.lua", _) => {
            let (one, two) = (job(), job());
            for job in [&one, &two] {
                let call = broker.schedule(job, "at", 1);
                broker.run(&call).await.unwrap();
            }
            Given::new(broker.tick(100)).accepted(&[&one, &two])
        }
        ("unpark.lua", _) => {
            let mut parked = Vec::new();
            for _ in 0..2 {
                let (entry, held) = broker.entry_of("me").await;
                let call = broker.park("me", &entry, &held);
                broker.run(&call).await.unwrap();
                parked.push(held);
            }
            Given::new(broker.unpark(100, "task", 1)).accepted(&[&parked[0], &parked[1]])
        }
        _ => panic!("{script} has no scenario in which it is used for {what}"),
    }
}

/// Runs a scenario up to a write; returns where it stopped, if it did.
async fn stop_after(write: usize, repeat: bool, script: &str, what: &str) -> Option<Stopped> {
    let fixture = Fixture::tuned(|settings| {
        settings.lease = Duration::from_millis(600);
        settings.tuning.scan = Duration::from_millis(40);
        settings.tuning.tick = Duration::from_millis(20);
        settings.tuning.connect_timeout = settings.lease / 2;
    })
    .await;
    let mut broker = Broker::new(&fixture, LEASE).await;
    let given = prepare(&mut broker, script, what).await;
    let stopped = broker.run_until(&given.call, write).await.err();
    if repeat {
        broker.run(&given.call).await.unwrap();
    }
    // Nobody of them comes back, and time passes.
    for name in ["me", "peer"] {
        broker.expire(name).await;
    }
    broker.end_grace().await;
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
    let brought = given.brings.filter(|_| repeat || stopped.is_none());
    for id in given.accepted.iter().chain(&brought) {
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
            let counts = fixture.queue.counts("default").await.unwrap();
            let jobs = counts.ready + counts.in_hand + counts.delayed + counts.parked;
            let consumers = consumers(fixture).await;
            jobs == 0 && !consumers.contains("me") && !consumers.contains("peer")
        },
    )
    .await;
}

/// The lines of a script that write.
fn writing_lines(file: &str, writes: &BTreeSet<String>) -> BTreeSet<usize> {
    let writing = |line: &str| {
        let mut calls = line.split("call('").skip(1);
        calls.any(|call| {
            let name = call.split('\'').next().unwrap();
            writes.contains(&name.to_lowercase())
        })
    };
    let lines = source(file).lines().enumerate();
    lines
        .filter(|(_, line)| writing(line))
        .map(|(at, _)| at + 1)
        .collect()
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
    let writes = Broker::new(&fixture, LEASE).await.write_commands().await;
    for (file, _) in testing::scripts() {
        let lines = stopped.remove(file).unwrap_or_default();
        let all = writing_lines(file, &writes);
        assert_eq!(lines, all, "{file}: lines after which it was stopped");
    }
    assert!(stopped.is_empty(), "no such script: {stopped:?}");
    fixture.end().await;
}

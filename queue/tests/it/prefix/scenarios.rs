//! What each script is stopped in.

use queue::{Envelope, JobId};

use super::{batches, replaces};
use crate::broker::{Broker, Call, SCHEDULE, job, unique};

/// A slot that no test lives to see, in ms.
const FAR: i64 = 9_000_000_000_000;
/// From now on, in ms; no preparation takes as long.
const SOON: u64 = 60_000;
/// By how much a clock is set back, in ms.
const SET_BACK: i64 = 3_600_000;
/// A key, hashed.
const KEY: u8 = 7;

/// What there is before a call, and the call.
pub(super) struct Given {
    pub(super) call: Call,
    /// What the caller does when it got no answer: the same again, at first.
    pub(super) again: Vec<Call>,
    /// Jobs that Redis has accepted before it.
    pub(super) accepted: Vec<JobId>,
    /// Jobs that the call itself brings.
    pub(super) brought: Vec<JobId>,
}

impl Given {
    pub(super) fn new(call: Call) -> Self {
        Self {
            again: vec![call.clone()],
            call,
            accepted: Vec::new(),
            brought: Vec::new(),
        }
    }

    pub(super) fn accepted(mut self, jobs: &[&Envelope]) -> Self {
        self.accepted = jobs.iter().map(|job| job.id).collect();
        self
    }

    pub(super) fn brings(mut self, jobs: &[&Envelope]) -> Self {
        self.brought = jobs.iter().map(|job| job.id).collect();
        self
    }

    fn then(mut self, call: Call) -> Self {
        self.again.push(call);
        self
    }
}

/// A script's file, and what it is about to do.
pub(super) const SCENARIOS: &[(&str, &str)] = &[
    ("ask_slot.lua", "of a schedule that is known"),
    ("batch.lua", "a new one, and sealed"),
    ("batch.lua", "one whose members have ended"),
    ("beat.lua", "the first of all"),
    ("beat.lua", "one of many"),
    ("beat.lua", "after the clock was set back"),
    ("bounded.lua", "two jobs"),
    ("complete.lua", "a unique job that another follows"),
    ("complete.lua", "the last of a batch"),
    ("complete.lua", "a replaceable job"),
    ("complete.lua", "a job for whose end another is kept"),
    ("complete.lua", "a job that is half done"),
    ("complete.lua", "a job that leaves a result"),
    ("cancel.lua", "the last of a batch"),
    ("cancel.lua", "a replaceable job"),
    ("cancel.lua", "a job for whose end another is kept"),
    ("cancel.lua", "a unique job that waits"),
    ("cancel.lua", "one that was handed back"),
    ("cancel.lua", "one that the caller ran"),
    ("cancel.lua", "a job of the outbox"),
    ("cancel.lua", "a unique job for later"),
    ("cancel.lua", "a job to park"),
    ("cancel.lua", "one in other hands"),
    ("cron.lua", "two slots"),
    ("cron.lua", "a slot to pass over"),
    ("dead.lua", "the last of a batch"),
    ("dead.lua", "a replaceable job"),
    ("dead.lua", "a job for whose end another is kept"),
    ("dead.lua", "a job of the outbox"),
    ("dead.lua", "a unique job"),
    ("delete.lua", "the last of a batch"),
    ("delete.lua", "a replaceable job"),
    ("delete.lua", "a job for whose end another is kept"),
    ("delete.lua", "a ready job of the outbox"),
    ("delete.lua", "a unique job, handed back"),
    ("delete.lua", "a unique job, set aside"),
    ("delete.lua", "a dead letter"),
    ("enroll.lua", "a new schedule"),
    ("enroll.lua", "another rule"),
    ("enroll.lua", "beside one that is gone"),
    ("enroll.lua", "beside one that is gone and was asked for"),
    ("enroll.lua", "beside a request for none"),
    ("finish.lua", "a unique job"),
    ("fire_asked.lua", "a job"),
    ("hand_back.lua", "two entries"),
    ("leave.lua", "with nothing in hand"),
    ("leave.lua", "with an entry in hand"),
    ("reclaim.lua", "entries of a dead worker"),
    ("reclaim.lua", "what was handed back"),
    ("reclaim.lua", "a dead worker without entries"),
    ("reclaim.lua", "one that never fetched"),
    ("relay.lua", "now"),
    ("relay.lua", "later"),
    ("replace.lua", "a ready job, now"),
    ("replace.lua", "a ready job, later"),
    ("replace.lua", "a delayed job"),
    ("replace.lua", "a parked job, and one that was kept"),
    ("replace.lua", "nothing, because a worker has the holder"),
    ("replace.lua", "a job that is kept"),
    ("replay.lua", "a job"),
    ("replay.lua", "a unique job"),
    ("schedule.lua", "later"),
    ("set_aside.lua", "a retry"),
    ("set_aside.lua", "a retry of a unique job"),
    ("set_aside.lua", "a job to park"),
    ("set_aside.lua", "a unique job to park"),
    ("tick.lua", "two jobs that are due"),
    ("tick.lua", "a request of long ago"),
    ("trim.lua", "more letters than shall stay"),
    ("unique.lua", "now"),
    ("unique.lua", "later"),
    ("unique.lua", "a key whose job was parked"),
    ("unpark.lua", "two jobs"),
];

/// Brings about what a scenario asks for; the caller is the worker `me`.
pub(super) async fn prepare(broker: &mut Broker, script: &str, what: &str) -> Given {
    if (script, what) == ("beat.lua", "the first of all") {
        return Given::new(broker.beat("me", ""));
    }
    // Both live, so nobody is declared dead for want of beats.
    for name in ["me", "peer"] {
        let call = broker.beat(name, "");
        broker.run(&call).await.unwrap();
    }
    broker.end_grace().await;
    match script {
        "batch.lua" => batches::enqueues(broker, what).await,
        script if what == "the last of a batch" => batches::ends(broker, script).await,
        "replace.lua" => replaces::replaces(broker, what).await,
        script if what.contains("a replaceable job") || what.contains("is kept") => {
            replaces::ends(broker, script, what).await
        }
        "beat.lua" => {
            if what == "after the clock was set back" {
                broker.beaten("peer", -SET_BACK).await;
                broker.last_beat(-SET_BACK).await;
            }
            let (_, held) = broker.entry_of("me", job()).await;
            Given::new(broker.beat("me", "life")).accepted(&[&held])
        }
        "ask_slot.lua" | "cron.lua" | "enroll.lua" | "fire_asked.lua" => {
            schedules(broker, what).await
        }
        "bounded.lua" | "relay.lua" | "schedule.lua" | "unique.lua" => {
            produce(broker, script, what).await
        }
        "hand_back.lua" | "leave.lua" | "reclaim.lua" => owners(broker, script, what).await,
        "delete.lua" => deletes(broker, what).await,
        "cancel.lua" => cancels(broker, what).await,
        "tick.lua" | "unpark.lua" | "trim.lua" => moves(broker, script, what).await,
        _ => outcomes(broker, script, what).await,
    }
}

async fn schedules(broker: &mut Broker, what: &str) -> Given {
    let [name, spec] = SCHEDULE;
    match what {
        "two slots" => {
            let (one, two) = (job(), job());
            broker.enrolled(1000, 0).await;
            let slots = [(1000, &one), (2000, &two)];
            let fire = broker.fire(SCHEDULE, &slots, 1000, FAR);
            // Who repeats it asks anew which slot is due.
            let rest = broker.fire(SCHEDULE, &slots[1..], 2000, FAR);
            Given::new(fire).then(rest).brings(&[&one, &two])
        }
        "a slot to pass over" => {
            broker.enrolled(1000, 0).await;
            Given::new(broker.fire(SCHEDULE, &[], 1000, FAR))
        }
        "of a schedule that is known" => {
            broker.enrolled(FAR, 0).await;
            Given::new(broker.ask_slot(name))
        }
        "a job" => {
            let asked = job();
            broker.enrolled(FAR, 0).await;
            broker.asked(name, 1000).await;
            Given::new(broker.fire_asked(SCHEDULE, &asked, 1000)).brings(&[&asked])
        }
        "a new schedule" => Given::new(broker.enroll(name, spec, FAR, "")),
        "another rule" => {
            broker.enrolled(1000, 0).await;
            Given::new(broker.enroll(name, "another", FAR, ""))
        }
        "beside a request for none" => {
            broker.asked("gone", 1000).await;
            Given::new(broker.enroll(name, spec, FAR, "1000"))
        }
        _ => {
            if what == "beside one that is gone and was asked for" {
                broker.asked(name, 1000).await;
            }
            broker.enrolled(FAR, 2000).await;
            Given::new(broker.enroll("other", spec, FAR, "1000"))
        }
    }
}

async fn produce(broker: &mut Broker, script: &str, what: &str) -> Given {
    let soon = u64::try_from(broker.now().await).unwrap() + SOON;
    let (plain, once, alone) = (job(), job().once(), unique(KEY));
    match (script, what) {
        ("bounded.lua", _) => {
            // Room for a repeat after a stop, but not after a success, which has no need of it.
            let other = job();
            Given::new(broker.bounded(3, &[&plain, &other])).brings(&[&plain, &other])
        }
        ("relay.lua", "now") => Given::new(broker.relay(&once, None)).brings(&[&once]),
        ("relay.lua", _) => Given::new(broker.relay(&once, Some(soon))).brings(&[&once]),
        ("unique.lua", "now") => Given::new(broker.unique(&alone, "now", 0)).brings(&[&alone]),
        ("unique.lua", "later") => Given::new(broker.unique(&alone, "at", soon)).brings(&[&alone]),
        ("unique.lua", _) => {
            let call = broker.unique(&alone, "now", 0);
            broker.run(&call).await.unwrap();
            broker.hold(&alone).await;
            Given::new(broker.unique(&unique(KEY), "now", 0)).accepted(&[&alone])
        }
        _ => Given::new(broker.schedule(&plain, "at", soon)).brings(&[&plain]),
    }
}

async fn owners(broker: &mut Broker, script: &str, what: &str) -> Given {
    match (script, what) {
        ("hand_back.lua", _) => {
            let (first, one) = broker.entry_of("me", job()).await;
            let (second, two) = broker.entry_of("me", job()).await;
            Given::new(broker.hand_back("me", &one, &[first, second])).accepted(&[&one, &two])
        }
        ("leave.lua", "with nothing in hand") => {
            broker.done_by("me").await;
            Given::new(broker.leave("me"))
        }
        ("leave.lua", _) => {
            let (_, held) = broker.entry_of("me", job()).await;
            Given::new(broker.leave("me")).accepted(&[&held])
        }
        (_, "entries of a dead worker") => {
            let (_, one) = broker.entry_of("peer", job()).await;
            let (_, two) = broker.entry_of("peer", job()).await;
            broker.expire("peer").await;
            Given::new(broker.reclaim("me", 100, 1)).accepted(&[&one, &two])
        }
        (_, "what was handed back") => {
            let (entry, back) = broker.entry_of("peer", job()).await;
            let call = broker.hand_back("peer", &back, &[entry]);
            broker.run(&call).await.unwrap();
            Given::new(broker.reclaim("me", 100, 1)).accepted(&[&back])
        }
        (_, what) => {
            if what == "a dead worker without entries" {
                broker.done_by("peer").await;
            }
            let (_, held) = broker.entry_of("me", job()).await;
            broker.expire("peer").await;
            Given::new(broker.reclaim("me", 100, 1)).accepted(&[&held])
        }
    }
}

async fn moves(broker: &mut Broker, script: &str, what: &str) -> Given {
    let (one, two) = (job(), job());
    match script {
        "tick.lua" if what == "a request of long ago" => {
            broker.requested(&one, 1).await;
            Given::new(broker.tick(100))
        }
        "tick.lua" => {
            for job in [&one, &two] {
                let call = broker.schedule(job, "at", 1);
                broker.run(&call).await.unwrap();
            }
            Given::new(broker.tick(100)).accepted(&[&one, &two])
        }
        "unpark.lua" => {
            for job in [&one, &two] {
                let (entry, held) = broker.entry_of("me", job.clone()).await;
                let call = broker.park("me", &entry, &held);
                broker.run(&call).await.unwrap();
            }
            Given::new(broker.unpark(100, "task", 1)).accepted(&[&one, &two])
        }
        _ => {
            // A node of the stream has 100 entries, and is trimmed as a whole.
            for _ in 0..120 {
                broker.letter().await;
            }
            Given::new(broker.trim(10))
        }
    }
}

/// What was to be deleted is nobody's loss: it runs, or it does not.
async fn deletes(broker: &mut Broker, what: &str) -> Given {
    let job = match what {
        what if what.contains("unique") => unique(KEY),
        what if what.contains("outbox") => job().once(),
        _ => job(),
    };
    if job.unique.is_some() {
        let call = broker.unique(&job, "now", 0);
        broker.run(&call).await.unwrap();
    } else {
        broker.add(&job).await;
    }
    if what == "a ready job of the outbox" {
        let entry = broker.first_entry().await;
        return Given::new(broker.delete_job("s:0", "entry", &entry, &job));
    }
    let entry = broker.fetch("me", 1).await.unwrap().remove(0).0;
    let call = match what {
        "a unique job, handed back" => broker.hand_back("me", &job, std::slice::from_ref(&entry)),
        "a unique job, set aside" => broker.retry("me", &entry, &job, SOON),
        _ => broker.dead("me", &entry, &job),
    };
    broker.run(&call).await.unwrap();
    Given::new(match what {
        "a unique job, handed back" => broker.delete_job("s:0", "entry", &entry, &job),
        "a unique job, set aside" => {
            broker.delete_job("delayed", "set aside", &job.id.to_string(), &job)
        }
        _ => {
            let letters = broker.letters().await;
            broker.delete_job("dead", "letter", &letters[0], &job)
        }
    })
}

/// Nobody needs to run what is cancelled; only that nothing is left of it matters.
async fn cancels(broker: &mut Broker, what: &str) -> Given {
    let held = match what {
        what if what.contains("unique") => unique(KEY),
        what if what.contains("outbox") => job().once(),
        _ => job(),
    };
    if held.unique.is_some() {
        let mode = if what.contains("later") { "in" } else { "now" };
        let call = broker.unique(&held, mode, SOON);
        broker.run(&call).await.unwrap();
    } else {
        broker.add(&held).await;
    }
    if what.contains("later") {
        return Given::new(broker.cancel(&held, "aside", ""));
    }
    let entry = broker.entry_for(&held).await.unwrap();
    if !what.contains("waits") && !what.contains("outbox") {
        broker.fetch("peer", 1).await.unwrap();
    }
    match what {
        "one that was handed back" => {
            let call = broker.hand_back("peer", &held, std::slice::from_ref(&entry));
            broker.run(&call).await.unwrap();
        }
        "a job to park" => {
            let call = broker.park("peer", &entry, &held);
            broker.run(&call).await.unwrap();
            return Given::new(broker.cancel(&held, "aside", ""));
        }
        "one that the caller ran" => {
            return Given::new(broker.cancel(&held, &entry, "peer"));
        }
        _ => {}
    }
    Given::new(broker.cancel(&held, &entry, ""))
}

async fn outcomes(broker: &mut Broker, script: &str, what: &str) -> Given {
    let held = match what {
        what if what.contains("unique") => unique(KEY),
        what if what.contains("outbox") => job().once(),
        _ => job(),
    };
    if held.unique.is_some() {
        let call = broker.unique(&held, "now", 0);
        broker.run(&call).await.unwrap();
    } else {
        broker.add(&held).await;
    }
    let entry = broker.fetch("me", 1).await.unwrap().remove(0).0;
    let call = match script {
        "dead.lua" => broker.dead("me", &entry, &held),
        "complete.lua" if what == "a job that is half done" => {
            broker.delete(&held, &entry).await;
            return Given::new(broker.complete(&entry, &held));
        }
        "complete.lua" if what == "a job that leaves a result" => {
            return Given::new(broker.complete_leaving(&entry, &held, "7"));
        }
        "complete.lua" => {
            let last = job();
            let held = Envelope {
                next: Some(last.encode()),
                ..held
            };
            return Given::new(broker.complete(&entry, &held)).brings(&[&last]);
        }
        "finish.lua" => {
            // It has been run, so nobody needs to run it again.
            return Given::new(broker.finish(&entry, &held));
        }
        "replay.lua" => {
            let call = broker.dead("me", &entry, &held);
            broker.run(&call).await.unwrap();
            let letters = broker.letters().await;
            broker.replay(&letters[0], &held)
        }
        "set_aside.lua" if what.contains("park") => broker.park("me", &entry, &held),
        "set_aside.lua" => broker.retry("me", &entry, &held, SOON),
        _ => panic!("{script} has no scenario: {what}"),
    };
    Given::new(call).accepted(&[&held])
}

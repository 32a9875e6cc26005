//! What each script is stopped in.

use queue::{Envelope, JobId};

use super::{batches, owners, replaces, slots};
use crate::broker::{Broker, Call, SCHEDULE, job, unique};

/// A slot that no test lives to see, in ms.
const FAR: i64 = 9_000_000_000_000;
/// From now on, in ms; no preparation takes as long.
pub(super) const SOON: u64 = 60_000;
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
        _ if what.contains("slot another") => slots::frees(broker, script).await,
        "batch.lua" => batches::enqueues(broker, what).await,
        script if what == "the last of a batch" => batches::ends(broker, script).await,
        "replace.lua" => replaces::replaces(broker, what).await,
        "unique.lua" if what.contains("is kept") => replaces::enqueues(broker).await,
        script if what.contains("a replaceable job") || what.contains("is kept") => {
            replaces::ends(broker, script, what).await
        }
        "slot.lua" | "let_in.lua" => slots::takes(broker, what).await,
        _ if what.contains("for a slot") => slots::removes_waiting(broker, script).await,
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
        "limit.lua" => {
            let now = broker.now().await;
            broker.let_through("lowered", now + 3_600_000).await;
            Given::new(broker.limit(&["lowered", "new"], 60_000_000, 5))
        }
        "fetch.lua" | "hand_back.lua" | "leave.lua" | "reclaim.lua" => {
            owners::owners(broker, script, what).await
        }
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

//! Unique jobs that take each other's place, and those that are kept for another's end.

use queue::Envelope;

use super::scenarios::Given;
use crate::broker::{Broker, replaceable};

/// A key, hashed.
const KEY: u8 = 9;
/// From now on, in ms; no preparation takes as long.
const SOON: u64 = 60_000;

/// A job that holds the key, and its entry.
async fn holder(broker: &mut Broker, mode: &str) -> (Envelope, String) {
    let holder = replaceable(KEY);
    let call = broker.unique(&holder, mode, SOON);
    broker.run(&call).await.unwrap();
    let entry = broker.entry_for(&holder).await.unwrap_or_default();
    (holder, entry)
}

/// A job that is kept for the end of the holder, which `peer` has in hand.
async fn keep(broker: &mut Broker, mode: &str, holder: &Envelope, entry: &str) -> Envelope {
    let kept = replaceable(KEY);
    let call = broker.replace(&kept, [mode, "1"], SOON, holder, entry);
    broker.run(&call).await.unwrap();
    kept
}

pub(super) async fn replaces(broker: &mut Broker, what: &str) -> Given {
    let new = replaceable(KEY);
    let mode = if what == "a delayed job" { "in" } else { "now" };
    let (old, entry) = holder(broker, mode).await;
    let waits = matches!(
        what,
        "a ready job, now" | "a ready job, later" | "a delayed job"
    );
    if !waits {
        broker.fetch("peer", 1).await.unwrap();
    }
    match what {
        "a ready job, now" => {
            let call = broker.replace(&new, ["now", ""], 0, &old, &entry);
            Given::new(call).brings(&[&new])
        }
        "a ready job, later" => {
            let call = broker.replace(&new, ["in", ""], SOON, &old, &entry);
            Given::new(call).brings(&[&new])
        }
        "a delayed job" => {
            let call = broker.replace(&new, ["now", "1"], 0, &old, "aside");
            Given::new(call).brings(&[&new])
        }
        "a parked job, and one that was kept" => {
            keep(broker, "now", &old, &entry).await;
            let call = broker.park("peer", &entry, &old);
            broker.run(&call).await.unwrap();
            let call = broker.replace(&new, ["now", ""], 0, &old, "aside");
            Given::new(call).brings(&[&new])
        }
        "a job that is kept, later" => {
            let call = broker.replace(&new, ["in", "1"], SOON, &old, &entry);
            Given::new(call).accepted(&[&old]).brings(&[&new])
        }
        "a job that is kept" => {
            keep(broker, "now", &old, &entry).await;
            let call = broker.replace(&new, ["now", "1"], 0, &old, &entry);
            Given::new(call).accepted(&[&old]).brings(&[&new])
        }
        _ => {
            let call = broker.replace(&new, ["now", "1"], 0, &old, &entry);
            Given::new(call).accepted(&[&old]).brings(&[&new])
        }
    }
}

/// The holder has lost its key, so nobody sees its end.
pub(super) async fn enqueues(broker: &mut Broker) -> Given {
    let (held, entry) = holder(broker, "now").await;
    broker.fetch("peer", 1).await.unwrap();
    keep(broker, "now", &held, &entry).await;
    broker.unlock(&held).await;
    let new = replaceable(KEY);
    let call = broker.unique(&new, "now", 0);
    Given::new(call).accepted(&[&held]).brings(&[&new])
}

/// However the holder ends, what was kept is enqueued.
pub(super) async fn ends(broker: &mut Broker, script: &str, what: &str) -> Given {
    let (held, entry) = holder(broker, "now").await;
    broker.fetch("me", 1).await.unwrap();
    let kept = match what.contains("is kept") {
        true => {
            let mode = if what.contains("later") { "in" } else { "now" };
            Some(keep(broker, mode, &held, &entry).await)
        }
        false => None,
    };
    if matches!(script, "delete.lua" | "cancel.lua") {
        let call = broker.hand_back("me", &held, std::slice::from_ref(&entry));
        broker.run(&call).await.unwrap();
    }
    let call = match script {
        "complete.lua" => broker.complete(&entry, &held),
        "dead.lua" => broker.dead("me", &entry, &held),
        "delete.lua" => broker.delete_job("s:0", "entry", &entry, &held),
        "cancel.lua" => broker.cancel(&held, &entry, ""),
        _ => panic!("{script} ends no job"),
    };
    let kept: Vec<_> = kept.iter().collect();
    Given::new(call).accepted(&kept)
}

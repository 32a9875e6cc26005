//! What scripts are stopped in that give slots, and free them.

use queue::Envelope;

use super::scenarios::{Given, SOON};
use crate::broker::{Broker, limited};

/// A job that has the only slot of its key, and one that waits for it; the entry of the
/// first. A third one had a slot once, and left it behind.
async fn one_behind_another(broker: &mut Broker) -> (String, Envelope, Envelope) {
    let (entry, first) = broker.entry_of("me", limited(1)).await;
    let next = one_behind(broker, &entry, &first).await;
    (entry, first, next)
}

async fn one_behind(broker: &mut Broker, entry: &str, first: &Envelope) -> Envelope {
    let call = broker.slot("me", entry, first);
    broker.run(&call).await.unwrap();
    let (behind, next) = broker.entry_of("me", limited(1)).await;
    let call = broker.slot("me", &behind, &next);
    broker.run(&call).await.unwrap();
    assert_eq!(broker.entry_for(&next).await, None, "it waits");
    broker.haunt(first).await;
    next
}

/// A job takes the place of the first one, which was handed back.
async fn replaces(broker: &mut Broker) -> Given {
    let alone = || Envelope {
        unique: Some([7; 16]),
        ..limited(1)
    };
    let (first, new) = (alone(), alone());
    let call = broker.unique(&first, "now", 0);
    broker.run(&call).await.unwrap();
    let entry = broker.fetch("me", 1).await.unwrap().remove(0).0;
    let next = one_behind(broker, &entry, &first).await;
    let call = broker.hand_back("me", &first, std::slice::from_ref(&entry));
    broker.run(&call).await.unwrap();
    let call = broker.replace(&new, ["now", ""], 0, &first, &entry);
    Given::new(call).accepted(&[&next]).brings(&[&new])
}

pub(super) async fn takes(broker: &mut Broker, what: &str) -> Given {
    if what == "a job that is half set aside" {
        let (entry, job) = broker.entry_of("me", limited(1)).await;
        broker.block(&job).await;
        return Given::new(broker.slot("me", &entry, &job)).accepted(&[&job]);
    }
    if what == "one behind another that vanished" {
        let next = limited(1);
        broker.block(&next).await;
        broker.haunt(&next).await;
        return Given::new(broker.let_in(&next)).accepted(&[&next]);
    }
    let first = limited(1);
    broker.block(&first).await;
    broker.haunt(&first).await;
    let (entry, job) = broker.entry_of("me", limited(1)).await;
    Given::new(broker.slot("me", &entry, &job)).accepted(&[&first, &job])
}

/// What ends the first one is nobody's loss, but where it goes on.
pub(super) async fn frees(broker: &mut Broker, script: &str) -> Given {
    if script == "replace.lua" {
        return replaces(broker).await;
    }
    let (entry, first, next) = one_behind_another(broker).await;
    let call = match script {
        "complete.lua" => broker.complete(&entry, &first),
        "cancel.lua" => broker.cancel(&first, &entry, "me"),
        "delete.lua" => {
            let call = broker.hand_back("me", &first, std::slice::from_ref(&entry));
            broker.run(&call).await.unwrap();
            broker.delete_job("s:0", "entry", &entry, &first)
        }
        "dead.lua" => {
            let call = broker.dead("me", &entry, &first);
            return Given::new(call).accepted(&[&first, &next]);
        }
        "set_aside.lua" => {
            let call = broker.retry("me", &entry, &first, SOON);
            return Given::new(call).accepted(&[&first, &next]);
        }
        _ => panic!("{script} frees no slot"),
    };
    Given::new(call).accepted(&[&next])
}

/// Of three, the one in the middle.
pub(super) async fn removes_waiting(broker: &mut Broker, script: &str) -> Given {
    let (_, first, next) = one_behind_another(broker).await;
    let (entry, last) = broker.entry_of("me", limited(1)).await;
    let call = broker.slot("me", &entry, &last);
    broker.run(&call).await.unwrap();
    let (index, kind, member) = broker.place_of(&next).await.unwrap();
    let call = match script {
        "cancel.lua" => broker.cancel(&next, "blocked", ""),
        _ => broker.delete_job(index, kind, &member, &next),
    };
    Given::new(call).accepted(&[&first, &last])
}

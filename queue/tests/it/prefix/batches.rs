//! Batches: what enqueues them, and what ends their last member.

use queue::{BatchId, Envelope, JobId};

use super::scenarios::Given;
use crate::broker::{Broker, job};

/// A batch, so many of its members, and what follows it.
fn batch(members: usize) -> (BatchId, Vec<Envelope>, Envelope) {
    let id = BatchId::from(JobId::new());
    let member = || Envelope {
        batch: Some(id),
        ..job()
    };
    let members = std::iter::repeat_with(member).take(members).collect();
    let follows = Envelope {
        follows: Some(id),
        ..job()
    };
    (id, members, follows)
}

pub(super) async fn enqueues(broker: &mut Broker, what: &str) -> Given {
    let (id, members, follows) = batch(2);
    let [one, two] = &members[..] else {
        panic!("two members")
    };
    if what == "a new one, and sealed" {
        let call = broker.batch(id, true, "3", &[one, two], Some(&follows));
        // Room for a repeat after a stop, but not after a success, which has no need of it.
        return Given::new(call).brings(&[one, two]);
    }
    let call = broker.batch(id, true, "", &[one], None);
    broker.run(&call).await.unwrap();
    let entry = broker.fetch("me", 1).await.unwrap().remove(0).0;
    let call = broker.complete(&entry, one);
    broker.run(&call).await.unwrap();
    Given::new(broker.batch(id, false, "", &[], Some(&follows))).brings(&[&follows])
}

/// However its last member ends, the batch is followed.
pub(super) async fn ends(broker: &mut Broker, script: &str) -> Given {
    let (id, members, follows) = batch(1);
    let last = &members[0];
    let call = broker.batch(id, true, "", &[last], Some(&follows));
    broker.run(&call).await.unwrap();
    let entry = broker.entry_for(last).await.unwrap();
    if matches!(script, "complete.lua" | "dead.lua") {
        broker.fetch("me", 1).await.unwrap();
    }
    let call = match script {
        "complete.lua" => broker.complete(&entry, last),
        "dead.lua" => broker.dead("me", &entry, last),
        "delete.lua" => broker.delete_job("s:0", "entry", &entry, last),
        "cancel.lua" => broker.cancel(last, &entry, ""),
        _ => panic!("{script} ends no member"),
    };
    Given::new(call).accepted(&[&follows])
}

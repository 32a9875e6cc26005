//! What scripts are stopped in that say who has an entry in hand.

use queue::{Envelope, Priority};

use super::scenarios::Given;
use crate::broker::{Broker, job};

pub(super) async fn owners(broker: &mut Broker, script: &str, what: &str) -> Given {
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
        ("fetch.lua", _) => {
            let first = Envelope {
                priority: Priority::High,
                ..job()
            };
            let second = job();
            broker.add(&first).await;
            broker.add(&second).await;
            let call = broker.fetch_through("me", 2, 2);
            Given::new(Broker::rated(call)).accepted(&[&first, &second])
        }
        (_, "what was handed back, through a gate") => {
            let (entry, back) = broker.entry_of("peer", job()).await;
            let call = broker.hand_back("peer", &back, &[entry]);
            broker.run(&call).await.unwrap();
            let call = broker.reclaim_through("me", 100, 1);
            Given::new(Broker::rated(call)).accepted(&[&back])
        }
        (_, "an entry of a dead worker, through a gate") => {
            let (_, held) = broker.entry_of("peer", job()).await;
            broker.expire("peer").await;
            let call = broker.reclaim_through("me", 100, 1);
            Given::new(Broker::rated(call)).accepted(&[&held])
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

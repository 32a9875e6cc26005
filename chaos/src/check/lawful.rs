//! What a right queue does is lawful, whatever is done to it, and the checker must say
//! so; with one rule of it broken, the checker must notice.

use std::collections::BTreeSet;

use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};

use super::model::{Model, STORM, Sabotage, Step, WORKERS};
use crate::history::Fault;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let fault = prop::sample::select(vec![
        (Fault::Kill, 200, 3000),
        (Fault::Stop, 300, 4000),
        (Fault::Term, 200, 1500),
        (Fault::Refuse, 100, 3000),
        (Fault::RedisRestart, 100, 4000),
        (Fault::RedisLoss, 100, 1000),
    ]);
    let step = (0..STORM, fault, 0.0..1.0f64, 0..WORKERS).prop_map(
        |(at, (fault, least, most), share, worker)| Step {
            at,
            lasts: least + ((most - least) as f64 * share) as u64,
            fault,
            worker,
        },
    );
    prop::collection::vec(step, 0..12)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn what_a_right_queue_does_is_lawful(seed: u64, steps in steps()) {
        let story = Model::new(seed, Sabotage::Nothing).play(&steps);
        prop_assert_eq!(story.report().violations, []);
    }
}

/// The invariants that a sabotage breaks, over some seeds and faults.
fn found(sabotage: Sabotage) -> Vec<&'static str> {
    let mut runner = TestRunner::deterministic();
    let strategy = steps();
    let mut found = BTreeSet::new();
    for seed in 0..40 {
        let steps = strategy.new_tree(&mut runner).unwrap().current();
        found.extend(Model::new(seed, sabotage).play(&steps).broken());
    }
    found.into_iter().collect()
}

#[test]
fn what_a_wrong_queue_does_is_found() {
    assert_eq!(found(Sabotage::Nothing), [""; 0]);
    for (sabotage, invariant) in [
        (Sabotage::KeepDone, "I3"),
        (Sabotage::ForgetFetched, "I1"),
        (Sabotage::ForgetFetched, "I20"),
        (Sabotage::NoOutageGuard, "I7"),
        (Sabotage::NoDoubt, "I6"),
        (Sabotage::TakeFromTheLiving, "I6"),
        (Sabotage::TakeFromTheLiving, "I7"),
        (Sabotage::Early, "I12"),
        (Sabotage::CountHandBacks, "I3"),
        (Sabotage::SlowScan, "I8"),
    ] {
        let found = found(sabotage);
        assert!(found.contains(&invariant), "{sabotage:?}: {found:?}");
    }
}

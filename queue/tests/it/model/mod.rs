//! Random sequences of everything that workers, producers and faults do to a
//! queue, through the real scripts, beside a small model: after each step each job
//! is in the same one place in both. In the end all can still be finished.

mod batches;
mod both;
mod delivered;
mod observe;
mod replaces;
mod schedules;
mod state;

use proptest::prelude::*;

use self::both::Both;
use crate::harness::*;

/// In ms; nothing ends by itself while a test runs.
const LEASE: i64 = 3_600_000;
/// A delay that does not end either.
const LATER: u64 = 3_600_000;
/// Keys of unique jobs.
const KEYS: u8 = 2;
const WORKERS: usize = 3;

/// A step. Workers go by their number, what has been delivered to anyone and is
/// picked by any number: also what was settled long ago, or belongs to others now.
#[derive(Debug, Clone)]
enum Op {
    Enqueue,
    EnqueueLater,
    /// Two jobs, into a queue that may have this many.
    EnqueueBounded(usize),
    EnqueueUnique {
        key: u8,
        later: bool,
    },
    /// Two jobs, of which the second follows the first.
    EnqueueChain {
        later: bool,
    },
    /// A batch of so many, sealed at once or later.
    EnqueueBatch {
        members: usize,
        seals: bool,
    },
    /// One more member, for any batch there was.
    EnqueueInto(u8),
    /// The producer of any batch has added all.
    Seal(u8),
    /// A unique job in the place of the one that holds its key, or for its end.
    Replace {
        key: u8,
        later: bool,
        keeps: bool,
    },
    /// A job of the one key that has slots: so many, as this job says.
    EnqueueLimited(u8),
    /// A worker is about to run a job.
    Need(u8),
    Relay {
        later: bool,
    },
    RelayAgain(u8),
    Fetch(usize, usize),
    /// Through a gate of so many in hand.
    FetchThrough(usize, usize, usize),
    Done(u8),
    HalfDone(u8),
    Retry(u8),
    Park(u8),
    Bury(u8),
    HandBack(u8),
    /// A worker ends a job that was cancelled.
    Stop(u8),
    /// Somebody cancels any job.
    Cancel(u8),
    Replay(u8),
    Delete(u8),
    Unpark(usize),
    Tick(usize),
    /// The time of a delayed job comes.
    Come(u8),
    Beat(usize),
    LeaseEnds(usize),
    /// No beat reaches Redis for long.
    Silence,
    GraceEnds,
    Reclaim(usize, usize, usize),
    ReclaimThrough(usize, usize, usize),
    Leave(usize),
    Crash(usize),
    /// Tells of the schedule.
    Enroll,
    /// Asks for a slot of the schedule.
    Ask,
    /// Fires the slot that was asked for; late, when another was first.
    FireAsked {
        late: bool,
    },
    /// Fires this many slots; late, when another was first.
    Fire {
        jobs: usize,
        late: bool,
    },
    LockExpires(u8),
    Pause(bool),
    LoseData,
}

fn op() -> impl Strategy<Value = Op> {
    let worker = 0..WORKERS;
    let some = 1..4usize;
    prop_oneof![
        8 => Just(Op::Enqueue),
        3 => Just(Op::EnqueueLater),
        3 => (2..12usize).prop_map(Op::EnqueueBounded),
        6 => (0..KEYS, any::<bool>()).prop_map(|(key, later)| Op::EnqueueUnique { key, later }),
        4 => any::<bool>().prop_map(|later| Op::EnqueueChain { later }),
        5 => (0..3usize, any::<bool>())
            .prop_map(|(members, seals)| Op::EnqueueBatch { members, seals }),
        3 => any::<u8>().prop_map(Op::EnqueueInto),
        3 => any::<u8>().prop_map(Op::Seal),
        8 => (0..KEYS, any::<bool>(), any::<bool>())
            .prop_map(|(key, later, keeps)| Op::Replace { key, later, keeps }),
        6 => (1..3u8).prop_map(Op::EnqueueLimited),
        10 => any::<u8>().prop_map(Op::Need),
        3 => any::<bool>().prop_map(|later| Op::Relay { later }),
        2 => any::<u8>().prop_map(Op::RelayAgain),
        14 => (worker.clone(), some.clone()).prop_map(|(by, most)| Op::Fetch(by, most)),
        6 => (worker.clone(), some.clone(), 1..8usize)
            .prop_map(|(by, most, at_once)| Op::FetchThrough(by, most, at_once)),
        8 => any::<u8>().prop_map(Op::Done),
        2 => any::<u8>().prop_map(Op::HalfDone),
        8 => any::<u8>().prop_map(Op::Retry),
        5 => any::<u8>().prop_map(Op::Park),
        5 => any::<u8>().prop_map(Op::Bury),
        5 => any::<u8>().prop_map(Op::HandBack),
        3 => any::<u8>().prop_map(Op::Stop),
        5 => any::<u8>().prop_map(Op::Cancel),
        3 => any::<u8>().prop_map(Op::Replay),
        4 => any::<u8>().prop_map(Op::Delete),
        3 => some.clone().prop_map(Op::Unpark),
        4 => some.clone().prop_map(Op::Tick),
        4 => any::<u8>().prop_map(Op::Come),
        8 => worker.clone().prop_map(Op::Beat),
        5 => worker.clone().prop_map(Op::LeaseEnds),
        1 => Just(Op::Silence),
        4 => Just(Op::GraceEnds),
        8 => (worker.clone(), some, 0..2usize)
            .prop_map(|(by, most, suspects)| Op::Reclaim(by, most, suspects)),
        4 => (worker.clone(), 1..4usize, 1..8usize)
            .prop_map(|(by, most, at_once)| Op::ReclaimThrough(by, most, at_once)),
        2 => worker.clone().prop_map(Op::Leave),
        2 => worker.prop_map(Op::Crash),
        2 => Just(Op::Enroll),
        2 => Just(Op::Ask),
        2 => any::<bool>().prop_map(|late| Op::FireAsked { late }),
        3 => (0..3usize, any::<bool>()).prop_map(|(jobs, late)| Op::Fire { jobs, late }),
        1 => (0..KEYS).prop_map(Op::LockExpires),
        1 => any::<bool>().prop_map(Op::Pause),
        1 => Just(Op::LoseData),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 32,
        max_shrink_iters: 400,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_scripts_do_what_the_model_does(ops in prop::collection::vec(op(), 1..120)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let fixture = Fixture::new().await;
            let mut both = Both::new(&fixture).await;
            for op in ops {
                both.step(op).await;
            }
            both.finish().await;
            drop(both);
            fixture.end().await;
        });
    }
}

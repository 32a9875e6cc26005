//! Draws the faults: the same for the same seed, whatever happens around them.

use std::{collections::HashMap, time::Duration};

use fastrand::Rng;

use crate::{
    brief::{self, QUEUES},
    history::Fault,
    servers::Kind,
};

/// Whom a fault hits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Target {
    /// Index of the slot among all workers.
    Worker(usize),
    /// Index of the slot among all producers.
    Producer(usize),
    Redis,
    Postgres,
    Queue(&'static str),
}

/// One fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    /// Counted from the storm's beginning.
    pub(crate) after: Duration,
    pub(crate) fault: Fault,
    pub(crate) target: Target,
    /// From the fault to its undoing; for an end, to the restart.
    pub(crate) lasts: Duration,
    /// Whose servers are hit, where there are several.
    pub(crate) queue: &'static str,
    /// How late answers are, for [`Fault::Delay`].
    pub(crate) delay: Duration,
}

/// Faults that overlap as they like, and the calm after them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Storm {
    pub(crate) steps: Vec<Step>,
    /// Counted from the undoing of the last.
    pub(crate) calm: Duration,
}

/// An endless row of storms.
pub(crate) struct Storms {
    rng: Rng,
    workers: usize,
    producers: usize,
    lease: Duration,
    /// Faults and their weights.
    enabled: Vec<(Fault, u32)>,
}

/// Every fault, how likely it is, and its name on the command line.
pub(crate) const FAULTS: [(Fault, u32, &str); 18] = [
    (Fault::Kill, 8, "kill"),
    (Fault::Stop, 4, "stop"),
    (Fault::Term, 4, "term"),
    (Fault::RedisRestart, 3, "redis-restart"),
    (Fault::RedisLoss, 2, "redis-loss"),
    (Fault::RedisPause, 2, "redis-pause"),
    (Fault::RedisOom, 2, "oom"),
    (Fault::ScriptFlush, 2, "script-flush"),
    (Fault::PostgresRestart, 2, "postgres-restart"),
    (Fault::Cut, 3, "cut"),
    (Fault::Refuse, 2, "refuse"),
    (Fault::SwallowReplies, 4, "swallow"),
    (Fault::BlackHole, 3, "black-hole"),
    (Fault::Delay, 3, "delay"),
    (Fault::Pause, 4, "pause"),
    (Fault::Disconnect, 3, "disconnect"),
    (Fault::Failover, 5, "failover"),
    (Fault::ReplicaRestart, 2, "replica-restart"),
];

/// Whether a fault can be inflicted on such servers.
///
/// Sentinels and Clusters tell the addresses of their servers, so nobody goes through a proxy.
/// Their primaries are replaced when they are away for long, which is a fault of its own.
pub(crate) fn applies(fault: Fault, redis: Kind) -> bool {
    let alone = redis == Kind::One;
    match fault {
        Fault::Failover | Fault::ReplicaRestart => !alone,
        Fault::RedisRestart
        | Fault::RedisLoss
        | Fault::RedisPause
        | Fault::Cut
        | Fault::Refuse
        | Fault::SwallowReplies
        | Fault::BlackHole
        | Fault::Delay => alone,
        _ => true,
    }
}

impl Storms {
    pub(crate) fn new(
        seed: u64,
        workers: usize,
        producers: usize,
        lease: Duration,
        faults: &[Fault],
    ) -> Self {
        let enabled = FAULTS
            .iter()
            .filter(|(fault, ..)| faults.contains(fault))
            .map(|(fault, weight, _)| (*fault, *weight))
            .collect();
        Self {
            rng: Rng::with_seed(seed),
            workers,
            producers,
            lease,
            enabled,
        }
    }

    fn fault(&mut self) -> Fault {
        let all: u32 = self.enabled.iter().map(|(_, weight)| weight).sum();
        let mut at = self.rng.u32(..all);
        for (fault, weight) in &self.enabled {
            if at < *weight {
                return *fault;
            }
            at -= weight;
        }
        unreachable!("the weights were summed up")
    }

    fn step(&mut self, after: Duration) -> Step {
        let fault = self.fault();
        let target = match fault {
            Fault::RedisRestart
            | Fault::RedisLoss
            | Fault::RedisPause
            | Fault::RedisOom
            | Fault::ScriptFlush
            | Fault::Disconnect
            | Fault::Failover
            | Fault::ReplicaRestart => Target::Redis,
            Fault::PostgresRestart => Target::Postgres,
            Fault::Pause => Target::Queue(QUEUES[self.rng.usize(..QUEUES.len())]),
            // Mostly the workers: they have more to lose.
            _ if self.producers > 0 && self.rng.u8(..8) == 0 => {
                Target::Producer(self.rng.usize(..self.producers))
            }
            _ => Target::Worker(self.rng.usize(..self.workers)),
        };
        let leases = match fault {
            Fault::Kill | Fault::PostgresRestart => 0.1..1.5,
            Fault::Term | Fault::RedisLoss => 0.1..0.5,
            Fault::Stop | Fault::Pause => 0.3..2.0,
            Fault::RedisRestart | Fault::RedisPause => 0.1..2.0,
            Fault::RedisOom => 0.1..0.8,
            Fault::ScriptFlush | Fault::Cut | Fault::Disconnect => 0.0..0.0,
            _ => 0.1..1.5,
        };
        let share = leases.start + self.rng.f64() * (leases.end - leases.start);
        Step {
            after,
            fault,
            target,
            lasts: self.lease.mul_f64(share),
            queue: QUEUES[self.rng.usize(..QUEUES.len())],
            delay: Duration::from_millis(self.rng.u64(5..500)),
        }
    }
}

impl Iterator for Storms {
    type Item = Storm;

    fn next(&mut self) -> Option<Storm> {
        if self.enabled.is_empty() {
            return None;
        }
        // A fault alone shows what it does by itself; together they show the rest.
        let most = if self.rng.u8(..4) == 0 {
            1
        } else {
            self.rng.usize(2..12)
        };
        let mut steps: Vec<Step> = Vec::new();
        let mut busy_until: HashMap<Target, Duration> = HashMap::new();
        let mut after = Duration::ZERO;
        for _ in 0..most {
            let step = self.step(after);
            after += self.lease.mul_f64(self.rng.f64() * 0.4);
            // One fault at a time for each target; a pause lets the next see it restarted.
            let busy = busy_until.entry(step.target).or_default();
            if step.after >= *busy {
                *busy = step.after + step.lasts + self.lease / 10;
                steps.push(step);
            }
        }
        // Long enough for all to be as if nothing had been; or not.
        let calm = 2 * (self.lease + brief::scan(self.lease));
        let share = if self.rng.bool() {
            1.1 + self.rng.f64() * 0.4
        } else {
            self.rng.f64() / 4.0
        };
        Some(Storm {
            steps,
            calm: calm.mul_f64(share),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        conductor::{SEEDS, SHORT_ROUND},
        round::WARM_UP,
    };
    use std::collections::HashSet;

    fn of_one_server() -> Vec<Fault> {
        let all = FAULTS.map(|(fault, ..)| fault).into_iter();
        all.filter(|fault| applies(*fault, Kind::One)).collect()
    }

    fn storms(seed: u64) -> Vec<Storm> {
        Storms::new(seed, 4, 2, Duration::from_secs(2), &of_one_server())
            .take(200)
            .collect()
    }

    #[test]
    fn a_seed_says_it_all() {
        assert_eq!(storms(7), storms(7));
        assert_ne!(storms(7), storms(8));
    }

    #[test]
    fn every_fault_comes_and_none_hits_a_target_that_is_down() {
        let storms = storms(7);
        for fault in of_one_server() {
            let mut steps = storms.iter().flat_map(|storm| &storm.steps);
            assert!(steps.any(|step| step.fault == fault), "{fault:?}");
        }
        for storm in &storms {
            for (at, step) in storm.steps.iter().enumerate() {
                let before = storm.steps[..at].iter();
                for other in before.filter(|other| other.target == step.target) {
                    assert!(other.after + other.lasts <= step.after, "{storm:?}");
                }
            }
        }
    }

    #[test]
    fn the_fixed_seeds_bring_every_fault() {
        let length = Duration::from_secs(SHORT_ROUND);
        let mut seen = HashSet::new();
        for seed in SEEDS {
            let mut at = WARM_UP;
            for storm in storms(seed) {
                let steps = storm.steps.iter();
                let in_time = steps.clone().filter(|step| at + step.after < length);
                seen.extend(in_time.map(|step| step.fault));
                let end = steps.map(|step| step.after + step.lasts).max();
                at += end.unwrap_or_default() + storm.calm;
            }
        }
        assert_eq!(seen.len(), of_one_server().len(), "{seen:?}");
    }

    #[test]
    fn only_what_is_enabled_comes() {
        let storms = Storms::new(7, 4, 2, Duration::from_secs(2), &[Fault::Kill]);
        for storm in storms.take(50) {
            assert!(storm.steps.iter().all(|step| step.fault == Fault::Kill));
        }
        let none = Storms::new(7, 4, 2, Duration::from_secs(2), &[]).next();
        assert_eq!(none, None);
    }
}

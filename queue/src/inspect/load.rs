//! How fast a queue is worked off, and how many workers it needs.

use std::{collections::BTreeMap, ops::AddAssign, time::Duration};

use redis::{Pipeline, Value};

use super::clock;
use crate::{Error, Queue, connection::first_error, queue::Partition, reply::number};

/// Minutes told, the current one among them.
const MINUTES: u64 = 61;
/// Minutes from which the load is judged: long enough to be even, short enough to follow.
const RECENT: usize = 5;

/// Fields of the counters of a minute, in the order in which they are read.
pub(crate) const COUNTERS: [&str; 4] = ["done", "failed", "dead", "busy"];

/// What all workers of a queue did in one minute of the server's clock.
///
/// They tell once a second. What a worker did in the second before it was killed is
/// missing, and what it told with an answer that was lost may be counted twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Minute {
    /// When it began, in ms of the Unix epoch.
    pub start_ms: u64,
    /// Jobs that are done.
    pub done: u64,
    /// Attempts that failed, and are to be repeated.
    pub failed: u64,
    /// Jobs that became dead letters.
    pub dead: u64,
    /// How long handlers ran, all together.
    pub busy: Duration,
}

impl Minute {
    /// Attempts that ended.
    #[must_use]
    pub fn runs(&self) -> u64 {
        self.done + self.failed + self.dead
    }
}

/// What was done in both; it began when this one did.
impl AddAssign for Minute {
    fn add_assign(&mut self, other: Self) {
        self.done += other.done;
        self.failed += other.failed;
        self.dead += other.dead;
        self.busy += other.busy;
    }
}

/// The load of a queue: what an autoscaler goes by.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Load {
    /// Jobs that wait for a worker, or lie between two; not those that wait for a slot of
    /// their key, which start no sooner for another worker.
    pub waiting: u64,
    /// How long one job takes, on average over the last minutes; zero while nothing
    /// has run within the hour.
    pub service: Duration,
    /// Attempts that ended within a minute, on average over the last.
    pub runs_per_minute: f64,
}

impl Load {
    /// How long one slot would work on what waits.
    #[must_use]
    pub fn work(&self) -> Duration {
        let jobs = u32::try_from(self.waiting).unwrap_or(u32::MAX);
        self.service.saturating_mul(jobs)
    }

    /// Workers needed to keep up, and to work off what waits within `target`.
    ///
    /// Each of them runs `concurrency` jobs at once. Jobs are taken to come as fast as
    /// they end: where they come faster, what waits grows, and says so the next time.
    /// At least one while anything waits, and none where nothing waits or runs.
    #[must_use]
    pub fn workers(&self, target: Duration, concurrency: usize) -> u64 {
        let target = target.as_secs_f64().max(0.001);
        let service = self.service.as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let slots = {
            let arrival = self.runs_per_minute / 60.0;
            (self.waiting as f64 / target + arrival) * service / concurrency.max(1) as f64
        };
        let least = u64::from(self.waiting > 0 || self.runs_per_minute > 0.0);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "saturates, and is not negative"
        )]
        let workers = slots.ceil() as u64;
        workers.max(least)
    }
}

impl Queue {
    /// What was done in each minute of the last hour, oldest first.
    ///
    /// The last of the 61 is the minute that has not ended yet.
    ///
    /// # Errors
    /// [`Error::Redis`].
    pub async fn rates(&self, queue: &str) -> Result<Vec<Minute>, Error> {
        let mut minutes = BTreeMap::new();
        for keys in self.all_partitions(queue) {
            for one in self.rates_in(&keys).await? {
                let all: &mut Minute = minutes.entry(one.start_ms).or_default();
                all.start_ms = one.start_ms;
                *all += one;
            }
        }
        // The clocks of two nodes may be in two minutes.
        let known = u64::try_from(minutes.len()).unwrap_or(MINUTES);
        let surplus = usize::try_from(known.saturating_sub(MINUTES)).unwrap_or(0);
        Ok(minutes.into_values().skip(surplus).collect())
    }

    async fn rates_in(&self, keys: &Partition) -> Result<Vec<Minute>, Error> {
        let time = keys.connection.one(&redis::cmd("TIME")).await?;
        let now = clock(&time) / 60_000;
        let minutes = now.saturating_sub(MINUTES - 1)..=now;
        let mut pipeline = Pipeline::new();
        for minute in minutes.clone() {
            let read = pipeline.cmd("HMGET").arg(keys.counters(minute));
            read.arg(&COUNTERS);
        }
        let answers = keys.connection.all(&pipeline).await?;
        first_error(&answers)?;
        let both = minutes.zip(&answers);
        Ok(both.filter_map(read_minute).collect())
    }

    /// The load of a queue, of its counts and its rates.
    ///
    /// # Errors
    /// [`Error::Redis`].
    pub async fn load(&self, queue: &str) -> Result<Load, Error> {
        let mut waiting = 0;
        for keys in self.all_partitions(queue) {
            waiting += self.waiting_in(&keys).await?;
        }
        Ok(Load::of(waiting, &self.rates(queue).await?))
    }

    /// Jobs that wait for a worker, lie between two, or are due.
    async fn waiting_in(&self, keys: &Partition) -> Result<u64, Error> {
        let counts = self.counts_in(keys).await?;
        let held: u64 = self
            .consumers_in(keys)
            .await?
            .iter()
            .filter(|consumer| consumer.lease.is_some())
            .map(|consumer| consumer.in_hand)
            .sum();
        let time = keys.connection.one(&redis::cmd("TIME")).await?;
        let mut due = redis::cmd("ZCOUNT");
        due.arg(&keys.delayed).arg("-inf").arg(clock(&time));
        let due = number(&keys.connection.one(&due).await?);
        // What nobody has who lives waits too, and what is due but for a worker's tick:
        // with none left, nobody else would see that one is needed.
        Ok(counts.ready + counts.in_hand.saturating_sub(held) + due)
    }
}

impl Load {
    /// The load of a queue in which so many jobs wait, from its rates.
    #[must_use]
    pub fn of(waiting: u64, rates: &[Minute]) -> Self {
        // The last minute has not ended: too little has happened in it.
        let ended = &rates[..rates.len().saturating_sub(1)];
        let recent = &ended[ended.len().saturating_sub(RECENT)..];
        let runs = |minutes: &[Minute]| minutes.iter().map(Minute::runs).sum::<u64>();
        // Of the first that have seen anything run: a job an hour has an average too.
        let seen = [recent, ended, rates];
        let seen = seen.into_iter().find(|minutes| runs(minutes) > 0);
        let service = seen.map_or(Duration::ZERO, |minutes| {
            let busy: Duration = minutes.iter().map(|minute| minute.busy).sum();
            busy / u32::try_from(runs(minutes)).unwrap_or(u32::MAX)
        });
        #[expect(clippy::cast_precision_loss, reason = "an average")]
        let runs_per_minute = runs(recent) as f64 / recent.len().max(1) as f64;
        Self {
            waiting,
            service,
            runs_per_minute,
        }
    }
}

fn read_minute((minute, answer): (u64, &Value)) -> Option<Minute> {
    let Value::Array(counters) = answer else {
        return None;
    };
    let [done, failed, dead, busy] = counters.as_slice() else {
        return None;
    };
    Some(Minute {
        start_ms: minute * 60_000,
        done: number(done),
        failed: number(failed),
        dead: number(dead),
        busy: Duration::from_micros(number(busy)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minute(done: u64, busy: Duration) -> Minute {
        Minute {
            done,
            busy,
            ..Minute::default()
        }
    }

    #[test]
    fn workers_keep_up_and_work_off_what_waits() {
        let rates = vec![minute(600, Duration::from_secs(120)); 61];
        let load = Load::of(3000, &rates);
        assert_eq!(load.service, Duration::from_millis(200));
        assert!((load.runs_per_minute - 600.0).abs() < 1e-9);
        assert_eq!(load.work(), Duration::from_secs(600));
        // Ten jobs a second take 2 slots, and 3000 in a minute 10 more.
        assert_eq!(load.workers(Duration::from_secs(60), 4), 3);
        assert_eq!(load.workers(Duration::from_secs(60), 12), 1);
    }

    #[test]
    fn an_idle_queue_needs_nobody_and_a_new_one_somebody() {
        let idle = vec![Minute::default(); 61];
        assert_eq!(Load::of(0, &idle).workers(Duration::from_secs(60), 4), 0);
        assert_eq!(Load::of(9, &idle).workers(Duration::from_secs(60), 4), 1);
        assert_eq!(
            Load::of(9, &[]),
            Load {
                waiting: 9,
                ..Load::default()
            }
        );
    }

    #[test]
    fn few_jobs_that_take_long_need_their_slots_too() {
        let mut rates = vec![Minute::default(); 61];
        rates[58] = minute(3, Duration::from_secs(900));
        // Three in five minutes, five minutes each.
        assert_eq!(Load::of(0, &rates).workers(Duration::from_secs(60), 1), 3);
    }

    #[test]
    fn what_ran_long_ago_or_just_now_has_an_average_too() {
        let mut rates = vec![Minute::default(); 61];
        rates[0] = minute(1, Duration::from_secs(30));
        assert_eq!(Load::of(2, &rates).work(), Duration::from_secs(60));
        rates[0] = Minute::default();
        rates[60] = minute(2, Duration::from_secs(30));
        assert_eq!(Load::of(2, &rates).work(), Duration::from_secs(30));
    }
}

//! Limits for requests, kept in the queue's Redis and exact over all processes.
//!
//! A service that limits who may log in how often has a Redis already, and this crate has the
//! way to it, whatever kind it is. Nothing here touches a job.
//!
//! ```no_run
//! # use std::time::Duration;
//! # use queue::{Queue, limit::{Limit, Limiter}};
//! # async fn log_in(queue: &Queue, client: &str, account: &str) -> Result<(), queue::Error> {
//! let limiter = Limiter::new(queue);
//! let minute = Limit { requests: 10, per: Duration::from_secs(60), burst: 10 };
//! let taken = limiter.take(&[(client, minute), (account, minute)]).await?;
//! if !taken.allowed {
//!     println!("come back in {:?}", taken.retry_after());
//! }
//! # Ok(())
//! # }
//! ```

use std::time::Duration;

use redis::Value;

use crate::{Error, Queue, connection::Connection, reply::number, scripts};

/// How many requests are let through in a time.
///
/// It is kept by the generic cell rate algorithm, without windows that begin anew: in no time
/// `t` are there more than `burst + requests * t / per`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Requests in [`Limit::per`], 1 to 1,000,000.
    pub requests: u32,
    /// The time, 1 ms to 1 day.
    pub per: Duration,
    /// Requests that may come at once after a rest, 1 to 1,000,000.
    pub burst: u32,
}

impl Limit {
    const RULE: &'static str =
        "limit: 1 to 1000000 requests, and a burst of as many, in 1 ms to 1 day";

    fn is_possible(&self) -> bool {
        let numbers = 1..=1_000_000;
        let times = Duration::from_millis(1)..=Duration::from_secs(24 * 60 * 60);
        numbers.contains(&self.requests)
            && numbers.contains(&self.burst)
            && times.contains(&self.per)
    }

    /// Between two requests, in µs.
    fn interval_us(&self) -> f64 {
        self.per.as_secs_f64() * 1e6 / f64::from(self.requests)
    }
}

/// What one limit has after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Requests that it would let through now.
    pub remaining: u64,
    /// How long until it is one more; 0 when it is all of them. Rounded up to ms.
    pub more_in: Duration,
    /// How long until it is all of them. Rounded up to ms.
    pub full_in: Duration,
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// Whether every limit let it through. Otherwise none counts it.
    pub allowed: bool,
    /// Each limit, in the order in which they were given.
    pub quotas: Vec<Quota>,
}

impl Taken {
    /// How long until a refused request would be let through, unless others are quicker.
    #[must_use]
    pub fn retry_after(&self) -> Duration {
        let refusing = self.quotas.iter().filter(|quota| quota.remaining == 0);
        let longest = refusing.map(|quota| quota.more_in).max();
        longest.filter(|_| !self.allowed).unwrap_or_default()
    }
}

/// Counts requests against limits; a clone shares the connection.
#[derive(Clone)]
pub struct Limiter {
    connection: Connection,
    /// What the names of its keys begin with.
    prefix: String,
}

impl Limiter {
    /// In the Redis and the namespace of this queue.
    ///
    /// All keys share one hash tag, so in a Redis Cluster one node has them.
    #[must_use]
    pub fn new(queue: &Queue) -> Self {
        let prefix = format!("{{{}:limits}}:tat:", queue.settings().namespace);
        Self {
            connection: queue.connection_to(&prefix),
            prefix,
        }
    }

    /// Takes one request from each of these limits, or, where one has none left, from none.
    ///
    /// A limit is named by a key, which callers should not let grow with what they are sent:
    /// hash it. One key has the same limit each time. It is one round trip, by the
    /// server's clock; nothing is left in Redis once the limits have recovered.
    ///
    /// # Errors
    /// [`Error::Settings`] for an impossible limit, and those of Redis. When an answer is lost
    /// the request may have been counted.
    pub async fn take(&self, limits: &[(&str, Limit)]) -> Result<Taken, Error> {
        if limits.iter().any(|(_, limit)| !limit.is_possible()) {
            return Err(Error::Settings(vec![Limit::RULE.to_owned()]));
        }
        let keys: Vec<String> = limits
            .iter()
            .map(|(key, _)| format!("{}{key}", self.prefix))
            .collect();
        let mut cmd = scripts::call(&scripts::LIMIT, &keys);
        for (_, limit) in limits {
            cmd.arg(limit.interval_us()).arg(limit.burst);
        }
        let answer = self.connection.one(&cmd).await?;
        read(&answer, limits.len()).ok_or(Error::Reply("limit.lua"))
    }
}

fn read(answer: &Value, limits: usize) -> Option<Taken> {
    let Value::Array(parts) = answer else {
        return None;
    };
    let (allowed, quotas) = parts.split_first()?;
    let quotas: Vec<Quota> = quotas
        .iter()
        .map(|quota| match quota {
            Value::Array(parts) => match parts.as_slice() {
                [left, more, full] => Some(Quota {
                    remaining: number(left),
                    more_in: Duration::from_millis(number(more)),
                    full_in: Duration::from_millis(number(full)),
                }),
                _ => None,
            },
            _ => None,
        })
        .collect::<Option<_>>()?;
    (quotas.len() == limits).then_some(Taken {
        allowed: *allowed == Value::Int(1),
        quotas,
    })
}

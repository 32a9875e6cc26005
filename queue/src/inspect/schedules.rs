use redis::Value;

use super::scored;
use crate::{Error, Queue, partitions::queue_of, reply::text};

/// Most schedules told; more than any code has.
const MOST: usize = 1000;

/// A schedule that workers follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scheduled {
    /// Its name.
    pub name: String,
    /// Its rule, such as `cron 0 6 * * * Europe/Berlin` or `every 60000 ms`.
    pub rule: String,
    /// Its next slot, in ms of the Unix epoch.
    pub next_ms: u64,
    /// When a worker that has this rule last said so, in ms of the server's clock.
    pub seen_ms: u64,
}

impl Queue {
    /// The schedules of a queue by their next slots, at most 1000.
    ///
    /// # Errors
    /// [`Error::Redis`].
    pub async fn schedules(&self, queue: &str) -> Result<Vec<Scheduled>, Error> {
        // The first partition has them all.
        let keys = self.partition(queue_of(queue));
        let mut cmd = redis::cmd("ZRANGE");
        cmd.arg(&keys.cron).arg(0).arg(MOST - 1).arg("WITHSCORES");
        let Value::Array(rows) = keys.connection.one(&cmd).await? else {
            return Err(Error::Reply("ZRANGE"));
        };
        let slots: Vec<(String, u64)> = rows.iter().filter_map(scored).collect();
        if slots.is_empty() {
            return Ok(Vec::new());
        }
        let names: Vec<&str> = slots.iter().map(|(name, _)| name.as_str()).collect();
        let mut cmd = redis::cmd("HMGET");
        cmd.arg(&keys.cronspec).arg(names);
        let Value::Array(specs) = keys.connection.one(&cmd).await? else {
            return Err(Error::Reply("HMGET"));
        };
        let both = slots.into_iter().zip(specs);
        Ok(both.filter_map(scheduled).collect())
    }
}

/// Puts the parts together; none for a schedule that was removed meanwhile, and for what
/// stands beside the schedules: slots that were asked for.
fn scheduled(((name, next_ms), spec): ((String, u64), Value)) -> Option<Scheduled> {
    let Value::BulkString(spec) = spec else {
        return None;
    };
    let spec = text(spec);
    // `SEEN BEGAN RULE`, as enroll.lua writes it.
    let mut words = spec.splitn(3, ' ');
    let (seen, _, rule) = (words.next()?, words.next()?, words.next()?);
    Some(Scheduled {
        name,
        rule: rule.to_owned(),
        next_ms,
        seen_ms: seen.parse().ok()?,
    })
}

//! What is set for some queues, as `queue=value,queue=value`.

use std::{collections::BTreeMap, str::FromStr};

use super::Reader;

/// How fast jobs of a queue start: as text `jobs/seconds`, or `jobs/seconds/burst`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueRate {
    /// Jobs that start in the time.
    pub jobs: u32,
    /// The time, in seconds.
    pub seconds: u32,
    /// Jobs that may start at once after a rest.
    pub burst: u32,
}

/// A text is no rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidRate;

impl FromStr for QueueRate {
    type Err = InvalidRate;

    fn from_str(text: &str) -> Result<Self, InvalidRate> {
        let mut numbers = text.split('/').map(|number| match number.parse() {
            Ok(number @ 1..=1_000_000) => Ok(number),
            _ => Err(InvalidRate),
        });
        let rate = Self {
            jobs: numbers.next().ok_or(InvalidRate)??,
            seconds: numbers.next().ok_or(InvalidRate)??,
            burst: numbers.next().unwrap_or(Ok(1))?,
        };
        // A day, which is the longest that a queue takes.
        match numbers.next() {
            None if rate.seconds <= 24 * 60 * 60 => Ok(rate),
            _ => Err(InvalidRate),
        }
    }
}

pub(super) fn at_least_one(text: &str) -> Option<u64> {
    text.parse().ok().filter(|number| *number >= 1)
}

/// Reads each queue and its value.
pub(super) fn per_queue<T>(
    reader: &mut Reader,
    name: &'static str,
    what: &str,
    example: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> BTreeMap<String, T> {
    let mut values = BTreeMap::new();
    for item in reader.list(name) {
        let parts = item.split_once('=').filter(|(queue, _)| !queue.is_empty());
        let parts = parts.and_then(|(queue, text)| Some((queue, parse(text)?)));
        if let Some((queue, value)) = parts {
            values.insert(queue.to_owned(), value);
        } else {
            let wrong =
                format!("{item:?} is not a queue and its {what}, such as default={example}");
            reader.problem(name, wrong, "");
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read() {
        let rate = |jobs, seconds, burst| QueueRate {
            jobs,
            seconds,
            burst,
        };
        assert_eq!("100/60".parse(), Ok(rate(100, 60, 1)));
        assert_eq!("5/1/10".parse(), Ok(rate(5, 1, 10)));
        for wrong in ["", "5", "0/1", "5/0", "5/1/0", "5/1/1/1", "5/86401", "x/1"] {
            assert_eq!(wrong.parse::<QueueRate>(), Err(InvalidRate), "{wrong}");
        }
    }
}

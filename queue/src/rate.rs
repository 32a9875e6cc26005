use std::time::Duration;

/// How many jobs of a queue all workers together start in a time.
///
/// It is kept by the generic cell rate algorithm, without windows that begin anew: in no
/// time `t` more than `burst + jobs * t / per` start. A job that another worker had in hand
/// starts again at once, and is paid for afterwards, as far as one more burst goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Jobs in [`Rate::per`].
    pub jobs: u32,
    /// The time in which they start.
    pub per: Duration,
    /// Jobs that may start at once after a rest, at least 1.
    pub burst: u32,
}

impl Rate {
    pub(crate) const RULE: &'static str =
        "rate: 1 to 1000000 jobs, and a burst of as many, in 1 ms to 1 day";

    /// So many jobs in a second, evenly.
    #[must_use]
    pub fn per_second(jobs: u32) -> Self {
        Self {
            jobs,
            per: Duration::from_secs(1),
            burst: 1,
        }
    }

    pub(crate) fn is_possible(&self) -> bool {
        let numbers = 1..=1_000_000;
        let times = Duration::from_millis(1)..=Duration::from_secs(24 * 60 * 60);
        numbers.contains(&self.jobs) && numbers.contains(&self.burst) && times.contains(&self.per)
    }

    /// Between two starts, in µs.
    pub(crate) fn interval_us(&self) -> f64 {
        self.per.as_secs_f64() * 1e6 / f64::from(self.jobs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_even_and_within_bounds() {
        let rate = Rate::per_second(3);
        assert!((rate.interval_us() - 333_333.333).abs() < 0.01);
        assert!(rate.is_possible());
        for wrong in [
            Rate { jobs: 0, ..rate },
            Rate { burst: 0, ..rate },
            Rate {
                per: Duration::ZERO,
                ..rate
            },
        ] {
            assert!(!wrong.is_possible(), "{wrong:?}");
        }
    }
}

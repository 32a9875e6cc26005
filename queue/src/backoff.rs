use std::time::Duration;

/// Longest wait after the first failed attempt.
const BASE: Duration = Duration::from_secs(2);
/// Longest wait at all.
const CAP: Duration = Duration::from_secs(60 * 60);

/// A random wait between zero and the ceiling of the attempt (1 is the first).
///
/// "Full jitter" of M. Brooker, "Exponential Backoff And Jitter" (AWS Architecture
/// Blog, 2015): it spreads the retries of jobs that failed together best.
pub(crate) fn full_jitter(attempt: u16) -> Duration {
    ceiling(attempt).mul_f64(fastrand::f64())
}

/// `min(CAP, BASE * 2^(attempt - 1))`.
fn ceiling(attempt: u16) -> Duration {
    let doublings = u32::from(attempt.saturating_sub(1)).min(31);
    BASE.saturating_mul(1 << doublings).min(CAP)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn waits_stay_under_a_ceiling_that_only_grows(attempt in 0..u16::MAX) {
            prop_assert!(full_jitter(attempt) <= ceiling(attempt));
            prop_assert!(ceiling(attempt) <= ceiling(attempt + 1));
            prop_assert!(ceiling(attempt) <= CAP);
            prop_assert!(ceiling(attempt) >= BASE);
        }
    }
}

//! Times in words, the same wherever people read of a queue.

use std::time::Duration;

use jiff::Timestamp;

/// `3 s`, `5 min`, `2 h`, `9 days`: as exact as one wants to know.
#[must_use]
pub fn span(time: Duration) -> String {
    match time.as_secs() {
        0 => format!("{} ms", time.as_millis()),
        seconds @ 1..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

/// `2026-11-22 06:54:45Z`, of ms of the Unix epoch; nothing for what no calendar has.
#[must_use]
pub fn moment(ms: u64) -> String {
    let at = i64::try_from(ms).ok();
    let at = at.and_then(|ms| Timestamp::from_millisecond(ms).ok());
    at.map_or_else(String::new, |at| {
        at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_as_exact_as_one_wants_to_know() {
        let of = |seconds| span(Duration::from_secs(seconds));
        assert_eq!(span(Duration::from_millis(20)), "20 ms");
        assert_eq!(
            [of(3), of(300), of(7_200), of(900_000)],
            ["3 s", "5 min", "2 h", "10 days"]
        );
        assert_eq!(moment(1_700_000_000_000), "2023-11-14 22:13:20Z");
        assert_eq!(moment(u64::MAX), "");
    }
}

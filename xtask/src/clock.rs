//! Dates without a library: what the verbs read and print is UTC.
//!
//! Days become dates and back by Howard Hinnant's algorithms
//! (<https://howardhinnant.github.io/date_algorithms.html>).

use std::time::{Duration, SystemTime};

/// Nanoseconds since 1970, UTC. Good until 2262.
pub(crate) type Nanos = i64;

/// Nanoseconds of a second.
pub(crate) const SECOND: Nanos = 1_000_000_000;

/// Seconds of a day.
const DAY: i64 = 86_400;

/// The machine's time; 1970 for a clock that is before it.
pub(crate) fn now() -> Nanos {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| {
        Nanos::try_from(since.as_nanos()).unwrap_or(Nanos::MAX)
    })
}

/// Lets time pass.
#[expect(
    clippy::disallowed_methods,
    reason = "the command has no executor whose thread could be blocked"
)]
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// Year, month and day.
pub(crate) fn date(at: Nanos) -> (i64, i64, i64) {
    let days = at.div_euclid(DAY * SECOND) + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Years begin in March here, so that the leap day is the last.
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

/// Hours, minutes, seconds and milliseconds.
pub(crate) fn time_of_day(at: Nanos) -> (i64, i64, i64, i64) {
    let millis = at.rem_euclid(DAY * SECOND) / 1_000_000;
    let seconds = millis / 1000;
    (
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60,
        millis % 1000,
    )
}

/// A time as RFC 3339 has it. A space may stand for the `T`; seconds, their fraction, the time of
/// day and the zone may be missing (then it is UTC).
pub(crate) fn parse(text: &str) -> Option<Nanos> {
    let (date, rest) = text.split_at_checked(10)?;
    let days = days(date)?;
    if rest.is_empty() {
        return days.checked_mul(DAY)?.checked_mul(SECOND);
    }
    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let end = rest.find(['Z', 'z', '+', '-']).unwrap_or(rest.len());
    let (clock, zone) = rest.split_at_checked(end)?;
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let mut parts = clock.split(':');
    let hour = number(parts.next()?, 23)?;
    let minute = number(parts.next()?, 59)?;
    let second = parts.next().map_or(Some(0), |text| number(text, 60))?;
    if parts.next().is_some() {
        return None;
    }
    let seconds = days * DAY + hour * 3600 + minute * 60 + second - offset(zone)?;
    seconds
        .checked_mul(SECOND)?
        .checked_add(nanos_of(fraction)?)
}

/// `2026-11-22`, as days since 1970.
fn days(date: &str) -> Option<i64> {
    let mut parts = date.split('-');
    let year = number(parts.next()?, 9999)?;
    let month = number(parts.next()?, 12).filter(|month| *month > 0)?;
    let day = number(parts.next()?, 31).filter(|day| *day > 0)?;
    let year = year - i64::from(month <= 2);
    let year_of_era = year.rem_euclid(400);
    let shifted_month = (month + 9) % 12;
    let day_of_year = (153 * shifted_month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some(year.div_euclid(400) * 146_097 + day_of_era - 719_468)
}

/// `Z`, `+01:00` or nothing, in seconds ahead of UTC.
fn offset(zone: &str) -> Option<i64> {
    let Some(digits) = zone.strip_prefix(['+', '-']) else {
        return matches!(zone, "" | "Z" | "z").then_some(0);
    };
    let (hours, minutes) = digits.split_once(':')?;
    let seconds = number(hours, 23)? * 3600 + number(minutes, 59)? * 60;
    Some(if zone.starts_with('-') {
        -seconds
    } else {
        seconds
    })
}

/// The digits behind a point; what is finer than a nanosecond is left out.
fn nanos_of(fraction: &str) -> Option<Nanos> {
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits: String = fraction
        .chars()
        .chain("000000000".chars())
        .take(9)
        .collect();
    digits.parse().ok()
}

fn number(text: &str, most: i64) -> Option<i64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = is_number.then(|| text.parse().ok())??;
    (number <= most).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_and_without_their_small_parts() {
        let cases = [
            ("1970-01-01", Some(0)),
            ("1970-01-01T00:00:00.5Z", Some(SECOND / 2)),
            ("2000-02-29 00:00", Some(951_782_400 * SECOND)),
            ("2026-11-30T23:59:59+00:00", Some(1_796_083_199 * SECOND)),
            ("2026-12-01T00:59:59+01:00", Some(1_796_083_199 * SECOND)),
            (
                "2026-11-30T23:59:59.123456789Z",
                Some(1_796_083_199 * SECOND + 123_456_789),
            ),
            ("2026-13-01", None),
            ("2026-11-30T", None),
            ("2026-11-30T25:00", None),
            ("2026-11-30T23:59:59 CET", None),
            ("yesterday", None),
            ("ääääääääää", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text), expected, "{text}");
        }
    }

    #[test]
    fn a_time_becomes_the_date_that_it_was_read_from() {
        // As `date -u -d @N` prints them.
        for (seconds, expected) in [
            (0, (1970, 1, 1)),
            (951_782_399, (2000, 2, 28)),
            (951_782_400, (2000, 2, 29)),
            (1_796_083_199, (2026, 11, 30)),
            (4_107_542_400, (2100, 3, 1)),
        ] {
            assert_eq!(date(seconds * SECOND), expected);
        }
        assert_eq!(
            time_of_day(1_796_083_199 * SECOND + 42_999_999),
            (23, 59, 59, 42)
        );
    }
}

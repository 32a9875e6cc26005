//! Slots, policies and mistakes, without a Redis.

use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use super::*;
use crate::{Error, JobContext, JobError, Registry};

#[derive(Serialize, Deserialize)]
struct Report {
    slot: SystemTime,
}

impl Job for Report {
    const NAME: &'static str = "report";
    const QUEUE: &'static str = "reports";
}

fn plan(schedule: Schedule) -> Plan {
    Plan::new(schedule, |slot| Report { slot }).unwrap()
}

fn cron(expression: &str, zone: &str) -> Plan {
    plan(Schedule::cron("report", expression).zone(zone))
}

fn ms(time: &str) -> u64 {
    let time: Timestamp = time.parse().unwrap();
    u64::try_from(time.as_millisecond()).unwrap()
}

/// The first slots after a time, by the clock of UTC.
fn slots<const N: usize>(plan: &Plan, after: &str) -> [String; N] {
    let mut at = ms(after);
    std::array::from_fn(|_| {
        at = plan.after(at).unwrap();
        let slot = Timestamp::from_millisecond(i64::try_from(at).unwrap());
        slot.unwrap().strftime("%m-%d %H:%M").to_string()
    })
}

#[test]
fn a_time_of_day_follows_the_clock_of_its_zone() {
    let berlin = cron("0 6 * * *", "Europe/Berlin");
    let winter = slots(&berlin, "2026-01-01T05:00:00Z");
    assert_eq!(winter, ["01-02 05:00", "01-03 05:00"]);
    let summer = slots(&berlin, "2026-07-01T05:00:00Z");
    assert_eq!(summer, ["07-02 04:00", "07-03 04:00"]);
    let utc = plan(Schedule::cron("report", "0 6 * * MON-FRI"));
    let over_a_weekend = slots(&utc, "2026-11-20T06:00:00Z");
    assert_eq!(over_a_weekend, ["11-23 06:00", "11-24 06:00"]);
}

#[test]
fn a_fixed_time_fires_every_day_also_where_the_clock_leaps_over_it() {
    let berlin = cron("30 2 * * *", "Europe/Berlin");
    let spring = slots(&berlin, "2026-03-28T00:00:00Z");
    // From 02:00 to 03:00 on the 29th: at 03:00, which is 01:00 of UTC.
    assert_eq!(spring, ["03-28 01:30", "03-29 01:00", "03-30 00:30"]);
    // Midnight itself does not exist on the 6th.
    let santiago = cron("0 0 * * *", "America/Santiago");
    let spring = slots(&santiago, "2026-09-05T00:00:00Z");
    assert_eq!(spring, ["09-05 04:00", "09-06 04:00", "09-07 03:00"]);
}

#[test]
fn a_fixed_time_fires_once_where_the_clock_shows_it_twice() {
    let berlin = cron("30 2 * * *", "Europe/Berlin");
    let autumn = slots(&berlin, "2026-10-24T12:00:00Z");
    assert_eq!(autumn, ["10-25 00:30", "10-26 01:30", "10-27 01:30"]);
    // Half an hour back, at 02:00.
    let island = cron("45 1 * * *", "Australia/Lord_Howe");
    let autumn = slots(&island, "2026-04-03T15:00:00Z");
    assert_eq!(autumn, ["04-04 14:45", "04-05 15:15"]);
}

#[test]
fn other_expressions_fire_whenever_the_clock_shows_them() {
    let often = cron("*/30 * * * *", "Europe/Berlin");
    let autumn = slots(&often, "2026-10-25T00:00:00Z");
    assert_eq!(
        autumn,
        ["10-25 00:30", "10-25 01:00", "10-25 01:30", "10-25 02:00"]
    );
    let spring = slots(&often, "2026-03-29T00:30:00Z");
    assert_eq!(spring, ["03-29 01:00", "03-29 01:30"]);
    let even_hours = cron("0 */2 * * *", "Europe/Berlin");
    let spring = slots(&even_hours, "2026-03-28T22:30:00Z");
    assert_eq!(spring, ["03-28 23:00", "03-29 02:00"], "no 02:00 there");
}

#[test]
fn periods_are_counted_from_the_epoch() {
    let plan = plan(Schedule::every("report", Duration::from_millis(1500)));
    assert_eq!(plan.after(0), Some(1500));
    assert_eq!(plan.after(1499), Some(1500));
    assert_eq!(plan.after(1500), Some(3000));
    assert_eq!(plan.slots.until(2999), Some(1500));
    assert_eq!(plan.slots.until(3000), Some(3000));
}

proptest! {
    /// What comes next and what came last are answered by two searches of the
    /// library; around a change of the clock they must agree.
    #[test]
    fn slots_are_the_same_looking_forward_and_back(
        expression in prop::sample::select(vec![
            "30 2 * * *", "0 0 * * *", "0 3 * * *", "15 1 * * *", "*/7 * * * *",
            "0 */3 * * *", "30 1,2,3 * * *", "0 2 29 3 *", "30 2 * * SUN", "@hourly",
        ]),
        (zone, change) in prop::sample::select(vec![
            ("Europe/Berlin", "2026-03-29T01:00:00Z"),
            ("Europe/Berlin", "2026-10-25T01:00:00Z"),
            ("America/New_York", "2026-03-08T07:00:00Z"),
            ("America/New_York", "2026-11-01T06:00:00Z"),
            ("America/Santiago", "2026-09-06T04:00:00Z"),
            ("Australia/Lord_Howe", "2026-04-04T15:00:00Z"),
            ("Australia/Lord_Howe", "2026-10-03T15:30:00Z"),
            ("UTC", "2026-06-01T00:00:00Z"),
        ]),
        offset in -172_800_000i64..172_800_000,
    ) {
        let plan = cron(expression, zone);
        let now = ms(change).checked_add_signed(offset).unwrap();
        let next = plan.after(now).unwrap();
        prop_assert!(next > now);
        prop_assert_eq!(plan.slots.until(next), Some(next));
        let last = plan.slots.until(now).unwrap();
        prop_assert!(last <= now);
        prop_assert_eq!(plan.after(last), Some(next), "nothing lies between");
        prop_assert_eq!(plan.after(last - 1), Some(last));
    }
}

const HOUR: u64 = 3_600_000;

fn hourly(policy: CatchUp) -> Plan {
    plan(Schedule::every("report", Duration::from_millis(HOUR)).catch_up(policy))
}

fn due(plan: &Plan, slot: u64, now: u64, page: usize) -> (Vec<u64>, u64) {
    let Due { fire, next } = plan.due(slot, now, page).unwrap();
    (fire, next)
}

#[test]
fn in_time_every_policy_fires_the_slot() {
    for policy in [
        CatchUp::Skip,
        CatchUp::One,
        CatchUp::All { at_most: 1 },
        CatchUp::All { at_most: 9 },
    ] {
        let now = 7 * HOUR + 3;
        let expected = (vec![7 * HOUR], 8 * HOUR);
        assert_eq!(due(&hourly(policy), 7 * HOUR, now, 50), expected);
    }
}

#[test]
fn skip_fires_the_latest_within_a_minute_and_nothing_else() {
    let plan = hourly(CatchUp::Skip);
    let minute = 60_000;
    for (now, fire) in [
        (7 * HOUR + minute, vec![7 * HOUR]),
        (7 * HOUR + minute + 1, vec![]),
        (8 * HOUR - 1, vec![]),
    ] {
        assert_eq!(due(&plan, 7 * HOUR, now, 50), (fire, 8 * HOUR), "{now}");
    }
    let later = due(&plan, 2 * HOUR, 7 * HOUR + 1, 50);
    assert_eq!(later, (vec![7 * HOUR], 8 * HOUR), "the older are skipped");
}

#[test]
fn one_fires_the_latest_however_late() {
    let plan = hourly(CatchUp::One);
    let late = due(&plan, 2 * HOUR, 8 * HOUR - 1, 50);
    assert_eq!(late, (vec![7 * HOUR], 8 * HOUR));
}

#[test]
fn all_fires_the_newest_in_pages_the_oldest_first() {
    let plan = hourly(CatchUp::All { at_most: 5 });
    let now = 100 * HOUR + 1;
    let hours = |range: std::ops::RangeInclusive<u64>| range.map(|h| h * HOUR).collect::<Vec<_>>();
    assert_eq!(due(&plan, 3 * HOUR, now, 50), (hours(96..=100), 101 * HOUR));
    assert_eq!(
        due(&plan, 98 * HOUR, now, 50),
        (hours(98..=100), 101 * HOUR)
    );
    // The second page goes on where the first ended.
    assert_eq!(due(&plan, 3 * HOUR, now, 2), (hours(96..=97), 98 * HOUR));
    assert_eq!(due(&plan, 98 * HOUR, now, 2), (hours(98..=99), 100 * HOUR));
    assert_eq!(
        due(&plan, 100 * HOUR, now, 2),
        (hours(100..=100), 101 * HOUR)
    );
}

#[test]
fn a_slot_of_older_zone_rules_still_counts() {
    let plan = hourly(CatchUp::All { at_most: 9 });
    let odd = 7 * HOUR + 5;
    let expected = (vec![odd, 8 * HOUR], 9 * HOUR);
    assert_eq!(due(&plan, odd, 8 * HOUR, 50), expected);
    assert_eq!(due(&plan, odd, odd, 50), (vec![odd], 8 * HOUR));
}

#[test]
fn a_slot_has_one_id_for_ever() {
    let slot = ms("2026-11-22T06:00:00Z");
    let id = slot_id("slipway", "reports", "daily", slot);
    // Another id for a slot that a release before may fire, too, would double its job.
    assert_eq!(id.to_string(), "01a201d7-0b00-8f93-b9ab-ecf07ef86680");
    let uuid = id.as_uuid();
    assert_eq!(uuid.get_version_num(), 8);
    assert_eq!(uuid.get_variant(), uuid::Variant::RFC4122);
    let others = [
        slot_id("slipway2", "reports", "daily", slot),
        slot_id("slipway", "report", "sdaily", slot),
        slot_id("slipway", "reports", "weekly", slot),
        slot_id("slipway", "reports", "daily", slot + 1),
    ];
    assert!(!others.contains(&id));
    assert!(id < others[3], "sorted by time");
}

#[test]
fn a_job_that_cannot_be_made_is_an_error_and_no_panic() {
    let every = || Schedule::every("report", Duration::from_secs(1));
    let good = plan(every());
    let envelope = good.job("slipway", 5000, 5003).unwrap();
    assert_eq!(envelope.id, slot_id("slipway", "reports", "report", 5000));
    assert_eq!((envelope.enqueued_at_ms, envelope.attempt), (5003, 1));
    let report: Report = serde_json::from_slice(&envelope.payload).unwrap();
    assert_eq!(report.slot, UNIX_EPOCH + Duration::from_secs(5));

    let bad = Plan::new(every(), |_| -> Report { panic!("no report") }).unwrap();
    let error = bad.job("slipway", 5000, 5003).unwrap_err();
    assert!(matches!(error, MakeError::Panicked));
}

#[test]
fn a_rule_reads_the_same_however_it_is_written() {
    let spaced = Schedule::cron("report", " 0  6 * * * ").zone("europe/berlin");
    assert_eq!(plan(spaced).rule, "cron 0 6 * * * Europe/Berlin");
    let every = Schedule::every("report", Duration::from_secs(90));
    assert_eq!(plan(every).rule, "every 90000 ms");
}

#[test]
fn all_mistakes_are_told_at_once_with_what_would_be_right() {
    let report = |slot| Report { slot };
    let all_zero = CatchUp::All { at_most: 0 };
    async fn run(_: Report, _: JobContext<()>) -> Result<(), JobError> {
        Ok(())
    }
    let wrong = Registry::<()>::new()
        .register::<Report, _, _>(run)
        .schedule(Schedule::cron("a", "0 6 * * *"), report)
        .schedule(Schedule::cron("a", "0 7 * * *"), report)
        .schedule(Schedule::cron("B!", "0 25 * * *").zone("Mars/Base"), report)
        .schedule(Schedule::cron("c", "0 0 6 * * *"), report)
        .schedule(Schedule::cron("d", "0 0 30 2 *").catch_up(all_zero), report)
        .schedule(Schedule::every("e", Duration::from_millis(999)), report)
        .schedule(Schedule::every("f", Duration::MAX).zone("UTC"), report)
        .schedule(
            Schedule::every("g", Duration::from_micros(1_500_500)),
            report,
        );
    let Err(Error::Settings(wrong)) = wrong.check() else {
        panic!("accepted");
    };
    for (mistake, expected) in wrong.iter().zip([
        "schedule \"a\" stands twice",
        "schedule \"B!\": the name: use a-z, 0-9",
        "schedule \"B!\": the zone \"Mars/Base\" is unknown: use a name of the IANA",
        "schedule \"B!\": \"0 25 * * *\" is no cron expression (",
        "schedule \"c\": \"0 0 6 * * *\" is no cron expression (",
        "schedule \"d\": at_most 0: 1 to 1000",
        "schedule \"d\": \"0 0 30 2 *\" never comes",
        "schedule \"e\": the period 999ms: use whole milliseconds, 1 s to 10 years",
        "schedule \"f\": a period has no zone",
        "schedule \"f\": the period",
        "schedule \"g\": the period 1.5005s",
    ]) {
        assert!(mistake.starts_with(expected), "{mistake}");
    }
    assert_eq!(wrong.len(), 11, "{wrong:#?}");
    let five = "use five fields, minute, hour, day of month, month, day of week";
    assert!(wrong[3].contains(five), "{}", wrong[3]);
}

#[test]
fn a_schedule_needs_a_handler_for_its_job() {
    let every = Schedule::every("hourly", Duration::from_hours(1));
    let registry = Registry::<()>::new().schedule(every, |slot| Report { slot });
    let error = registry.check().unwrap_err().to_string();
    assert!(
        error.contains("schedule \"hourly\": register a handler for report of version 1"),
        "{error}"
    );
}

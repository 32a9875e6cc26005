//! Bars of what was done in each minute, as SVG that needs no script and no style attribute.

use std::collections::BTreeMap;

use queue::inspect::{Minute, moment};

/// Units of the drawing: a minute is so wide, its bar a little less, and the most is so high.
const STEP: usize = 10;
const BAR: usize = 8;
const HEIGHT: u64 = 120;
/// Whatever happened at all is seen.
const LEAST: u64 = 3;

/// A chart of minutes, oldest first; the last has not ended yet.
pub(super) struct Chart {
    pub(super) width: usize,
    pub(super) height: u64,
    /// What the upper edge stands for, in attempts per minute.
    pub(super) top: u64,
    /// The bars of each outcome as one path: they lie upon one another.
    pub(super) done: String,
    pub(super) failed: String,
    pub(super) dead: String,
    pub(super) columns: Vec<Column>,
    pub(super) totals: Minute,
}

/// One minute, for whoever points at it.
pub(super) struct Column {
    pub(super) x: usize,
    pub(super) text: String,
}

impl Chart {
    /// Draws these minutes below a round number.
    pub(super) fn of(minutes: &[Minute]) -> Self {
        Self::below(round_up(most(minutes)), minutes)
    }

    /// The same without a scale: the highest bar is as high as the chart.
    pub(super) fn small(minutes: &[Minute]) -> Self {
        Self::below(most(minutes).max(1), minutes)
    }

    fn below(top: u64, minutes: &[Minute]) -> Self {
        let mut chart = Self {
            width: minutes.len() * STEP,
            height: HEIGHT,
            top,
            done: String::new(),
            failed: String::new(),
            dead: String::new(),
            columns: Vec::with_capacity(minutes.len()),
            totals: Minute::default(),
        };
        for (at, minute) in minutes.iter().enumerate() {
            chart.draw(at * STEP, minute);
        }
        chart
    }

    fn draw(&mut self, x: usize, minute: &Minute) {
        let mut y = HEIGHT;
        for (path, number) in [
            (&mut self.done, minute.done),
            (&mut self.failed, minute.failed),
            (&mut self.dead, minute.dead),
        ] {
            if number == 0 {
                continue;
            }
            let height = (number.saturating_mul(HEIGHT) / self.top).max(LEAST).min(y);
            y -= height;
            path.push_str(&format!("M{x} {y}h{BAR}v{height}h-{BAR}z"));
        }
        let text = match minute.runs() {
            0 => "nothing ran".to_owned(),
            _ => format!(
                "{} done, {} failed, {} dead",
                minute.done, minute.failed, minute.dead
            ),
        };
        // Of `2026-11-22 06:54:00Z`, the hour and the minute.
        let at = moment(minute.start_ms);
        let at = at.get(11..16).unwrap_or_default();
        self.columns.push(Column {
            x,
            text: format!("{at} UTC: {text}"),
        });
        self.totals += *minute;
    }
}

/// The minutes of several queues as if they were one.
pub(super) fn together<'a>(queues: impl Iterator<Item = &'a [Minute]>) -> Vec<Minute> {
    let mut minutes = BTreeMap::new();
    for one in queues.flatten() {
        let all: &mut Minute = minutes.entry(one.start_ms).or_default();
        all.start_ms = one.start_ms;
        *all += *one;
    }
    minutes.into_values().collect()
}

/// Attempts that ended in the busiest of them.
fn most(minutes: &[Minute]) -> u64 {
    minutes.iter().map(Minute::runs).max().unwrap_or(0)
}

/// The next of 10, 20, 50, 100, 200 and so on.
fn round_up(most: u64) -> u64 {
    let mut top: u64 = 10;
    while top < most {
        let is_two = top.to_string().starts_with('2');
        let (times, by) = if is_two { (5, 2) } else { (2, 1) };
        top = match top.checked_mul(times) {
            Some(higher) => higher / by,
            None => return u64::MAX,
        };
    }
    top
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minute(start_ms: u64, [done, failed, dead]: [u64; 3]) -> Minute {
        Minute {
            start_ms,
            done,
            failed,
            dead,
            ..Minute::default()
        }
    }

    #[test]
    fn bars_lie_upon_one_another_and_the_least_is_seen() {
        let minutes = [
            minute(0, [50, 0, 50]),
            minute(60_000, [0; 3]),
            minute(120_000, [99, 1, 0]),
        ];
        let chart = Chart::of(&minutes);
        assert_eq!((chart.width, chart.top), (30, 100));
        assert_eq!(chart.done, "M0 60h8v60h-8zM20 2h8v118h-8z");
        assert_eq!(chart.dead, "M0 0h8v60h-8z");
        // One of a hundred would be a line, and above the upper edge with its least height.
        assert_eq!(chart.failed, "M20 0h8v2h-8z");
        assert_eq!(chart.columns[1].text, "00:01 UTC: nothing ran");
        assert_eq!(chart.totals.runs(), 200);
    }

    #[test]
    fn an_hour_without_jobs_is_drawn_too() {
        let chart = Chart::of(&[minute(0, [0; 3])]);
        assert_eq!((chart.top, chart.done.as_str()), (10, ""));
        assert_eq!(Chart::of(&[]).width, 0);
    }

    #[test]
    fn the_upper_edge_is_a_round_number() {
        let tops = [0, 10, 11, 21, 51, 101, 4_999].map(round_up);
        assert_eq!(tops, [10, 10, 20, 50, 100, 200, 5_000]);
        assert_eq!(round_up(u64::MAX), u64::MAX);
    }

    #[test]
    fn queues_add_up_minute_by_minute() {
        let (one, other) = (
            [minute(0, [1, 0, 0]), minute(60_000, [2, 0, 0])],
            [minute(60_000, [3, 1, 0]), minute(120_000, [4, 0, 0])],
        );
        let all = together([&one[..], &other].into_iter());
        let done: Vec<_> = all.iter().map(|minute| minute.done).collect();
        assert_eq!(done, [1, 5, 4]);
    }
}

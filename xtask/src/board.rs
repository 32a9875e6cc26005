//! What each service is at while several start: in place on a terminal, a line each in a pipe.

use std::time::{Duration, Instant};

use crate::terminal::{self, DIM, GREEN, Live, RED, Style, YELLOW};

/// How long services may take to become healthy, unless `--wait-timeout` says otherwise. A Postgres
/// that was killed first replays its log.
pub(crate) const LIMIT: Duration = Duration::from_secs(180);

/// How far a service is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Step {
    /// For another service, before it is started.
    Waits,
    /// Its process runs, or nearly.
    Starts,
    /// Healthy, and after how many seconds where that is known.
    Healthy(Option<f64>),
    /// Has done its work, after so many seconds.
    Done(f64),
    /// Ended or is not healthy.
    Failed,
}

impl Step {
    fn word(self) -> (&'static str, Style) {
        match self {
            Self::Waits => ("waits", DIM),
            Self::Starts => ("starting", YELLOW),
            Self::Healthy(_) => ("healthy", GREEN),
            Self::Done(_) => ("done", GREEN),
            Self::Failed => ("failed", RED),
        }
    }

    fn is_over(self) -> bool {
        !matches!(self, Self::Waits | Self::Starts)
    }
}

/// The services that start together.
pub(crate) struct Board {
    rows: Vec<Row>,
    /// Where a service stands among the others.
    order: fn(&str) -> usize,
    live: Live,
}

struct Row {
    name: String,
    step: Step,
    since: Instant,
    /// Whether it is at something else than when it came onto the board.
    has_moved: bool,
}

impl Board {
    /// An empty one; services stand in the order in which they are named first.
    pub(crate) fn new() -> Self {
        Self::in_order(|_| 0)
    }

    /// An empty one whose services stand in this order, whichever is named first.
    pub(crate) fn in_order(order: fn(&str) -> usize) -> Self {
        Self {
            rows: Vec::new(),
            order,
            live: Live::new(),
        }
    }

    /// Names a service that has run before: it is shown as it is, and not told of again.
    pub(crate) fn begin(&mut self, name: &str, step: Step) {
        if self.row(name).is_none() {
            let since = Instant::now();
            let name = name.to_owned();
            self.rows.push(Row {
                name,
                step,
                since,
                has_moved: false,
            });
            self.rows.sort_by_key(|row| (self.order)(&row.name));
        }
    }

    /// How far the service is now.
    pub(crate) fn set(&mut self, name: &str, step: Step) {
        self.begin(name, Step::Waits);
        let Some(at) = self.row(name) else { return };
        let row = &mut self.rows[at];
        // Seconds count from the first sign of life, and anew when it starts anew.
        if step == Step::Starts && row.step != step {
            row.since = Instant::now();
        }
        let is_news = step.is_over() && !row.step.is_over();
        row.has_moved |= row.step != step;
        row.step = step;
        if is_news && !terminal::is_live() {
            terminal::note(&self.line(&self.rows[at]));
        }
    }

    /// Seconds since the service began to start.
    pub(crate) fn seconds(&self, name: &str) -> f64 {
        self.row(name)
            .map_or(0.0, |at| self.rows[at].since.elapsed().as_secs_f64())
    }

    /// Shows it as it is now, with the running seconds, and `below` under it.
    pub(crate) fn draw(&self, below: Option<&str>) {
        let mut lines: Vec<String> = self.rows.iter().map(|row| self.line(row)).collect();
        lines.extend(below.map(|line| format!("  {line}")));
        self.live.show(&lines);
    }

    /// Leaves on the terminal what has happened, for a verb that prints no table afterwards.
    pub(crate) fn keep(self) {
        if terminal::is_live() {
            self.moved().for_each(|line| terminal::note(&line));
        }
    }

    /// The lines of services that were touched: the others are as they were before.
    fn moved(&self) -> impl Iterator<Item = String> {
        let rows = self.rows.iter().filter(|row| row.has_moved);
        rows.map(|row| self.line(row))
    }

    fn row(&self, name: &str) -> Option<usize> {
        self.rows.iter().position(|row| row.name == name)
    }

    fn line(&self, row: &Row) -> String {
        let names = self.rows.iter().map(|row| row.name.len());
        // As wide as the longest of the usual names, so that lines in a pipe stand below each other.
        let width = names.max().unwrap_or(0).max("postgres".len());
        let (word, style) = row.step.word();
        let seconds = match row.step {
            Step::Healthy(seconds) => seconds,
            Step::Done(seconds) => Some(seconds),
            Step::Starts => Some(row.since.elapsed().as_secs_f64()),
            Step::Waits | Step::Failed => None,
        };
        let seconds = seconds.map_or_else(String::new, |seconds| format!("{seconds:.1} s"));
        let word = terminal::mark(style, &format!("{word:<8}"));
        format!("  {:<width$}   {word}   {seconds}", row.name)
            .trim_end()
            .to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_goes_from_waiting_to_healthy() {
        let mut board = Board::new();
        board.set("redis", Step::Starts);
        board.set("redis", Step::Healthy(Some(2.04)));
        board.set("a-long-service", Step::Waits);
        assert_eq!(
            board.line(&board.rows[0]),
            "  redis            healthy    2.0 s"
        );
        assert_eq!(board.line(&board.rows[1]), "  a-long-service   waits");
    }

    #[test]
    fn services_stand_in_their_order() {
        let mut board = Board::in_order(|name| usize::from(name == "api"));
        for name in ["api", "redis", "postgres"] {
            board.set(name, Step::Waits);
        }
        let names: Vec<&str> = board.rows.iter().map(|row| row.name.as_str()).collect();
        assert_eq!(names, ["redis", "postgres", "api"]);
    }

    #[test]
    fn what_ran_before_is_no_news() {
        let mut board = Board::new();
        board.begin("api", Step::Healthy(None));
        board.begin("api", Step::Waits);
        assert_eq!(board.rows[0].step, Step::Healthy(None));
        assert_eq!(board.rows.len(), 1);
        board.set("api", Step::Healthy(None));
        assert_eq!(board.moved().count(), 0);
        board.set("worker", Step::Starts);
        board.set("worker", Step::Healthy(Some(1.0)));
        let moved: Vec<String> = board.moved().collect();
        assert_eq!(moved, ["  worker     healthy    1.0 s"]);
    }
}

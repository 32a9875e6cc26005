use std::{collections::BTreeSet, time::Duration};

use askama::Template;
use axum::{
    extract::{Query, State},
    http::StatusCode,
    response::Response,
};
use domain::jobs::QUEUES;
use futures_util::future::{try_join, try_join_all};
use queue::{
    Counts, Queue,
    inspect::{Load, Minute, State as JobState, span},
};

use super::{
    chart::{Chart, together},
    done::After,
    page::Page,
    row::process_of,
};
use crate::{
    App,
    problem::Problem,
    routes::admin::{
        ROOT,
        layout::{self, Layout},
        signed_in::SignedIn,
    },
};

/// Where there is no number.
const NOTHING: &str = "–";

#[derive(Template)]
#[template(path = "admin/overview.html")]
struct Overview<'a> {
    layout: Layout<'a>,
    page: Page<'a>,
    totals: Counts,
    oldest: String,
    runs: String,
    chart: Chart,
    queues: Vec<Line>,
}

/// A queue at a glance.
struct Line {
    name: &'static str,
    paused: bool,
    counts: Counts,
    cells: [Cell; 6],
    oldest: Option<Duration>,
    runs_per_minute: f64,
    /// Processes; each has a name of its own in every partition.
    workers: usize,
    minutes: Vec<Minute>,
    chart: Chart,
}

/// How many jobs are in a state.
struct Cell {
    state: JobState,
    label: &'static str,
    jobs: u64,
    /// What it means that there are some.
    tone: &'static str,
}

/// `GET /admin`: how many jobs are where, how old, and how fast they are worked off.
///
/// Nine round trips to Redis for each queue and partition, all of which are on their way at once
/// but for two that wait for another one.
pub(in crate::routes::admin) async fn show(
    State(app): State<App>,
    admin: SignedIn,
    Query(after): Query<After>,
) -> Result<Response, Problem> {
    let queues = try_join_all(QUEUES.map(|name| Line::read(&app.queue, name))).await?;
    let mut totals = Counts::default();
    for queue in &queues {
        totals += queue.counts;
    }
    let oldest = queues.iter().filter_map(|queue| queue.oldest).max();
    let minutes = together(queues.iter().map(|queue| &queue.minutes[..]));
    let template = Overview {
        layout: Layout::of(&admin, ROOT),
        page: Page::live(&admin, after.notice()),
        totals,
        oldest: oldest.map_or_else(|| NOTHING.to_owned(), span),
        runs: rate(queues.iter().map(|queue| queue.runs_per_minute).sum()),
        chart: Chart::of(&minutes),
        queues,
    };
    Ok(layout::page(StatusCode::OK, &template))
}

impl Line {
    async fn read(queue: &Queue, name: &'static str) -> Result<Self, queue::Error> {
        let (seen, minutes) = try_join(queue.overview(name), queue.rates(name)).await?;
        let workers = seen.consumers.iter();
        let workers = workers.map(|worker| process_of(&worker.name));
        Ok(Self {
            name,
            paused: seen.paused,
            counts: seen.counts,
            cells: cells(&seen.counts),
            oldest: seen.oldest,
            runs_per_minute: Load::of(0, &minutes).runs_per_minute,
            workers: workers.collect::<BTreeSet<_>>().len(),
            chart: Chart::small(&minutes),
            minutes,
        })
    }

    fn oldest(&self) -> String {
        self.oldest.map_or_else(|| NOTHING.to_owned(), span)
    }

    fn runs(&self) -> String {
        rate(self.runs_per_minute)
    }
}

fn cells(counts: &Counts) -> [Cell; 6] {
    let cell = |(state, label, jobs, tone)| Cell {
        state,
        label,
        jobs,
        tone,
    };
    [
        (JobState::Ready, "Ready", counts.ready, ""),
        (JobState::InHand, "In hand", counts.in_hand, ""),
        (JobState::Delayed, "Delayed", counts.delayed, ""),
        (JobState::Parked, "Parked", counts.parked, "warn"),
        (JobState::Blocked, "Blocked", counts.blocked, ""),
        (JobState::Dead, "Dead", counts.dead, "bad"),
    ]
    .map(cell)
}

/// `0`, `0.4` or `120`: with a decimal where that is not noise.
fn rate(per_minute: f64) -> String {
    if per_minute == 0.0 || per_minute >= 10.0 {
        format!("{per_minute:.0}")
    } else {
        format!("{per_minute:.1}")
    }
}

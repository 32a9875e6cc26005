use askama::Template;
use axum::{
    extract::{Query, State},
    http::StatusCode,
    response::Response,
};
use futures_util::future::try_join;
use queue::{
    Counts,
    inspect::{Cursor, State as JobState},
};
use serde::Deserialize;

use super::{
    check_queue,
    done::After,
    gone,
    page::Page,
    row::{Headings, Row},
};
use crate::{
    App,
    path::Path,
    problem::Problem,
    routes::admin::{
        ROOT,
        layout::{self, Layout},
        signed_in::SignedIn,
    },
};

/// Jobs on a page.
const MOST: usize = 50;

/// Where the page begins.
#[derive(Deserialize)]
pub(in crate::routes::admin) struct Wanted {
    /// The cursor that came with the page before.
    after: Option<String>,
}

#[derive(Template)]
#[template(path = "admin/list.html")]
struct List<'a> {
    layout: Layout<'a>,
    page: Page<'a>,
    queue: &'a str,
    state: JobState,
    tabs: [Tab; 6],
    headings: Headings,
    rows: Vec<Row>,
    next: Option<String>,
    /// Whether it is not the first page.
    paged: bool,
    /// How many dead letters there are to be retried.
    dead: u64,
    none: String,
    explained: &'static str,
}

/// A state that the queue's jobs can be in.
struct Tab {
    state: JobState,
    label: &'static str,
    jobs: u64,
}

/// `GET /admin/queues/{queue}/{state}`: at most 50 of the jobs in a state.
///
/// Two to seven round trips to Redis for each partition, until the page is full, and one that
/// counts beside them.
pub(in crate::routes::admin) async fn show(
    State(app): State<App>,
    admin: SignedIn,
    Path((queue, state)): Path<(String, String)>,
    Query(wanted): Query<Wanted>,
    Query(after): Query<After>,
) -> Result<Response, Problem> {
    check_queue(&app, &queue)?;
    let state: JobState = state
        .parse()
        .map_err(|error| gone(format!("This is {error}.")))?;
    let cursor: Option<Cursor> = match &wanted.after {
        None => None,
        Some(text) => Some(text.parse().map_err(|_| no_page())?),
    };
    let (counts, jobs) = try_join(
        app.queue.counts(&queue),
        app.queue.jobs(&queue, state, cursor.as_ref(), MOST),
    )
    .await
    .map_err(|error| match error {
        queue::Error::Cursor(_) => no_page(),
        error => error.into(),
    })?;
    let template = List {
        layout: Layout::of(&admin, ROOT),
        page: Page::live(&admin, after.notice()),
        tabs: tabs(&counts),
        headings: Headings::of(state),
        rows: jobs.jobs.iter().map(Row::from).collect(),
        next: jobs.next.as_ref().map(Cursor::to_string),
        paged: cursor.is_some(),
        dead: counts.dead,
        none: format!("No job of {queue} is {state}"),
        explained: explained(state),
        queue: &queue,
        state,
    };
    Ok(layout::page(StatusCode::OK, &template))
}

fn no_page() -> Problem {
    let detail = "There is no such page of this list: begin with the first one.";
    Problem::new(StatusCode::NOT_FOUND, detail)
}

fn tabs(counts: &Counts) -> [Tab; 6] {
    JobState::ALL.map(|state| {
        let (label, jobs) = match state {
            JobState::Ready => ("Ready", counts.ready),
            JobState::InHand => ("In hand", counts.in_hand),
            JobState::Delayed => ("Delayed", counts.delayed),
            JobState::Parked => ("Parked", counts.parked),
            JobState::Blocked => ("Blocked", counts.blocked),
            JobState::Dead => ("Dead", counts.dead),
        };
        Tab { state, label, jobs }
    })
}

/// What would be here.
fn explained(state: JobState) -> &'static str {
    match state {
        JobState::Ready => "Jobs that wait for a worker are here, the oldest first.",
        JobState::InHand => {
            "Jobs are here that a worker runs, or has fetched ahead, or that are between two."
        }
        JobState::Delayed => {
            "Jobs that wait for their time are here, the next first: scheduled for later, or to be \
             tried again after a failure."
        }
        JobState::Parked => {
            "Jobs are here that no worker knows yet, as during a deployment: the release that knows \
             them takes them up."
        }
        JobState::Blocked => "Jobs are here that wait until fewer jobs with their key run.",
        JobState::Dead => {
            "Jobs that failed for good are here, the newest first, with their errors. They stay until \
             they are retried, deleted, or too old."
        }
    }
}

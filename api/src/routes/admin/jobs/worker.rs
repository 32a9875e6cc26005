use askama::Template;
use axum::{extract::State, http::StatusCode, response::Response};
use queue::inspect::State as JobState;

use super::{
    gone,
    page::Page,
    row::{Headings, Row, process_of},
    workers::{Lease, SECTION, leases},
};
use crate::{
    App,
    path::Path,
    problem::Problem,
    routes::admin::{
        layout::{self, Layout},
        signed_in::SignedIn,
    },
};

/// Jobs that are shown of each queue: more than a worker runs at once.
const MOST: usize = 50;

#[derive(Template)]
#[template(path = "admin/worker.html")]
struct Worker<'a> {
    layout: Layout<'a>,
    page: Page<'a>,
    process: &'a str,
    headings: Headings,
    queues: Vec<Held>,
}

/// What it has in hand of one queue.
struct Held {
    lease: Lease,
    rows: Vec<Row>,
    /// Whether there are more.
    more: bool,
}

/// `GET /admin/workers/{process}`: what a worker has in hand, at most 50 jobs of each queue.
///
/// One round trip to Redis for each queue and partition, and six more for each in which it has
/// jobs in hand.
pub(in crate::routes::admin) async fn show(
    State(app): State<App>,
    admin: SignedIn,
    Path(process): Path<String>,
) -> Result<Response, Problem> {
    let mut queues = Vec::new();
    for lease in leases(&app.queue).await? {
        if process_of(&lease.consumer) != process {
            continue;
        }
        let (mut rows, mut more) = (Vec::new(), false);
        if lease.in_hand > 0 {
            let (queue, consumer) = (lease.queue, &lease.consumer);
            let held = app.queue.held_by(queue, consumer, None, MOST).await?;
            // Whose they are stands above them.
            let row = |job| Row {
                worker: None,
                ..Row::from(job)
            };
            rows = held.jobs.iter().map(row).collect();
            more = held.next.is_some();
        }
        queues.push(Held { lease, rows, more });
    }
    if queues.is_empty() {
        return Err(gone("This worker is not there any more."));
    }
    let template = Worker {
        layout: Layout::of(&admin, SECTION),
        page: Page::live(&admin, None),
        process: &process,
        headings: Headings::of(JobState::InHand),
        queues,
    };
    Ok(layout::page(StatusCode::OK, &template))
}

//! The jobs page: what is in the queues, and what can be done about it.
//!
//! It tells people in a browser what `worker jobs` tells them in a terminal, by the same bounded
//! calls of [`queue::inspect`]: a page costs as much in a queue of ten jobs as of ten million. Each
//! handler says how many round trips to Redis that is.
//!
//! Pages are whole without a script. With `live.js`, the marked part of one is asked for again
//! every two seconds, and what differs is put in its place.

mod ask;
mod cancel;
mod chart;
mod delete;
mod done;
mod job;
mod list;
mod overview;
mod page;
mod pause;
mod payload;
mod retry;
mod retry_all;
mod row;
mod run_schedule;
mod schedules;
mod worker;
mod workers;

use axum::{
    http::StatusCode,
    routing::{get, post},
};
use domain::{audit::Action, jobs::QUEUES};
use queue::{
    JobId,
    inspect::{Located, Search},
};
use utoipa_axum::router::OpenApiRouter;

use super::signed_in::SignedIn;
use crate::{App, problem::Problem};

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .route("/admin", get(overview::show))
        .route("/admin/workers", get(workers::show))
        .route("/admin/workers/{process}", get(worker::show))
        .route("/admin/schedules", get(schedules::show))
        .route("/admin/queues/{queue}/{state}", get(list::show))
        .route("/admin/queues/{queue}/jobs/{id}", get(job::show))
        .route(
            "/admin/queues/{queue}/jobs/{id}/cancel",
            get(cancel::ask).post(cancel::cancel),
        )
        .route(
            "/admin/queues/{queue}/jobs/{id}/delete",
            get(delete::ask).post(delete::delete),
        )
        .route(
            "/admin/queues/{queue}/letters/{letter}/retry",
            post(retry::retry),
        )
        .route(
            "/admin/queues/{queue}/retry-all",
            get(retry_all::ask).post(retry_all::retry_all),
        )
        .route("/admin/queues/{queue}/pause", post(pause::pause))
        .route("/admin/queues/{queue}/resume", post(pause::resume))
        .route(
            "/admin/queues/{queue}/schedules/{name}/run",
            post(run_schedule::run_schedule),
        )
}

/// Refuses what is no queue of the product, nor a partition of one, as `mail:1`.
fn check_queue(app: &App, name: &str) -> Result<(), Problem> {
    let (queue, partition) = name.split_once(':').unwrap_or((name, "0"));
    let number: Option<u16> = partition.parse().ok();
    let is_there = number.is_some_and(|number| {
        number < app.queue.partitions(queue) && number.to_string() == partition
    });
    if is_there && QUEUES.contains(&queue) {
        Ok(())
    } else {
        let all = QUEUES.join(", ");
        Err(gone(format!("There is no such queue; there are {all}.")))
    }
}

/// Writes down what this admin is about to do with something of a queue, which must be there.
async fn act(
    app: &App,
    admin: &SignedIn,
    name: &'static str,
    queue: &str,
    target: Option<&str>,
) -> Result<(), Problem> {
    check_queue(app, queue)?;
    let action = Action {
        name,
        queue: Some(queue),
        target,
    };
    admin.record(app, &action).await
}

/// A job of this queue, which tells the partition that it is in.
async fn find(app: &App, queue: &str, id: &str) -> Result<Located, Problem> {
    check_queue(app, queue)?;
    let id = job_id(id)?;
    match app.queue.find(queue, id).await? {
        Search::Found(job) => Ok(*job),
        Search::Unseen => Err(gone(
            "This job was not found. It may be in the middle of the backlog: the lists of the queue \
             have all of its jobs.",
        )),
        Search::Absent => Err(no_job()),
    }
}

fn job_id(text: &str) -> Result<JobId, Problem> {
    text.parse().map_err(|_| no_job())
}

fn no_job() -> Problem {
    gone("This job is not in the queue any more: it is done, was deleted, or was never there.")
}

/// 404: what was on the page that somebody has seen is gone.
fn gone(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, detail)
}

/// 409: it is there, and stays as it is.
fn stays(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::CONFLICT, detail)
}

use axum::{
    extract::State,
    response::{IntoResponse, Redirect, Response},
};
use domain::audit::Action;

use super::{check_queue, done::Done, gone};
use crate::{
    App,
    path::Path,
    problem::Problem,
    routes::admin::{sign_out::Nothing, signed_in::Confirmed},
};

/// `POST /admin/queues/{queue}/schedules/{name}/run`: asks for a job of a schedule now.
pub(in crate::routes::admin) async fn run_schedule(
    State(app): State<App>,
    Path((queue, name)): Path<(String, String)>,
    Confirmed(admin, Nothing {}): Confirmed<Nothing>,
) -> Result<Response, Problem> {
    check_queue(&app, &queue)?;
    let action = Action {
        name: "run_schedule",
        queue: Some(&queue),
        target: Some(&name),
    };
    admin.record(&app, &action).await?;
    match app.queue.run_schedule(&queue, &name).await {
        Ok(_) => {
            let place = format!("{}/admin/schedules?done={}", admin.base, Done::AskedFor);
            Ok(Redirect::to(&place).into_response())
        }
        Err(queue::Error::NoSchedule { .. }) => Err(gone(
            "No worker follows this schedule any more, so there is nothing to run.",
        )),
        Err(error) => Err(error.into()),
    }
}

use axum::{
    extract::State,
    response::{IntoResponse, Redirect, Response},
};
use domain::audit::Action;

use super::{check_queue, done::Done};
use crate::{
    App,
    path::Path,
    problem::Problem,
    routes::admin::{sign_out::Nothing, signed_in::Confirmed},
};

/// `POST /admin/queues/{queue}/pause`: lets no worker start a job of the queue.
pub(in crate::routes::admin) async fn pause(
    State(app): State<App>,
    Path(queue): Path<String>,
    Confirmed(admin, Nothing {}): Confirmed<Nothing>,
) -> Result<Response, Problem> {
    check_queue(&app, &queue)?;
    let action = Action {
        name: "pause",
        queue: Some(&queue),
        target: None,
    };
    admin.record(&app, &action).await?;
    app.queue.pause(&queue).await?;
    let place = format!("{}/admin?done={}", admin.base, Done::Paused);
    Ok(Redirect::to(&place).into_response())
}

/// `POST /admin/queues/{queue}/resume`: lets workers start its jobs again.
pub(in crate::routes::admin) async fn resume(
    State(app): State<App>,
    Path(queue): Path<String>,
    Confirmed(admin, Nothing {}): Confirmed<Nothing>,
) -> Result<Response, Problem> {
    check_queue(&app, &queue)?;
    let action = Action {
        name: "resume",
        queue: Some(&queue),
        target: None,
    };
    admin.record(&app, &action).await?;
    app.queue.resume(&queue).await?;
    let place = format!("{}/admin?done={}", admin.base, Done::Resumed);
    Ok(Redirect::to(&place).into_response())
}

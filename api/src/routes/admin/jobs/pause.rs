use axum::{extract::State, response::Response};

use super::{act, done::Done};
use crate::{
    App,
    path::Path,
    problem::Problem,
    routes::admin::signed_in::{Confirmed, Nothing},
};

/// `POST /admin/queues/{queue}/pause`: lets no worker start a job of the queue.
pub(in crate::routes::admin) async fn pause(
    State(app): State<App>,
    Path(queue): Path<String>,
    Confirmed(admin, Nothing {}): Confirmed<Nothing>,
) -> Result<Response, Problem> {
    act(&app, &admin, "pause", &queue, None).await?;
    app.queue.pause(&queue).await?;
    Ok(admin.leads_to(&format!("?done={}", Done::Paused)))
}

/// `POST /admin/queues/{queue}/resume`: lets workers start its jobs again.
pub(in crate::routes::admin) async fn resume(
    State(app): State<App>,
    Path(queue): Path<String>,
    Confirmed(admin, Nothing {}): Confirmed<Nothing>,
) -> Result<Response, Problem> {
    act(&app, &admin, "resume", &queue, None).await?;
    app.queue.resume(&queue).await?;
    Ok(admin.leads_to(&format!("?done={}", Done::Resumed)))
}

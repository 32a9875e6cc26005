use axum::{extract::State, response::Response};

use super::{act, check_queue, done::Done, gone};
use crate::{
    App,
    path::Path,
    problem::Problem,
    routes::admin::signed_in::{Confirmed, Nothing},
};

/// `POST /admin/queues/{queue}/schedules/{name}/run`: asks for a job of a schedule now.
pub(in crate::routes::admin) async fn run_schedule(
    State(app): State<App>,
    Path((queue, name)): Path<(String, String)>,
    Confirmed(admin, Nothing {}): Confirmed<Nothing>,
) -> Result<Response, Problem> {
    check_queue(&app, &queue)?;
    // What is written down is a name, and not whatever stood in a path.
    let known = app.queue.schedules(&queue).await?;
    if !known.iter().any(|schedule| schedule.name == name) {
        return Err(no_schedule());
    }
    act(&app, &admin, "run_schedule", &queue, Some(&name)).await?;
    match app.queue.run_schedule(&queue, &name).await {
        Ok(_) => Ok(admin.leads_to(&format!("/schedules?done={}", Done::AskedFor))),
        Err(queue::Error::NoSchedule { .. }) => Err(no_schedule()),
        Err(error) => Err(error.into()),
    }
}

fn no_schedule() -> Problem {
    gone("No worker follows this schedule any more, so there is nothing to run.")
}

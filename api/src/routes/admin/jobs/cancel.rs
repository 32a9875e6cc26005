use axum::{extract::State, response::Response};
use queue::Cancelled;

use super::{
    act,
    ask::{Question, ask as question},
    check_queue,
    done::Done,
    job_id, no_job,
};
use crate::{
    App,
    path::Path,
    problem::Problem,
    routes::admin::signed_in::{Confirmed, Nothing, SignedIn},
};

/// `GET /admin/queues/{queue}/jobs/{id}/cancel`: asks first.
///
/// It does not look for the job: a request to cancel holds also for one that cannot be found.
pub(in crate::routes::admin) async fn ask(
    State(app): State<App>,
    admin: SignedIn,
    Path((queue, id)): Path<(String, String)>,
) -> Result<Response, Problem> {
    check_queue(&app, &queue)?;
    let id = job_id(&id)?;
    Ok(question(
        &admin,
        &Question {
            question: "Cancel this job?",
            text: &format!(
                "Job {id} of {queue} is removed if it waits. If a worker runs it, the worker is told \
                 to stop, and drops it a second later; what it has done until then stays. It is not \
                 tried again."
            ),
            button: "Cancel the job",
            is_grave: true,
            place: &format!("queues/{queue}/jobs/{id}/cancel"),
            back: &format!("queues/{queue}/jobs/{id}"),
        },
    ))
}

/// `POST /admin/queues/{queue}/jobs/{id}/cancel`: cancels a job, wherever it is.
pub(in crate::routes::admin) async fn cancel(
    State(app): State<App>,
    Path((queue, id)): Path<(String, String)>,
    Confirmed(admin, Nothing {}): Confirmed<Nothing>,
) -> Result<Response, Problem> {
    check_queue(&app, &queue)?;
    let id = job_id(&id)?;
    act(&app, &admin, "cancel", &queue, Some(&id.to_string())).await?;
    let place = match app.queue.cancel(&queue, id).await? {
        Cancelled::Removed => format!("ready?done={}", Done::Cancelled),
        Cancelled::Asked => format!("in-hand?done={}", Done::AskedToEnd),
        Cancelled::Gone => return Err(no_job()),
    };
    Ok(admin.leads_to(&format!("/queues/{queue}/{place}")))
}

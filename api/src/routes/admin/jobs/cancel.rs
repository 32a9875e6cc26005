use axum::{
    extract::State,
    response::{IntoResponse, Redirect, Response},
};
use domain::audit::Action;
use queue::Cancelled;

use super::{
    ask::{Question, ask as question},
    check_queue,
    done::Done,
    job_id, no_job,
};
use crate::{
    App,
    path::Path,
    problem::Problem,
    routes::admin::{
        sign_out::Nothing,
        signed_in::{Confirmed, SignedIn},
    },
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
    let action = Action {
        name: "cancel",
        queue: Some(&queue),
        target: Some(&id.to_string()),
    };
    admin.record(&app, &action).await?;
    let place = match app.queue.cancel(&queue, id).await? {
        Cancelled::Removed => format!("ready?done={}", Done::Cancelled),
        Cancelled::Asked => format!("in-hand?done={}", Done::AskedToEnd),
        Cancelled::Gone => return Err(no_job()),
    };
    Ok(Redirect::to(&format!("{}/admin/queues/{queue}/{place}", admin.base)).into_response())
}

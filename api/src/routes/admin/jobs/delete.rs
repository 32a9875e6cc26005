use axum::{extract::State, response::Response};
use queue::inspect::Deletion;

use super::{
    act,
    ask::{Question, ask as question},
    done::Done,
    find, job_id, no_job,
    row::Row,
    stays,
};
use crate::{
    App,
    path::Path,
    problem::Problem,
    routes::admin::signed_in::{Confirmed, Nothing, SignedIn},
};

/// `GET /admin/queues/{queue}/jobs/{id}/delete`: asks first.
pub(in crate::routes::admin) async fn ask(
    State(app): State<App>,
    admin: SignedIn,
    Path((queue, id)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let job = find(&app, &queue, &id).await?;
    let (kind, state) = (Row::from(&job).kind, job.place.state());
    Ok(question(
        &admin,
        &Question {
            question: &format!("Delete this {kind}?"),
            text: &format!(
                "Job {id} is {state} in {queue}. It goes with its payload and its errors, and nothing \
                 brings it back."
            ),
            button: "Delete the job",
            is_grave: true,
            place: &format!("queues/{queue}/jobs/{id}/delete"),
            back: &format!("queues/{queue}/jobs/{id}"),
        },
    ))
}

/// `POST /admin/queues/{queue}/jobs/{id}/delete`: deletes a job that no worker has in hand.
pub(in crate::routes::admin) async fn delete(
    State(app): State<App>,
    Path((queue, id)): Path<(String, String)>,
    Confirmed(admin, Nothing {}): Confirmed<Nothing>,
) -> Result<Response, Problem> {
    let state = find(&app, &queue, &id).await?.place.state();
    let id = job_id(&id)?;
    act(&app, &admin, "delete", &queue, Some(&id.to_string())).await?;
    match app.queue.delete(&queue, id).await? {
        Deletion::Deleted => {
            let place = format!("/queues/{queue}/{state}?done={}", Done::Deleted);
            Ok(admin.leads_to(&place))
        }
        Deletion::Running => Err(stays(
            "The job is not deleted: a worker has it in hand. It can be cancelled.",
        )),
        Deletion::Gone => Err(no_job()),
    }
}

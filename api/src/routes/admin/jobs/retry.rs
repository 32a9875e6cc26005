use axum::{extract::State, response::Response};
use queue::{EntryId, Replay};

use super::{act, done::Done, gone, stays};
use crate::{
    App,
    path::Path,
    problem::Problem,
    routes::admin::signed_in::{Confirmed, Nothing},
};

/// `POST /admin/queues/{queue}/letters/{letter}/retry`: makes a dead letter a job again.
///
/// The letter and not the job is named, so that this finds it among any number of others.
pub(in crate::routes::admin) async fn retry(
    State(app): State<App>,
    Path((queue, letter)): Path<(String, String)>,
    Confirmed(admin, Nothing {}): Confirmed<Nothing>,
) -> Result<Response, Problem> {
    let letter: EntryId = letter.parse().map_err(|_| no_letter())?;
    act(&app, &admin, "retry", &queue, Some(&letter.to_string())).await?;
    match app.queue.replay(&queue, letter).await {
        Ok(Replay::Replayed(_)) => {
            // The list is of all partitions of the queue.
            let queue = queue.split(':').next().unwrap_or_default();
            let place = format!("/queues/{queue}/dead?done={}", Done::Retried);
            Ok(admin.leads_to(&place))
        }
        Ok(Replay::Gone) => Err(no_letter()),
        Ok(Replay::Cancelled) => Err(stays(
            "The job stays dead: it was to be cancelled, which is remembered for a day.",
        )),
        Ok(Replay::Duplicate(other)) => Err(stays(format!(
            "The job stays dead: job {other} holds its key."
        ))),
        Err(error @ queue::Error::Letter { .. }) => Err(stays(format!("It stays: {error}."))),
        Err(error) => Err(error.into()),
    }
}

fn no_letter() -> Problem {
    gone("It is no dead letter any more: it was retried or deleted already.")
}

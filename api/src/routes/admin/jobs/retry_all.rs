use axum::{extract::State, response::Response};

use super::{
    act,
    ask::{Question, ask as question},
    check_queue,
    done::Done,
};
use crate::{
    App,
    path::Path,
    problem::Problem,
    routes::admin::signed_in::{Confirmed, Nothing, SignedIn},
};

/// `GET /admin/queues/{queue}/retry-all`: asks first. One round trip to Redis.
pub(in crate::routes::admin) async fn ask(
    State(app): State<App>,
    admin: SignedIn,
    Path(queue): Path<String>,
) -> Result<Response, Problem> {
    check_queue(&app, &queue)?;
    let dead = app.queue.counts(&queue).await?.dead;
    Ok(question(
        &admin,
        &Question {
            question: &format!("Retry all that is dead in {queue}?"),
            text: &format!(
                "Dead now: {dead}. Each job becomes ready, with all of its attempts; what made \
                 them fail should be mended first."
            ),
            button: "Retry them all",
            is_grave: false,
            place: &format!("queues/{queue}/retry-all"),
            back: &format!("queues/{queue}/dead"),
        },
    ))
}

/// `POST /admin/queues/{queue}/retry-all`: makes all dead letters jobs again.
///
/// A round trip for each of them. What is left when the request's time is over stays dead, and can
/// be retried again.
pub(in crate::routes::admin) async fn retry_all(
    State(app): State<App>,
    Path(queue): Path<String>,
    Confirmed(admin, Nothing {}): Confirmed<Nothing>,
) -> Result<Response, Problem> {
    act(&app, &admin, "retry_all", &queue, None).await?;
    app.queue.replay_all(&queue).await?;
    let place = format!("/queues/{queue}/dead?done={}", Done::RetriedAll);
    Ok(admin.leads_to(&place))
}

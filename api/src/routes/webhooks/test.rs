use axum::{Json, extract::State, http::StatusCode};
use domain::webhooks;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{App, caller::LiveCaller, path::Path, problem::Problem};

#[derive(Serialize, ToSchema)]
pub(super) struct TestEvent {
    event_id: Uuid,
    /// Where to see what came of it.
    delivery_id: Uuid,
}

/// Try an endpoint
///
/// Sends an event of type `webhook.test` to this endpoint alone, whatever its filters are.
#[utoipa::path(post, path = "/v1/webhooks/{id}/test", tag = "webhooks",
    params(("id" = Uuid, Path, description = "The endpoint.")),
    security(("access_token" = [])),
    responses(
        (status = 202, description = "It is on its way.", body = TestEvent),
        (status = 409, description = "The endpoint is disabled."),
    ),
)]
pub(super) async fn test(
    State(app): State<App>,
    LiveCaller(caller): LiveCaller,
    Path(id): Path<Uuid>,
) -> Result<(StatusCode, Json<TestEvent>), Problem> {
    let (event_id, delivery_id) =
        webhooks::send_test_event(&app.pool, caller.account_id, id).await?;
    let sent = TestEvent {
        event_id,
        delivery_id,
    };
    Ok((StatusCode::ACCEPTED, Json(sent)))
}

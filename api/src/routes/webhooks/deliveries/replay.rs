use axum::{extract::State, http::StatusCode};
use domain::webhooks;
use uuid::Uuid;

use crate::{App, caller::LiveCaller, path::Path, problem::Problem};

/// Deliver once more
///
/// Whether it has failed or was delivered. One that is pending anyway stays as it is.
#[utoipa::path(post, path = "/v1/webhooks/{id}/deliveries/{delivery_id}/replay",
    tag = "deliveries",
    params(
        ("id" = Uuid, Path, description = "The endpoint."),
        ("delivery_id" = Uuid, Path, description = "The delivery."),
    ),
    security(("access_token" = [])),
    responses(
        (status = 202, description = "It is pending."),
        (status = 409, description = "The endpoint is disabled."),
    ),
)]
pub(super) async fn replay(
    State(app): State<App>,
    LiveCaller(caller): LiveCaller,
    Path((id, delivery_id)): Path<(Uuid, Uuid)>,
) -> Result<StatusCode, Problem> {
    webhooks::replay(&app.pool, caller.account_id, id, delivery_id).await?;
    Ok(StatusCode::ACCEPTED)
}

use axum::{extract::State, http::StatusCode};
use domain::webhooks;
use uuid::Uuid;

use crate::{App, caller::LiveCaller, etag::IfMatch, path::Path, problem::Problem};

/// Delete an endpoint
///
/// Its deliveries go with it, those that are pending too.
#[utoipa::path(delete, path = "/v1/webhooks/{id}", tag = "webhooks",
    params(("id" = Uuid, Path, description = "The endpoint."), IfMatch),
    security(("access_token" = [])),
    responses((status = 204, description = "It is gone.")),
)]
pub(super) async fn delete(
    State(app): State<App>,
    LiveCaller(caller): LiveCaller,
    Path(id): Path<Uuid>,
    IfMatch(versions): IfMatch,
) -> Result<StatusCode, Problem> {
    let versions = versions.as_deref();
    webhooks::delete_endpoint(&app.pool, caller.account_id, id, versions).await?;
    Ok(StatusCode::NO_CONTENT)
}

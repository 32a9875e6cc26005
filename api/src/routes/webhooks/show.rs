use axum::{Json, extract::State};
use domain::webhooks;
use uuid::Uuid;

use super::Webhook;
use crate::{
    App,
    caller::Caller,
    etag::{ETag, IfNoneMatch},
    path::Path,
    problem::Problem,
};

/// An endpoint
#[utoipa::path(get, path = "/v1/webhooks/{id}", tag = "webhooks",
    params(("id" = Uuid, Path, description = "The endpoint."), IfNoneMatch),
    security(("access_token" = [])),
    responses((status = 200, description = "The endpoint.", body = Webhook)),
)]
pub(super) async fn show(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<Uuid>,
) -> Result<(ETag, Json<Webhook>), Problem> {
    let found = webhooks::find_endpoint(&app.pool, caller.account_id, id).await?;
    let endpoint = found.ok_or_else(Problem::not_found)?;
    Ok((ETag(endpoint.version), Json(endpoint.into())))
}

use axum::{extract::State, http::StatusCode};
use domain::widgets;
use uuid::Uuid;

use crate::{App, caller::LiveCaller, etag::IfMatch, path::Path, problem::Problem};

/// Delete {a thing}
#[utoipa::path(delete, path = "/v1/widgets/{id}", tag = "{things}",
    params(("id" = Uuid, Path, description = "The {thing}."), IfMatch),
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
    widgets::delete(&app.pool, caller.account_id, id, versions).await?;
    Ok(StatusCode::NO_CONTENT)
}

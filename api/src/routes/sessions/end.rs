use axum::{extract::State, http::StatusCode};
use domain::sessions;
use uuid::Uuid;

use crate::{App, caller::LiveCaller, path::Path, problem::Problem};

/// End one of your sessions
#[utoipa::path(delete, path = "/v1/sessions/{id}", tag = "sessions",
    params(("id" = Uuid, Path, description = "The session.")),
    security(("access_token" = [])),
    responses((status = 204, description = "It is over.")),
)]
pub(super) async fn end(
    State(app): State<App>,
    LiveCaller(caller): LiveCaller,
    Path(id): Path<Uuid>,
) -> Result<StatusCode, Problem> {
    let mut conn = app.pool.acquire().await.map_err(domain::Error::from)?;
    if sessions::revoke(&mut conn, caller.account_id, id).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Problem::not_found())
    }
}

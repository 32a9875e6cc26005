use axum::{extract::State, http::StatusCode};
use domain::sessions;

use crate::{App, caller::LiveCaller, problem::Problem};

/// Log out everywhere
///
/// Ends all sessions of the account, this one too.
#[utoipa::path(delete, path = "/v1/sessions", tag = "sessions",
    security(("access_token" = [])),
    responses((status = 204, description = "All sessions are over.")),
)]
pub(super) async fn log_out_everywhere(
    State(app): State<App>,
    LiveCaller(caller): LiveCaller,
) -> Result<StatusCode, Problem> {
    let mut conn = app.pool.acquire().await.map_err(domain::Error::from)?;
    sessions::revoke_all(&mut conn, caller.account_id, None).await?;
    Ok(StatusCode::NO_CONTENT)
}

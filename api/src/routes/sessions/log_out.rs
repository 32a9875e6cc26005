use axum::{extract::State, http::StatusCode};
use domain::sessions;

use crate::{App, caller::Caller, problem::Problem};

/// Log out
///
/// Ends the session of the access token. The token itself, where it is not looked up, holds until
/// it expires: forget it.
#[utoipa::path(delete, path = "/v1/sessions/current", tag = "sessions",
    security(("access_token" = [])),
    responses((status = 204, description = "The session is over.")),
)]
pub(super) async fn log_out(State(app): State<App>, caller: Caller) -> Result<StatusCode, Problem> {
    let Caller {
        account_id,
        session_id,
    } = caller;
    let mut conn = app.pool.acquire().await.map_err(domain::Error::from)?;
    if sessions::revoke(&mut conn, account_id, session_id).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        // It was over already.
        Err(Problem::unauthorized())
    }
}

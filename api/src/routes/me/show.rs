use axum::{Json, extract::State};
use domain::accounts;
use serde::Serialize;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{App, caller::Caller, problem::Problem};

#[derive(Serialize)]
pub(in crate::routes) struct Me {
    id: Uuid,
    email: String,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    verified: bool,
}

/// `GET /v1/me`: the caller's own account.
pub(in crate::routes) async fn show(
    State(app): State<App>,
    caller: Caller,
) -> Result<Json<Me>, Problem> {
    let account = accounts::find(&app.pool, caller.account_id).await?;
    // A token outlives its account by up to 15 minutes.
    let account = account.ok_or_else(Problem::unauthorized)?;
    Ok(Json(Me {
        id: account.id,
        email: account.email,
        created_at: account.created_at,
        verified: account.verified_at.is_some(),
    }))
}

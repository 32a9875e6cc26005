use axum::{Json, extract::State};
use domain::accounts;
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{App, caller::Caller, problem::Problem, schema};

#[derive(Serialize, ToSchema)]
pub(super) struct Me {
    id: Uuid,
    #[schema(schema_with = schema::email)]
    email: String,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    verified: bool,
}

/// The caller's own account
#[utoipa::path(get, path = "/v1/me", tag = "me", security(("access_token" = [])), responses(
    (status = 200, description = "The account.", body = Me),
))]
pub(super) async fn show(State(app): State<App>, caller: Caller) -> Result<Json<Me>, Problem> {
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

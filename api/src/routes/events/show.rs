use axum::{Json, extract::State};
use domain::webhooks;
use uuid::Uuid;

use super::Event;
use crate::{App, caller::Caller, path::Path, problem::Problem};

/// An event
#[utoipa::path(get, path = "/v1/events/{id}", tag = "events",
    params(("id" = Uuid, Path, description = "The event.")),
    security(("access_token" = [])),
    responses((status = 200, description = "The event.", body = Event)),
)]
pub(super) async fn show(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<Uuid>,
) -> Result<Json<Event>, Problem> {
    let found = webhooks::find_event(&app.pool, caller.account_id, id).await?;
    let event = found.ok_or_else(Problem::not_found)?;
    Ok(Json(event.into()))
}

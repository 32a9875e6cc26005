use axum::{Json, extract::State};
use domain::webhooks;

use super::Webhook;
use crate::{
    App,
    caller::Caller,
    page::{Listed, Page},
    problem::Problem,
    query::Query,
};

/// The account's endpoints
#[utoipa::path(get, path = "/v1/webhooks", tag = "webhooks", params(Page),
    security(("access_token" = [])),
    responses((status = 200, description = "A page of them.", body = Listed<Webhook>)),
)]
pub(super) async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(page): Query<Page>,
) -> Result<Json<Listed<Webhook>>, Problem> {
    let (before, rows) = (page.before(), page.rows());
    let rows = webhooks::list_endpoints(&app.pool, caller.account_id, before, rows).await?;
    Ok(Json(page.list(rows, |row| row.id)))
}

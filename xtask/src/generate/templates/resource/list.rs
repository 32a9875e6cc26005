use axum::{Json, extract::State};
use domain::widgets;

use super::Widget;
use crate::{
    App,
    caller::Caller,
    page::{Listed, Page},
    problem::Problem,
    query::Query,
};

/// The account's {things}
#[utoipa::path(get, path = "/v1/widgets", tag = "{things}", params(Page),
    security(("access_token" = [])),
    responses((status = 200, description = "A page of them.", body = Listed<Widget>)),
)]
pub(super) async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(page): Query<Page>,
) -> Result<Json<Listed<Widget>>, Problem> {
    let rows = widgets::list(&app.pool, caller.account_id, page.before(), page.rows()).await?;
    Ok(Json(page.list(rows, |row| row.id)))
}

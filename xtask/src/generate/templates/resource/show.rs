use axum::{Json, extract::State};
use domain::widgets;
use uuid::Uuid;

use super::Widget;
use crate::{
    App,
    caller::Caller,
    etag::{ETag, IfNoneMatch},
    path::Path,
    problem::Problem,
};

/// {A thing}
#[utoipa::path(get, path = "/v1/widgets/{id}", tag = "{things}",
    params(("id" = Uuid, Path, description = "The {thing}."), IfNoneMatch),
    security(("access_token" = [])),
    responses((status = 200, description = "The {thing}.", body = Widget)),
)]
pub(super) async fn show(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<Uuid>,
) -> Result<(ETag, Json<Widget>), Problem> {
    let found = widgets::find(&app.pool, caller.account_id, id).await?;
    let widget = found.ok_or_else(Problem::not_found)?;
    Ok((ETag(widget.version), Json(widget.into())))
}

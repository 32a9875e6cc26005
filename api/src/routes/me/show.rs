use axum::{Json, extract::State};
use domain::accounts;

use crate::{
    App,
    caller::Caller,
    etag::{IfNoneMatch, OwnETag},
    problem::Problem,
    routes::accounts::Account,
};

/// The caller's own account
#[utoipa::path(get, path = "/v1/me", tag = "me", params(IfNoneMatch),
    security(("access_token" = [])),
    responses((status = 200, description = "The account.", body = Account)),
)]
pub(super) async fn show(
    State(app): State<App>,
    caller: Caller,
) -> Result<(OwnETag, Json<Account>), Problem> {
    let account = accounts::find(&app.pool, caller.account_id).await?;
    // A token outlives its account by up to 15 minutes.
    let account = account.ok_or_else(Problem::unauthorized)?;
    let tag = OwnETag(account.id, account.version);
    Ok((tag, Json(account.into())))
}

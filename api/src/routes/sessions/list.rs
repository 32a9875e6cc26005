use axum::{Json, extract::State};
use domain::sessions;
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    App,
    caller::LiveCaller,
    page::{Listed, Page},
    problem::Problem,
    query::Query,
};

#[derive(Serialize, ToSchema)]
pub(super) struct Session {
    id: Uuid,
    /// When somebody logged in.
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    /// When it was last refreshed or, in a browser, used; or else the log-in.
    #[serde(with = "time::serde::rfc3339")]
    last_used_at: OffsetDateTime,
    /// The `User-Agent` of that request, or its beginning; empty without one.
    #[schema(
        max_length = 256,
        example = "Mozilla/5.0 (X11; Linux x86_64; rv:143.0)"
    )]
    user_agent: String,
    /// Whether it is the session of this request's access token.
    current: bool,
}

/// List your sessions
///
/// Those that go on: neither ended nor left alone until the refresh token, or a browser's cookie, expired.
#[utoipa::path(get, path = "/v1/sessions", tag = "sessions", params(Page),
    security(("access_token" = [])),
    responses((status = 200, description = "A page of sessions.", body = Listed<Session>)),
)]
pub(super) async fn list(
    State(app): State<App>,
    LiveCaller(caller): LiveCaller,
    Query(page): Query<Page>,
) -> Result<Json<Listed<Session>>, Problem> {
    let (account_id, before) = (caller.account_id, page.before());
    let rows = sessions::list(&app.pool, account_id, before, page.rows()).await?;
    let rows = rows.into_iter().map(|row| Session {
        id: row.id,
        created_at: row.created_at,
        last_used_at: row.last_used_at,
        user_agent: row.user_agent,
        current: row.id == caller.session_id,
    });
    Ok(Json(page.list(rows.collect(), |row: &Session| row.id)))
}

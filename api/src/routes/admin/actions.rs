use askama::Template;
use axum::{extract::State, http::StatusCode, response::Response};
use domain::audit::{self, Recorded};
use time::{OffsetDateTime, format_description::BorrowedFormatItem, macros::format_description};

use super::{
    layout::{self, Layout},
    signed_in::SignedIn,
};
use crate::{
    App,
    page::{Listed, Page},
    problem::Problem,
    query::Query,
};

const TIME: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");

#[derive(Template)]
#[template(path = "admin/actions.html")]
struct Actions<'a> {
    layout: Layout<'a>,
    actions: Listed<Recorded>,
}

impl Actions<'_> {
    /// In UTC, as logs have it.
    fn time(at: &OffsetDateTime) -> String {
        at.format(TIME).unwrap_or_default()
    }
}

/// `GET /admin/actions`: who did what.
pub(super) async fn list(
    State(app): State<App>,
    admin: SignedIn,
    Query(page): Query<Page>,
) -> Result<Response, Problem> {
    let rows = audit::list(&app.pool, page.before(), page.rows()).await?;
    let template = Actions {
        layout: Layout::of(&admin, "/admin/actions"),
        actions: page.list(rows, |row: &Recorded| row.id),
    };
    Ok(layout::page(StatusCode::OK, &template))
}

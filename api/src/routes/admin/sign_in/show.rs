use axum::{
    extract::{Query, State},
    http::request::Parts,
    response::{IntoResponse, Redirect, Response},
};
use domain::accounts::Role;
use serde::Deserialize;

use super::form;
use crate::{
    App,
    problem::Problem,
    routes::admin::{layout, next, signed_in},
};

/// The page that was asked for first.
#[derive(Deserialize)]
pub(in crate::routes::admin) struct Wanted {
    #[serde(default)]
    next: String,
}

/// `GET /admin/sign-in?next=`: asks who it is, unless that is known.
pub(in crate::routes::admin) async fn show(
    State(app): State<App>,
    Query(wanted): Query<Wanted>,
    parts: Parts,
) -> Result<Response, Problem> {
    let next = next::checked(&wanted.next);
    let session = signed_in::session(&parts, &app).await?;
    if session.is_some_and(|(session, _)| session.role == Role::Admin) {
        let place = format!("{}{next}", layout::base(&parts.uri));
        return Ok(Redirect::to(&place).into_response());
    }
    Ok(form(&parts.uri, next, None))
}

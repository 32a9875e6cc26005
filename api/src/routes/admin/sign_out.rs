use axum::{extract::State, http::header, response::Response};
use domain::{audit::Action, sessions};

use super::{
    cookie,
    signed_in::{Confirmed, Nothing},
};
use crate::{App, problem::Problem};

/// `POST /admin/sign-out`: ends the session.
pub(super) async fn sign_out(
    State(app): State<App>,
    Confirmed(admin, Nothing {}): Confirmed<Nothing>,
) -> Result<Response, Problem> {
    let action = Action {
        name: "sign_out",
        queue: None,
        target: None,
    };
    admin.record(&app, &action).await?;
    let mut conn = app.pool.acquire().await.map_err(domain::Error::from)?;
    let caller = admin.caller;
    sessions::revoke(&mut conn, caller.account_id, caller.session_id).await?;
    let mut response = admin.leads_to("/sign-in");
    if let Some(cookie) = cookie::clear(&app) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

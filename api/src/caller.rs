//! Who makes a request.

use axum::{
    extract::FromRequestParts,
    http::{header, request::Parts},
};
use uuid::Uuid;

use crate::{App, problem::Problem};

/// The account whose access token came with the request; without one the answer is 401.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    /// The account.
    pub account_id: Uuid,
    /// The session that the token belongs to.
    pub session_id: Uuid,
}

impl FromRequestParts<App> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let token = bearer(parts).ok_or_else(Problem::unauthorized)?;
        let claims = app.tokens.check(token).map_err(|error| {
            tracing::debug!(%error, "access token refused");
            Problem::unauthorized()
        })?;
        Ok(Self {
            account_id: claims.sub,
            session_id: claims.sid,
        })
    }
}

/// The token of `Authorization: Bearer <token>`; the scheme's case does not matter (RFC 9110).
fn bearer(parts: &Parts) -> Option<&str> {
    let value = parts.headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

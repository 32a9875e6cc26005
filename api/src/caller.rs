//! Who makes a request.

use axum::{
    extract::FromRequestParts,
    http::{header, request::Parts},
};
use domain::{
    accounts::{self, Role},
    sessions,
};
use service::telemetry::chain;
use uuid::Uuid;

use crate::{App, problem::Problem};

/// The account whose access token came with the request; without one the answer is 401.
///
/// The token is all that is asked. It may have outlived its session, by
/// [`LIFETIME`](crate::token::LIFETIME) at most: where that matters, take a [`LiveCaller`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The account.
    pub account_id: Uuid,
    /// The session that the token belongs to.
    pub session_id: Uuid,
}

/// A caller whose session goes on, as the database says; otherwise the answer is 401.
#[derive(Clone, Copy, Debug)]
pub struct LiveCaller(pub Caller);

/// A live caller who is an admin, as the database says; otherwise the answer is 403.
#[derive(Clone, Copy, Debug)]
pub struct Admin(pub Caller);

impl FromRequestParts<App> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let token = bearer(parts).ok_or_else(Problem::unauthorized)?;
        app.tokens.check(token).map_err(|error| {
            tracing::debug!(error = %chain(&error), "access token refused");
            Problem::unauthorized()
        })
    }
}

impl FromRequestParts<App> for LiveCaller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, app).await?;
        if sessions::is_live(&app.pool, caller.account_id, caller.session_id).await? {
            Ok(Self(caller))
        } else {
            Err(Problem::unauthorized())
        }
    }
}

impl FromRequestParts<App> for Admin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let LiveCaller(caller) = LiveCaller::from_request_parts(parts, app).await?;
        match accounts::role(&app.pool, caller.account_id).await? {
            Some(Role::Admin) => Ok(Self(caller)),
            Some(Role::Member) => Err(Problem::admins_only()),
            None => Err(Problem::unauthorized()),
        }
    }
}

/// The token of `Authorization: Bearer <token>`; the scheme's case does not matter (RFC 9110).
fn bearer(parts: &Parts) -> Option<&str> {
    let value = parts.headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

mod create;
mod end;
mod list;
mod log_out;
mod log_out_everywhere;
mod refresh;

use std::borrow::Cow;

use axum::{
    Json,
    http::{HeaderMap, header},
};
use domain::sessions::Issued;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{App, problem::Problem, schema, token};

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(
            create::create,
            list::list,
            log_out_everywhere::log_out_everywhere
        ))
        .routes(routes!(refresh::refresh))
        .routes(routes!(log_out::log_out))
        .routes(routes!(end::end))
}

/// What a log-in and a refresh give, named as in OAuth 2.0 (RFC 6749, section 5.1).
#[derive(Serialize, ToSchema)]
pub(super) struct Tokens {
    /// For `Authorization: Bearer`.
    #[schema(
        example = "eyJhbGciOiJIUzI1NiIsImtpZCI6IjVmMGQ4YzIxIiwidHlwIjoiSldUIn0.eyJzdWIiOiIuLi4ifQ.c2lnbmF0dXJl"
    )]
    access_token: String,
    /// Buys the next access token, once.
    #[schema(schema_with = schema::token)]
    refresh_token: String,
    /// Seconds until the access token ends.
    #[schema(example = 900)]
    expires_in: u64,
    #[schema(example = "Bearer")]
    token_type: &'static str,
}

impl Tokens {
    fn answer(app: &App, issued: &Issued) -> Result<Json<Self>, Problem> {
        let access_token = app.tokens.issue(issued.account_id, issued.session_id);
        let access_token = access_token.map_err(|error| {
            tracing::error!(%error, "cannot sign an access token");
            Problem::internal()
        })?;
        Ok(Json(Self {
            access_token,
            refresh_token: issued.refresh_token.expose().to_owned(),
            expires_in: token::LIFETIME.as_secs(),
            token_type: "Bearer",
        }))
    }
}

/// What the client's program calls itself, for its owner to tell sessions apart by.
pub(super) fn user_agent(headers: &HeaderMap) -> Cow<'_, str> {
    let name = headers.get(header::USER_AGENT);
    name.map(|name| String::from_utf8_lossy(name.as_bytes()))
        .unwrap_or_default()
}

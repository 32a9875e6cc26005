use axum::{Json, extract::State, http::HeaderMap};
use domain::{
    Token,
    sessions::{self, RefreshError},
};
use utoipa::ToSchema;

use super::{Tokens, user_agent};
use crate::{
    App,
    body::Body,
    client::Client,
    fields::{Fields, FromFields, text},
    problem::Problem,
    schema,
};

#[derive(ToSchema)]
pub(super) struct Refresh {
    #[schema(schema_with = schema::token)]
    refresh_token: Token,
}

impl FromFields for Refresh {
    fn read(fields: &mut Fields) -> Option<Self> {
        let refresh_token = fields.required("refresh_token", text(Token::parse));
        Some(Self {
            refresh_token: refresh_token?,
        })
    }
}

/// Get new tokens for a refresh token
///
/// A refresh token is good for one use; the answer has the next one. One that is used again ends
/// its session, since two must have it then.
#[utoipa::path(post, path = "/v1/sessions/refresh", tag = "sessions", request_body = Refresh,
    responses(
        (status = 200, description = "The next tokens of the session.", body = Tokens),
        (status = 401, description = "The token was used before, has expired, or its session is over."),
        (status = 429),
    ),
)]
pub(super) async fn refresh(
    State(app): State<App>,
    client: Client,
    headers: HeaderMap,
    Body(Refresh { refresh_token }): Body<Refresh>,
) -> Result<Json<Tokens>, Problem> {
    app.limits.refresh(&client).await?;
    match sessions::refresh(&app.pool, &refresh_token, &user_agent(&headers)).await {
        Ok(issued) => Tokens::answer(&app, &issued),
        Err(RefreshError::Refused) => Err(Problem::invalid_refresh_token()),
        Err(RefreshError::Reused { session_id }) => {
            tracing::warn!(session.id = %session_id, "refresh token used twice, session ended");
            Err(Problem::invalid_refresh_token())
        }
        Err(RefreshError::Internal(error)) => Err(error.into()),
    }
}

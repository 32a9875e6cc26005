use axum::{extract::State, http::StatusCode};
use domain::{
    Token,
    accounts::{self, Password, ResetError},
};
use utoipa::ToSchema;

use crate::{
    App,
    body::Body,
    client::Client,
    fields::{Fields, FromFields, text},
    problem::Problem,
    schema,
};

#[derive(ToSchema)]
pub(super) struct Reset {
    /// From the link in the mail.
    #[schema(schema_with = schema::token)]
    token: Token,
    #[schema(schema_with = schema::password)]
    password: Password,
}

impl FromFields for Reset {
    fn read(fields: &mut Fields) -> Option<Self> {
        let token = fields.required("token", text(Token::parse));
        let password = fields.required("password", text(|text| Password::parse(text)));
        Some(Self {
            token: token?,
            password: password?,
        })
    }
}

/// Choose a new password with the token of the mail
///
/// All sessions end. It also proves the address, if that was not proven yet.
#[utoipa::path(post, path = "/v1/password-resets/complete", tag = "password resets",
    request_body = Reset,
    responses(
        (status = 204, description = "Log in with the new password."),
        (status = 422, description = "A field is wrong, or the token resets nothing (any more)."),
        (status = 429),
    ),
)]
pub(super) async fn complete(
    State(app): State<App>,
    client: Client,
    Body(Reset { token, password }): Body<Reset>,
) -> Result<StatusCode, Problem> {
    app.limits.token(&client).await?;
    match accounts::complete_password_reset(&app.pool, &token, password).await {
        Ok(()) => Ok(StatusCode::NO_CONTENT),
        Err(ResetError::Internal(error)) => Err(error.into()),
        Err(refused @ (ResetError::Unknown | ResetError::Expired | ResetError::Used)) => {
            Err(Problem::invalid_reset_token(&refused))
        }
    }
}

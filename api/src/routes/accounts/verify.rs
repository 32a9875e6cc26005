use axum::{extract::State, http::StatusCode};
use domain::{
    Token,
    accounts::{self, VerifyError},
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
pub(super) struct Proof {
    /// From the link in the mail.
    #[schema(schema_with = schema::token)]
    token: Token,
}

impl FromFields for Proof {
    fn read(fields: &mut Fields) -> Option<Self> {
        let token = fields.required("token", text(Token::parse));
        Some(Self { token: token? })
    }
}

/// Prove the address with the token of the mail
#[utoipa::path(post, path = "/v1/accounts/verify", tag = "accounts", request_body = Proof, responses(
    (status = 204, description = "The address is proven: log in."),
    (status = 422, description = "The token is none, or it proves nothing (any more)."),
    (status = 429),
))]
pub(super) async fn verify(
    State(app): State<App>,
    client: Client,
    Body(Proof { token }): Body<Proof>,
) -> Result<StatusCode, Problem> {
    app.limits.token(&client).await?;
    match accounts::verify(&app.pool, &token).await {
        Ok(_) => Ok(StatusCode::NO_CONTENT),
        Err(VerifyError::Internal(error)) => Err(error.into()),
        Err(refused @ (VerifyError::Unknown | VerifyError::Expired | VerifyError::Used)) => {
            Err(Problem::invalid_verification_token(&refused))
        }
    }
}

use axum::{extract::State, http::StatusCode};
use domain::{
    Token,
    accounts::{self, EmailChangeError},
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
pub(super) struct NewAddress {
    /// From the link in the mail.
    #[schema(schema_with = schema::token)]
    token: Token,
}

impl FromFields for NewAddress {
    fn read(fields: &mut Fields) -> Option<Self> {
        let token = fields.required("token", text(Token::parse));
        Some(Self { token: token? })
    }
}

/// Confirm a new address with the token of the mail
///
/// Sessions go on. Mails that reset the password were sent to the old address, and are void.
#[utoipa::path(post, path = "/v1/email-changes/complete", tag = "me", request_body = NewAddress,
    responses(
        (status = 204, description = "The account has this address: log in with it."),
        (status = 409, description = "Another account has got the address meanwhile."),
        (status = 422, description = "The token is none, or it changes nothing (any more)."),
        (status = 429),
    ),
)]
pub(super) async fn complete(
    State(app): State<App>,
    client: Client,
    Body(NewAddress { token }): Body<NewAddress>,
) -> Result<StatusCode, Problem> {
    app.limits.token(&client).await?;
    match accounts::complete_email_change(&app.pool, &token).await {
        Ok(_) => Ok(StatusCode::NO_CONTENT),
        Err(EmailChangeError::Internal(error)) => Err(error.into()),
        Err(EmailChangeError::Taken) => Err(Problem::address_taken()),
        Err(
            refused @ (EmailChangeError::Unknown
            | EmailChangeError::Expired
            | EmailChangeError::Used),
        ) => Err(Problem::invalid_email_change_token(&refused)),
    }
}

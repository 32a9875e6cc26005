use axum::{extract::State, http::StatusCode};
use domain::{
    Token,
    accounts::{self, VerifyError},
};

use crate::{App, body::Fields, client::Client, problem::Problem};

/// `POST /v1/accounts/verify`: prove the address with the token of the mail.
pub(in crate::routes) async fn verify(
    State(app): State<App>,
    client: Client,
    mut fields: Fields,
) -> Result<StatusCode, Problem> {
    let token = fields.text("token", Token::parse);
    let token = fields.finish(token)?;
    app.limits.token(&client).await?;
    match accounts::verify(&app.pool, &token).await {
        Ok(_) => Ok(StatusCode::NO_CONTENT),
        Err(VerifyError::Internal(error)) => Err(error.into()),
        Err(refused @ (VerifyError::Unknown | VerifyError::Expired | VerifyError::Used)) => {
            Err(Problem::invalid_verification_token(&refused))
        }
    }
}

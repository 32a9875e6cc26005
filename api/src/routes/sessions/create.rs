use axum::{Json, extract::State};
use domain::accounts::{self, Email, LogInError, Password};
use serde::Serialize;

use crate::{App, body::Fields, client::Client, problem::Problem, token};

/// The answer to a log-in, named as in OAuth 2.0 (RFC 6749, section 5.1).
#[derive(Serialize)]
pub(in crate::routes) struct Tokens {
    access_token: String,
    refresh_token: String,
    /// Seconds until the access token ends.
    expires_in: u64,
    token_type: &'static str,
}

/// `POST /v1/sessions`: log in.
pub(in crate::routes) async fn create(
    State(app): State<App>,
    client: Client,
    mut fields: Fields,
) -> Result<Json<Tokens>, Problem> {
    let email = fields.text("email", Email::parse);
    let password = fields.text("password", |text| Password::parse(text));
    let (email, password) = fields.finish(email.zip(password))?;
    app.limits.log_in(&client, &email).await?;
    let session = match accounts::log_in(&app.pool, &email, password).await {
        Ok(session) => session,
        Err(LogInError::InvalidCredentials) => return Err(Problem::wrong_credentials()),
        Err(LogInError::Internal(error)) => return Err(error.into()),
    };
    let access_token = app.tokens.issue(session.account.id, session.id);
    let access_token = access_token.map_err(|error| {
        tracing::error!(%error, "cannot sign an access token");
        Problem::internal()
    })?;
    Ok(Json(Tokens {
        access_token,
        refresh_token: session.refresh_token.expose().to_owned(),
        expires_in: token::LIFETIME.as_secs(),
        token_type: "Bearer",
    }))
}

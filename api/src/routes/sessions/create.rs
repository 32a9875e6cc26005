use axum::{Json, extract::State};
use domain::accounts::{self, Email, LogInError, Password};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    App,
    body::Body,
    fields::{Fields, FromFields, text},
    problem::Problem,
    schema, token,
};

#[derive(ToSchema)]
pub(super) struct LogIn {
    #[schema(schema_with = schema::email)]
    email: Email,
    #[schema(schema_with = schema::password)]
    password: Password,
}

impl FromFields for LogIn {
    fn read(fields: &mut Fields) -> Option<Self> {
        let email = fields.required("email", text(Email::parse));
        let password = fields.required("password", text(|text| Password::parse(text)));
        Some(Self {
            email: email?,
            password: password?,
        })
    }
}

/// What a log-in gives, named as in OAuth 2.0 (RFC 6749, section 5.1).
#[derive(Serialize, ToSchema)]
pub(super) struct Tokens {
    /// For `Authorization: Bearer`.
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

/// Log in
#[utoipa::path(post, path = "/v1/sessions", tag = "sessions", request_body = LogIn, responses(
    (status = 200, description = "Logged in.", body = Tokens),
    (status = 401, description = "No account has this address, proven, and this password."),
))]
pub(super) async fn create(
    State(app): State<App>,
    Body(LogIn { email, password }): Body<LogIn>,
) -> Result<Json<Tokens>, Problem> {
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
